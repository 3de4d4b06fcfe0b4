#!/bin/sh
# Expected mIoU: 60.2 % on BDD100K val, give or take 0.2 (published, quoted by a leaderboard).
# Protocol: whole images, scale 1.0, no flip.
# Evaluates the checkpoint of scripts/train/train_bdd100k_sfnet_dfv2.sh;
# --snapshot FILE uses another one, such as the authors'.
. "$(dirname -- "$0")/../launch.sh"

evaluate \
    --arch sfnet_dfnetv2 \
    --dataset bdd100k --data_root "$ROOT/data/bdd100k" \
    --snapshot "$ROOT/logs/train_bdd100k_sfnet_dfv2/best.pth" \
    --inference_mode whole \
    --expect 0.602 \
    "$@"
