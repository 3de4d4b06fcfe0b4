#!/bin/sh
# Expected mIoU: 78.4 % on Cityscapes val, give or take 0.2 (published; whole images, scale 1.0, no flip).
# That is 300 epochs without class-uniform sampling; --expect 0.790 for 600 epochs with it, 0.799 for Mapillary first.
# Scores a file of the authors: sh scripts/eval/eval_cityscapes_sfnet_res18.sh --snapshot FILE
. "$(dirname -- "$0")/../launch.sh"

evaluate \
    --arch sfnet_resnet18 \
    --dataset cityscapes \
    --data_root "$ROOT/data/cityscapes" \
    --inference_mode whole \
    --expect 0.784 \
    "$@"
