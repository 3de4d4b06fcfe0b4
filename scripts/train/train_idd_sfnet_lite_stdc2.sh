#!/bin/sh
# Expected mIoU: not known on IDD val (see the tables of arXiv 2207.04415).
. "$(dirname -- "$0")/../launch.sh"

launch \
    --recipe sfsegnets \
    --arch sfnet_lite_stdc2 \
    --dataset idd --data_root "$ROOT/data/idd" \
    --lr 0.02 --global_batch 32 \
    --max_epoch 350 \
    "$@"
