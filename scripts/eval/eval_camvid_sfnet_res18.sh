#!/bin/sh
# Expected mIoU: not known on CamVid test (not measured yet; whole images, scale 1.0, no flip).
# Scores the file of scripts/train/train_camvid_sfnet_res18.sh;
# another with --snapshot FILE.
. "$(dirname -- "$0")/../launch.sh"

evaluate \
    --arch sfnet_resnet18 \
    --dataset camvid --data_root "$ROOT/data/camvid" \
    --snapshot "$ROOT/logs/train_camvid_sfnet_res18/last.pth" \
    --split test \
    --inference_mode whole \
    "$@"
