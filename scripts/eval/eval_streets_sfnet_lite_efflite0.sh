#!/bin/sh
# Expected mIoU: not known on streets val (not measured yet).
# Protocol: whole images, scale 1.0, no flip.
# Evaluates the checkpoint of scripts/train/train_streets_sfnet_lite_efflite0.sh;
# --snapshot FILE uses another one.
. "$(dirname -- "$0")/../launch.sh"

evaluate \
    --arch sfnet_lite_timm:tf_efficientnet_lite0 \
    --dataset streets --data_root "$ROOT/data/streets" \
    --snapshot "$ROOT/logs/train_streets_sfnet_lite_efflite0/last.pth" \
    --inference_mode whole \
    "$@"
