#!/bin/sh
# Expected mIoU: not known on ADE20K val (no published value).
# Protocol: whole images, scale 1.0, no flip.
# Evaluates the checkpoint of scripts/train/train_ade20k_sfnet_res50.sh;
# --snapshot FILE uses another one.
. "$(dirname -- "$0")/../launch.sh"

evaluate \
    --arch sfnet_resnet50 \
    --dataset ade20k --data_root "$ROOT/data/ade20k" \
    --snapshot "$ROOT/logs/train_ade20k_sfnet_res50/best.pth" \
    --inference_mode whole \
    "$@"
