#!/bin/sh
# Expected mIoU: 78.9 % on Cityscapes test by its server (published, quoted by torchcv#162).
# No validation. Make a submission from last.pth with
# scripts/eval/eval_cityscapes_sfnet_res18_trainval.sh.
. "$(dirname -- "$0")/../launch.sh"

launch \
    --recipe sfsegnets \
    --arch sfnet_resnet18 \
    --dataset cityscapes --data_root "$ROOT/data/cityscapes" \
    --train_split trainval --val_split none \
    "$@"
