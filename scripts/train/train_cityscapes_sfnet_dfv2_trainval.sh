#!/bin/sh
# Expected mIoU: 77.8 % on Cityscapes test by its server (published).
# No validation. Make a submission from last.pth with
# scripts/eval/eval_cityscapes_sfnet_dfv2_trainval.sh.
. "$(dirname -- "$0")/../launch.sh"

launch \
    --recipe sfsegnets \
    --arch sfnet_dfnetv2 \
    --dataset cityscapes --data_root "$ROOT/data/cityscapes" \
    --train_split trainval --val_split none \
    "$@"
