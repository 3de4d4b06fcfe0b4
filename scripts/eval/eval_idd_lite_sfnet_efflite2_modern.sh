#!/bin/sh
# Expected mIoU: 66.4 % on IDD-lite val, give or take 1.5 (measured with seed 0).
# Protocol: whole images, scale 1.0, no flip.
# Evaluates the checkpoint of scripts/train/train_idd_lite_sfnet_efflite2_modern.sh;
# --snapshot FILE uses another one.
. "$(dirname -- "$0")/../launch.sh"

evaluate \
    --arch sfnet_timm:tf_efficientnet_lite2 \
    --dataset idd_lite --data_root "$ROOT/data/idd_lite" \
    --snapshot "$ROOT/logs/train_idd_lite_sfnet_efflite2_modern/last.pth" \
    --inference_mode whole \
    --expect 0.664 --tolerance 0.015 \
    "$@"
