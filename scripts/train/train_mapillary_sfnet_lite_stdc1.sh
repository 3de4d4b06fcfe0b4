#!/bin/sh
# Expected mIoU: not known on Mapillary val (see the tables of arXiv 2207.04415).
. "$(dirname -- "$0")/../launch.sh"

launch \
    --recipe sfsegnets \
    --arch sfnet_lite_stdc1 \
    --dataset mapillary --data_root "$ROOT/data/mapillary" \
    --global_batch 32 \
    "$@"
