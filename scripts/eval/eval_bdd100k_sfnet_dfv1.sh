#!/bin/sh
# Expected mIoU: 55.4 % on BDD100K val, give or take 0.2 (published; whole images, scale 1.0, no flip).
# Scores a file of the authors: sh scripts/eval/eval_bdd100k_sfnet_dfv1.sh --snapshot FILE
. "$(dirname -- "$0")/../launch.sh"

evaluate \
    --arch sfnet_dfnetv1 \
    --dataset bdd100k \
    --data_root "$ROOT/data/bdd100k" \
    --inference_mode whole \
    --expect 0.554 \
    "$@"
