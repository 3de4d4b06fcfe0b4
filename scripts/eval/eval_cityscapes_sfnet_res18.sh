#!/bin/sh
# Expected mIoU: 78.5 % on Cityscapes val, give or take 0.2 (reported by a user of their scripts).
# Protocol: whole images, scale 1.0, no flip.
# Evaluates the checkpoint of scripts/train/train_cityscapes_sfnet_res18.sh;
# --snapshot FILE uses another one, such as the authors'.
. "$(dirname -- "$0")/../launch.sh"

evaluate \
    --arch sfnet_resnet18 \
    --dataset cityscapes --data_root "$ROOT/data/cityscapes" \
    --snapshot "$ROOT/logs/train_cityscapes_sfnet_res18/best.pth" \
    --inference_mode whole \
    --expect 0.785 \
    "$@"
