#!/bin/sh
# Expected mIoU: not known on Cityscapes val (no published value).
# Protocol: whole images, scale 1.0, no flip.
# Evaluates the checkpoint of scripts/train/train_cityscapes_sfnet_efflite0.sh;
# --snapshot FILE uses another one.
. "$(dirname -- "$0")/../launch.sh"

evaluate \
    --arch sfnet_timm:tf_efficientnet_lite0 \
    --dataset cityscapes --data_root "$ROOT/data/cityscapes" \
    --snapshot "$ROOT/logs/train_cityscapes_sfnet_efflite0/best.pth" \
    --inference_mode whole \
    "$@"
