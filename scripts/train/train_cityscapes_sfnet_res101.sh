#!/bin/sh
# Expected mIoU: 81.2 % on Cityscapes val (published).
. "$(dirname -- "$0")/../launch.sh"

launch \
    --recipe sfsegnets \
    --arch sfnet_resnet101 \
    --dataset cityscapes --data_root "$ROOT/data/cityscapes" \
    "$@"
