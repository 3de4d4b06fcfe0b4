#!/bin/sh
# Expected mIoU: not known on BDD100K val (no published value).
. "$(dirname -- "$0")/../launch.sh"

launch \
    --recipe sfsegnets \
    --arch sfnet_lite_stdc2 \
    --dataset bdd100k --data_root "$ROOT/data/bdd100k" \
    --class_uniform_pct 0 \
    "$@"
