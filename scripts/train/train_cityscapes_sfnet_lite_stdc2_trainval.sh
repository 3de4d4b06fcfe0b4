#!/bin/sh
# Expected mIoU: 79.0 % on Cityscapes test by its server (published).
# No validation. Make a submission from last.pth with
# scripts/eval/eval_cityscapes_sfnet_lite_stdc2_trainval.sh.
. "$(dirname -- "$0")/../launch.sh"

launch \
    --recipe sfsegnets \
    --arch sfnet_lite_stdc2 \
    --dataset cityscapes --data_root "$ROOT/data/cityscapes" \
    --max_epoch 1000 \
    --train_split trainval --val_split none \
    "$@"
