#!/bin/sh
# Expected mIoU: 80.4 % on Cityscapes val (published).
. "$(dirname -- "$0")/../launch.sh"

launch \
    --recipe sfsegnets \
    --arch sfnet_resnet50 \
    --dataset cityscapes --data_root "$ROOT/data/cityscapes" \
    "$@"
