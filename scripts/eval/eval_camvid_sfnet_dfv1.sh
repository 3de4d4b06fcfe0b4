#!/bin/sh
# Expected mIoU: 47.4 % on CamVid test, give or take 1.5 (measured: seeds gave 48.1 and 46.8 %).
# Protocol: whole images, scale 1.0, no flip.
# Evaluates the checkpoint of scripts/train/train_camvid_sfnet_dfv1.sh;
# --snapshot FILE uses another one.
. "$(dirname -- "$0")/../launch.sh"

evaluate \
    --arch sfnet_dfnetv1 \
    --dataset camvid --data_root "$ROOT/data/camvid" \
    --snapshot "$ROOT/logs/train_camvid_sfnet_dfv1/last.pth" \
    --split test \
    --inference_mode whole \
    --expect 0.474 --tolerance 0.015 \
    "$@"
