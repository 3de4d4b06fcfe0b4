#!/bin/sh
# Expected mIoU: not known on ADE20K val (no published value).
. "$(dirname -- "$0")/../launch.sh"

launch \
    --recipe ours \
    --arch sfnet_resnet50 \
    --dataset ade20k --data_root "$ROOT/data/ade20k" \
    --class_uniform_pct 0 \
    --max_epoch 120 \
    "$@"
