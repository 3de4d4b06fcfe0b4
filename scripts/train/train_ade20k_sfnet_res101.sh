#!/bin/sh
# Expected mIoU: 44.7 % on ADE20K val (published, quoted by a survey, scales not stated).
. "$(dirname -- "$0")/../launch.sh"

launch \
    --recipe ours \
    --arch sfnet_resnet101 \
    --dataset ade20k --data_root "$ROOT/data/ade20k" \
    --class_uniform_pct 0 \
    --max_epoch 120 \
    "$@"
