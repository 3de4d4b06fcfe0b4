#!/bin/sh
# Expected mIoU: not known on Cityscapes val (no published value).
. "$(dirname -- "$0")/../launch.sh"

launch \
    --recipe sfsegnets \
    --arch sfnet_stdc2 \
    --dataset cityscapes --data_root "$ROOT/data/cityscapes" \
    "$@"
