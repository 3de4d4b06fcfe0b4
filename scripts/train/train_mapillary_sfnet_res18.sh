#!/bin/sh
# Expected mIoU: not known on Mapillary val (see the tables of arXiv 2207.04415).
# The first of two stages; the second is
# scripts/train/train_cityscapes_sfnet_res18_mapillary.sh.
. "$(dirname -- "$0")/../launch.sh"

launch \
    --recipe sfsegnets \
    --arch sfnet_resnet18 \
    --dataset mapillary --data_root "$ROOT/data/mapillary" \
    --global_batch 32 \
    "$@"
