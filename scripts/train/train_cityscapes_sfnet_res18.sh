#!/bin/sh
# Expected mIoU: 78.5 % on Cityscapes val (reported by a user of their scripts).
. "$(dirname -- "$0")/../launch.sh"

launch \
    --recipe sfsegnets \
    --arch sfnet_resnet18 \
    --dataset cityscapes --data_root "$ROOT/data/cityscapes" \
    "$@"
