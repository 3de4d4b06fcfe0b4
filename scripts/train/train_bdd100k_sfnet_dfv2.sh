#!/bin/sh
# Expected mIoU: 60.2 % on BDD100K val (published, quoted by a leaderboard).
. "$(dirname -- "$0")/../launch.sh"

launch \
    --recipe sfsegnets \
    --arch sfnet_dfnetv2 \
    --dataset bdd100k --data_root "$ROOT/data/bdd100k" \
    --class_uniform_pct 0 \
    "$@"
