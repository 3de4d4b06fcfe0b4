#!/bin/sh
# Expected mIoU: not known on Mapillary val (see the tables of arXiv 2207.04415; windows, scale 1.0, no flip).
# Scores the file of scripts/train/train_mapillary_sfnet_lite_stdc1.sh;
# another, perhaps the authors', with --snapshot FILE.
. "$(dirname -- "$0")/../launch.sh"

evaluate \
    --arch sfnet_lite_stdc1 \
    --dataset mapillary --data_root "$ROOT/data/mapillary" \
    --snapshot "$ROOT/logs/train_mapillary_sfnet_lite_stdc1/best.pth" \
    "$@"
