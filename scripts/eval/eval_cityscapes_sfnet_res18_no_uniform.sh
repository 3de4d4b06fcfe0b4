#!/bin/sh
# Expected mIoU: 78.4 % on Cityscapes val, give or take 0.2 (published).
# Protocol: whole images, scale 1.0, no flip.
# Evaluates the checkpoint of scripts/train/train_cityscapes_sfnet_res18_no_uniform.sh;
# --snapshot FILE uses another one, such as the authors'.
. "$(dirname -- "$0")/../launch.sh"

evaluate \
    --arch sfnet_resnet18 \
    --dataset cityscapes --data_root "$ROOT/data/cityscapes" \
    --snapshot "$ROOT/logs/train_cityscapes_sfnet_res18_no_uniform/best.pth" \
    --inference_mode whole \
    --expect 0.784 \
    "$@"
