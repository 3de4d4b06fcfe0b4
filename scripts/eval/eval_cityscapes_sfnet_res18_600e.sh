#!/bin/sh
# Expected mIoU: 79.0 % on Cityscapes val, give or take 0.2 (published).
# Protocol: whole images, scale 1.0, no flip.
# The ResNet-18 checkpoint of the authors' release comes from this run.
# Evaluates the checkpoint of scripts/train/train_cityscapes_sfnet_res18_600e.sh;
# --snapshot FILE uses another one, such as the authors'.
. "$(dirname -- "$0")/../launch.sh"

evaluate \
    --arch sfnet_resnet18 \
    --dataset cityscapes --data_root "$ROOT/data/cityscapes" \
    --snapshot "$ROOT/logs/train_cityscapes_sfnet_res18_600e/best.pth" \
    --inference_mode whole \
    --expect 0.790 \
    "$@"
