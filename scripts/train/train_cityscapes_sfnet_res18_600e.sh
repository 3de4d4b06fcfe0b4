#!/bin/sh
# Expected mIoU: 79.0 % on Cityscapes val (published).
. "$(dirname -- "$0")/../launch.sh"

launch \
    --recipe sfsegnets \
    --arch sfnet_resnet18 \
    --dataset cityscapes --data_root "$ROOT/data/cityscapes" \
    --max_epoch 600 \
    "$@"
