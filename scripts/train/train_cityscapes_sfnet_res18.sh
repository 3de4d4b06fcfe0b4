#!/bin/sh
# Expected mIoU: 78.5 % on Cityscapes val (reported by users of the release for 300 epochs; 79.0 is published for 600).
. "$(dirname -- "$0")/../launch.sh"

launch \
    --recipe sfsegnets \
    --arch sfnet_resnet18 \
    --dataset cityscapes \
    --data_root "$ROOT/data/cityscapes" \
    --ckpt "$ROOT/logs" \
    --exp train_cityscapes_sfnet_res18 \
    "$@"
