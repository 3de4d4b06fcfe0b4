#!/bin/sh
# Expected mIoU: 73.8 % on CamVid test, give or take 0.2 (published; whole images, scale 1.0, no flip).
# Frames of 720x960.
# Scores a file of the authors: sh scripts/eval/eval_camvid_full_sfnet_res18.sh --snapshot FILE
. "$(dirname -- "$0")/../launch.sh"

evaluate \
    --arch sfnet_resnet18 \
    --dataset camvid_full \
    --data_root "$ROOT/data/camvid_full" \
    --split test \
    --inference_mode whole \
    --expect 0.738 \
    "$@"
