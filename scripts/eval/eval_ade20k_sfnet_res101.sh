#!/bin/sh
# Expected mIoU: 44.7 % on ADE20K val (published, quoted by a survey, scales not stated).
# Protocol: whole images, scale 1.0, no flip.
# Evaluates the checkpoint of scripts/train/train_ade20k_sfnet_res101.sh;
# --snapshot FILE uses another one.
. "$(dirname -- "$0")/../launch.sh"

evaluate \
    --arch sfnet_resnet101 \
    --dataset ade20k --data_root "$ROOT/data/ade20k" \
    --snapshot "$ROOT/logs/train_ade20k_sfnet_res101/best.pth" \
    --inference_mode whole \
    "$@"
