#!/bin/sh
# Expected mIoU: 55.4 % on BDD100K val (published, quoted by a leaderboard).
. "$(dirname -- "$0")/../launch.sh"

launch \
    --recipe sfsegnets \
    --arch sfnet_dfnetv1 \
    --dataset bdd100k --data_root "$ROOT/data/bdd100k" \
    --class_uniform_pct 0 \
    "$@"
