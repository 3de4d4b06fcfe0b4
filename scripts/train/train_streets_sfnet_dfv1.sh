#!/bin/sh
# Expected mIoU: 44.0 % on streets val (measured with seed 0, 256x512, 5 minutes on 2 cores).
# Draw the scenes first:
#   python -m tools.make_streets --out data/streets --train 1200 --val 100 --size 256x512
. "$(dirname -- "$0")/../launch.sh"

launch \
    --recipe streets \
    --arch sfnet_dfnetv1 \
    --dataset streets --data_root "$ROOT/data/streets" \
    --fpn_dsn_loss \
    "$@"
