#!/bin/sh
# Expected mIoU: not known on PASCAL Context val (leaderboards quote 53.8 % without the network).
. "$(dirname -- "$0")/../launch.sh"

launch \
    --recipe ours \
    --arch sfnet_resnet101 \
    --dataset pascal_context60 --data_root "$ROOT/data/pascal_context" \
    --class_uniform_pct 0 \
    "$@"
