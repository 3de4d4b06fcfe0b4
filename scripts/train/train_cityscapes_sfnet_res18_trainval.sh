#!/bin/sh
# Expected mIoU: 78.9 % on Cityscapes test by its server (published, as torchcv#162 quotes it).
# Nothing is scored on the way; of last.pth a submission is made by
# scripts/eval/eval_cityscapes_sfnet_res18_trainval.sh.
. "$(dirname -- "$0")/../launch.sh"

launch \
    --recipe sfsegnets \
    --arch sfnet_resnet18 \
    --dataset cityscapes --data_root "$ROOT/data/cityscapes" \
    --train_split trainval --val_split none \
    "$@"
