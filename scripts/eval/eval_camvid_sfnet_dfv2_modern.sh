#!/bin/sh
# Expected mIoU: not known on CamVid test (not measured yet).
# Protocol: whole images, scale 1.0, no flip.
# Evaluates the checkpoint of scripts/train/train_camvid_sfnet_dfv2_modern.sh;
# --snapshot FILE uses another one.
. "$(dirname -- "$0")/../launch.sh"

evaluate \
    --arch sfnet_dfnetv2 \
    --dataset camvid --data_root "$ROOT/data/camvid" \
    --snapshot "$ROOT/logs/train_camvid_sfnet_dfv2_modern/last.pth" \
    --split test \
    --inference_mode whole \
    "$@"
