#!/bin/sh
# Expected mIoU: 81.2 % on Cityscapes val, give or take 0.2 (published; whole images, scale 1.0, no flip).
# Scores a file of the authors: sh scripts/eval/eval_cityscapes_sfnet_res101.sh --snapshot FILE
. "$(dirname -- "$0")/../launch.sh"

evaluate \
    --arch sfnet_resnet101 \
    --dataset cityscapes \
    --data_root "$ROOT/data/cityscapes" \
    --inference_mode whole \
    --expect 0.812 \
    "$@"
