#!/bin/sh
# Expected mIoU: 44.0 % on streets val, give or take 1.5 (measured with seed 0, 256x512).
# Protocol: whole images, scale 1.0, no flip.
# Evaluates the checkpoint of scripts/train/train_streets_sfnet_dfv1.sh;
# --snapshot FILE uses another one.
. "$(dirname -- "$0")/../launch.sh"

evaluate \
    --arch sfnet_dfnetv1 \
    --dataset streets --data_root "$ROOT/data/streets" \
    --snapshot "$ROOT/logs/train_streets_sfnet_dfv1/last.pth" \
    --inference_mode whole \
    --expect 0.440 --tolerance 0.015 \
    "$@"
