#!/bin/sh
# Expected mIoU: 68.5 % on streets val, give or take 1.5 (measured with seed 0, 128x256).
# Protocol: whole images, scale 1.0, no flip.
# Evaluates the checkpoint of scripts/quickstart.sh;
# --snapshot FILE uses another one.
. "$(dirname -- "$0")/../launch.sh"

evaluate \
    --arch sfnet_lite_timm:tf_efficientnet_lite0 \
    --dataset streets --data_root "$ROOT/data/streets" \
    --snapshot "$ROOT/logs/quickstart/last.pth" \
    --inference_mode whole \
    --expect 0.685 --tolerance 0.015 \
    "$@"
