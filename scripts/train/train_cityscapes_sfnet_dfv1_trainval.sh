#!/bin/sh
# Expected mIoU: 74.5 % on Cityscapes test by its server (published, as the paper of STDC quotes it).
# Nothing is scored on the way; of last.pth a submission is made by
# scripts/eval/eval_cityscapes_sfnet_dfv1_trainval.sh.
. "$(dirname -- "$0")/../launch.sh"

launch \
    --recipe sfsegnets \
    --arch sfnet_dfnetv1 \
    --dataset cityscapes --data_root "$ROOT/data/cityscapes" \
    --train_split trainval --val_split none \
    "$@"
