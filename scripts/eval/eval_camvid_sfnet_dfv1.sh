#!/bin/sh
# Expected mIoU: 47.4 % on CamVid test, give or take 1.5 (measured: the mean of seeds 0 and 1, 48.1 and 46.8 %; whole images, scale 1.0, no flip).
# Scores the file of scripts/train/train_camvid_sfnet_dfv1.sh;
# another with --snapshot FILE.
. "$(dirname -- "$0")/../launch.sh"

evaluate \
    --arch sfnet_dfnetv1 \
    --dataset camvid --data_root "$ROOT/data/camvid" \
    --snapshot "$ROOT/logs/train_camvid_sfnet_dfv1/last.pth" \
    --split test \
    --inference_mode whole \
    --expect 0.474 --tolerance 0.015 \
    "$@"
