#!/bin/sh
# Expected mIoU: not known on Cityscapes val (no value is at hand; whole images, scale 1.0, no flip).
# Scores the file of scripts/train/train_cityscapes_sfnet_stdc2.sh;
# another, perhaps the authors', with --snapshot FILE.
. "$(dirname -- "$0")/../launch.sh"

evaluate \
    --arch sfnet_stdc2 \
    --dataset cityscapes --data_root "$ROOT/data/cityscapes" \
    --snapshot "$ROOT/logs/train_cityscapes_sfnet_stdc2/best.pth" \
    --inference_mode whole \
    "$@"
