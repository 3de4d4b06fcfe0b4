#!/bin/sh
# Expected mIoU: 68.3 % on CamVid test, give or take 1.5 (measured with seed 0).
# Protocol: whole images, scale 1.5, no flip.
# Evaluates the checkpoint of scripts/train/train_camvid_sfnet_lite_efflite0_modern_upsampled.sh;
# --snapshot FILE uses another one.
. "$(dirname -- "$0")/../launch.sh"

evaluate \
    --arch sfnet_lite_timm:tf_efficientnet_lite0 \
    --dataset camvid --data_root "$ROOT/data/camvid" \
    --snapshot "$ROOT/logs/train_camvid_sfnet_lite_efflite0_modern_upsampled/last.pth" \
    --split test --inference_mode whole --scales 1.5 \
    --expect 0.683 --tolerance 0.015 \
    "$@"
