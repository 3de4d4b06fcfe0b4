#!/bin/sh
# Expected mIoU: 81.8 % on Cityscapes test by its server (published, quoted by a survey).
# No validation. Make a submission from last.pth with
# scripts/eval/eval_cityscapes_sfnet_res101_trainval.sh.
. "$(dirname -- "$0")/../launch.sh"

launch \
    --recipe sfsegnets \
    --arch sfnet_resnet101 \
    --dataset cityscapes --data_root "$ROOT/data/cityscapes" \
    --train_split trainval --val_split none \
    "$@"
