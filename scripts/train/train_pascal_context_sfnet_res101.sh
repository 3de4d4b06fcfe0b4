#!/bin/sh
# Expected mIoU: not known on PASCAL Context val (no published value for 59 classes).
. "$(dirname -- "$0")/../launch.sh"

launch \
    --recipe ours \
    --arch sfnet_resnet101 \
    --dataset pascal_context --data_root "$ROOT/data/pascal_context" \
    --class_uniform_pct 0 \
    "$@"
