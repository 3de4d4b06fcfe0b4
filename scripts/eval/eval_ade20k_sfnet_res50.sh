#!/bin/sh
# Expected mIoU: not known on ADE20K val (no value is at hand; whole images, scale 1.0, no flip).
# Scores the file of scripts/train/train_ade20k_sfnet_res50.sh;
# another with --snapshot FILE.
. "$(dirname -- "$0")/../launch.sh"

evaluate \
    --arch sfnet_resnet50 \
    --dataset ade20k --data_root "$ROOT/data/ade20k" \
    --snapshot "$ROOT/logs/train_ade20k_sfnet_res50/best.pth" \
    --inference_mode whole \
    "$@"
