#!/bin/sh
# Expected mIoU: 70.4 % on CamVid test, give or take 0.2 (published, quoted by a survey).
# Protocol: whole images, scale 1.0, no flip.
# Evaluates the checkpoint of scripts/train/train_camvid_full_sfnet_dfv2.sh;
# --snapshot FILE uses another one.
. "$(dirname -- "$0")/../launch.sh"

evaluate \
    --arch sfnet_dfnetv2 \
    --dataset camvid_full --data_root "$ROOT/data/camvid_full" \
    --snapshot "$ROOT/logs/train_camvid_full_sfnet_dfv2/last.pth" \
    --split test \
    --inference_mode whole \
    --expect 0.704 \
    "$@"
