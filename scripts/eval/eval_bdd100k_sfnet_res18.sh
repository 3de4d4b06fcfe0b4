#!/bin/sh
# Expected mIoU: 60.6 % on BDD100K val, give or take 0.2 (published; whole images, scale 1.0, no flip).
# Scores a file of the authors: sh scripts/eval/eval_bdd100k_sfnet_res18.sh --snapshot FILE
. "$(dirname -- "$0")/../launch.sh"

evaluate \
    --arch sfnet_resnet18 \
    --dataset bdd100k \
    --data_root "$ROOT/data/bdd100k" \
    --inference_mode whole \
    --expect 0.606 \
    "$@"
