#!/bin/sh
# Expected mIoU: 78.5 % on Cityscapes val, give or take 0.2 (reported by a user of the authors' scripts; whole images, scale 1.0, no flip).
# Scores the file of scripts/train/train_cityscapes_sfnet_res18.sh;
# another, perhaps the authors', with --snapshot FILE.
. "$(dirname -- "$0")/../launch.sh"

evaluate \
    --arch sfnet_resnet18 \
    --dataset cityscapes --data_root "$ROOT/data/cityscapes" \
    --snapshot "$ROOT/logs/train_cityscapes_sfnet_res18/best.pth" \
    --inference_mode whole \
    --expect 0.785 \
    "$@"
