#!/bin/sh
# Expected mIoU: 74.5 % on Cityscapes test by its server (published, quoted in the paper of STDC).
# No validation. Make a submission from last.pth with
# scripts/eval/eval_cityscapes_sfnet_dfv1_trainval.sh.
. "$(dirname -- "$0")/../launch.sh"

launch \
    --recipe sfsegnets \
    --arch sfnet_dfnetv1 \
    --dataset cityscapes --data_root "$ROOT/data/cityscapes" \
    --train_split trainval --val_split none \
    "$@"
