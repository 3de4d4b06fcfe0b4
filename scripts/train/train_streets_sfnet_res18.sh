#!/bin/sh
# Expected mIoU: 55.3 % on streets val (measured with seed 0, 128x256, 5 minutes on 2 cores).
# Draw the scenes first:
#   python -m tools.make_streets --out data/streets --train 1200 --val 100 --size 128x256
# (scripts/quickstart.sh does all of this).
. "$(dirname -- "$0")/../launch.sh"

launch \
    --recipe streets \
    --arch sfnet_resnet18 \
    --dataset streets --data_root "$ROOT/data/streets" \
    --crop_size 128x256 \
    "$@"
