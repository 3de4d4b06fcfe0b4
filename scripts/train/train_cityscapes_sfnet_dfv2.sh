#!/bin/sh
# Expected mIoU: 75.8 % on Cityscapes val (published).
. "$(dirname -- "$0")/../launch.sh"

launch \
    --recipe sfsegnets \
    --arch sfnet_dfnetv2 \
    --dataset cityscapes --data_root "$ROOT/data/cityscapes" \
    "$@"
