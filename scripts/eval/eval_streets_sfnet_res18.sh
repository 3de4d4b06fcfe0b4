#!/bin/sh
# Expected mIoU: 55.3 % on streets val, give or take 1.5 (measured with seed 0, 128x256).
# Protocol: whole images, scale 1.0, no flip.
# Evaluates the checkpoint of scripts/train/train_streets_sfnet_res18.sh;
# --snapshot FILE uses another one.
. "$(dirname -- "$0")/../launch.sh"

evaluate \
    --arch sfnet_resnet18 \
    --dataset streets --data_root "$ROOT/data/streets" \
    --snapshot "$ROOT/logs/train_streets_sfnet_res18/last.pth" \
    --inference_mode whole \
    --expect 0.553 --tolerance 0.015 \
    "$@"
