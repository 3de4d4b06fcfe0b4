#!/bin/sh
# Expected mIoU: 72.2 % on Cityscapes val (published).
. "$(dirname -- "$0")/../launch.sh"

launch \
    --recipe sfsegnets \
    --arch sfnet_dfnetv1 \
    --dataset cityscapes --data_root "$ROOT/data/cityscapes" \
    "$@"
