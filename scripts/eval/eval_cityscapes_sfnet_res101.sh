#!/bin/sh
# Expected mIoU: 81.2 % on Cityscapes val, give or take 0.2 (published; whole images, scale 1.0, no flip).
# A user of the authors' file found 80.5 % in this way (SFSegNets#23): scales are not told with the published number.
# Scores the file of scripts/train/train_cityscapes_sfnet_res101.sh;
# another, perhaps the authors', with --snapshot FILE.
. "$(dirname -- "$0")/../launch.sh"

evaluate \
    --arch sfnet_resnet101 \
    --dataset cityscapes --data_root "$ROOT/data/cityscapes" \
    --snapshot "$ROOT/logs/train_cityscapes_sfnet_res101/best.pth" \
    --inference_mode whole \
    --expect 0.812 \
    "$@"
