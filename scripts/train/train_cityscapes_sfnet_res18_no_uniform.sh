#!/bin/sh
# Expected mIoU: 78.4 % on Cityscapes val (published).
. "$(dirname -- "$0")/../launch.sh"

launch \
    --recipe sfsegnets \
    --arch sfnet_resnet18 \
    --dataset cityscapes --data_root "$ROOT/data/cityscapes" \
    --class_uniform_pct 0 \
    "$@"
