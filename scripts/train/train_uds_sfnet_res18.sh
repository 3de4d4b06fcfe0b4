#!/bin/sh
# Expected mIoU: not known on UDS val (see the tables of arXiv 2207.04415).
. "$(dirname -- "$0")/../launch.sh"

launch \
    --recipe sfsegnets \
    --arch sfnet_resnet18 \
    --dataset uds --data_root "$ROOT/data/uds" \
    --max_epoch 120 \
    "$@"
