#!/bin/sh
# Expected mIoU: 73.8 % on CamVid test, give or take 0.2 (published, quoted by a survey).
# Protocol: whole images, scale 1.0, no flip.
# Evaluates the checkpoint of scripts/train/train_camvid_full_sfnet_res18.sh;
# --snapshot FILE uses another one.
. "$(dirname -- "$0")/../launch.sh"

evaluate \
    --arch sfnet_resnet18 \
    --dataset camvid_full --data_root "$ROOT/data/camvid_full" \
    --snapshot "$ROOT/logs/train_camvid_full_sfnet_res18/last.pth" \
    --split test \
    --inference_mode whole \
    --expect 0.738 \
    "$@"
