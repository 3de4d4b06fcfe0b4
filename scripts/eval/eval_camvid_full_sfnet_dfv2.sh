#!/bin/sh
# Expected mIoU: 70.4 % on CamVid test, give or take 0.2 (published; whole images, scale 1.0, no flip).
# Frames of 720x960.
# Scores a file of the authors: sh scripts/eval/eval_camvid_full_sfnet_dfv2.sh --snapshot FILE
. "$(dirname -- "$0")/../launch.sh"

evaluate \
    --arch sfnet_dfnetv2 \
    --dataset camvid_full \
    --data_root "$ROOT/data/camvid_full" \
    --split test \
    --inference_mode whole \
    --expect 0.704 \
    "$@"
