#!/bin/sh
# Expected mIoU: 69.4 % on IDD-lite val, give or take 1.5 (measured with seed 0).
# Protocol: whole images, scale 1.5, no flip.
# Evaluates the checkpoint of scripts/train/train_idd_lite_sfnet_efflite2_modern_upsampled.sh;
# --snapshot FILE uses another one.
. "$(dirname -- "$0")/../launch.sh"

evaluate \
    --arch sfnet_timm:tf_efficientnet_lite2 \
    --dataset idd_lite --data_root "$ROOT/data/idd_lite" \
    --snapshot "$ROOT/logs/train_idd_lite_sfnet_efflite2_modern_upsampled/last.pth" \
    --inference_mode whole --scales 1.5 \
    --expect 0.694 --tolerance 0.015 \
    "$@"
