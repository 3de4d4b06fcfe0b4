#!/bin/sh
# Expected mIoU: not known on Mapillary val (see the tables of arXiv 2207.04415).
# Protocol: windows, scale 1.0, no flip.
# Evaluates the checkpoint of scripts/train/train_mapillary_sfnet_lite_stdc2.sh;
# --snapshot FILE uses another one, such as the authors'.
. "$(dirname -- "$0")/../launch.sh"

evaluate \
    --arch sfnet_lite_stdc2 \
    --dataset mapillary --data_root "$ROOT/data/mapillary" \
    --snapshot "$ROOT/logs/train_mapillary_sfnet_lite_stdc2/best.pth" \
    "$@"
