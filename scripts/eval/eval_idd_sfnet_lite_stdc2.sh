#!/bin/sh
# Expected mIoU: not known on IDD val (see the tables of arXiv 2207.04415).
# Protocol: whole images, scale 1.0, no flip.
# Evaluates the checkpoint of scripts/train/train_idd_sfnet_lite_stdc2.sh;
# --snapshot FILE uses another one, such as the authors'.
. "$(dirname -- "$0")/../launch.sh"

evaluate \
    --arch sfnet_lite_stdc2 \
    --dataset idd --data_root "$ROOT/data/idd" \
    --snapshot "$ROOT/logs/train_idd_sfnet_lite_stdc2/best.pth" \
    --inference_mode whole \
    "$@"
