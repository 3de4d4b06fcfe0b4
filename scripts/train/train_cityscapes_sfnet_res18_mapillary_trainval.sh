#!/bin/sh
# Expected mIoU: 80.4 % on Cityscapes test by its server (published).
# The second of two stages: starts from the checkpoint of
# scripts/train/train_mapillary_sfnet_res18.sh.
# No validation. Make a submission from last.pth with
# scripts/eval/eval_cityscapes_sfnet_res18_mapillary_trainval.sh.
. "$(dirname -- "$0")/../launch.sh"

launch \
    --recipe sfsegnets \
    --arch sfnet_resnet18 \
    --dataset cityscapes --data_root "$ROOT/data/cityscapes" \
    --snapshot "$ROOT/logs/train_mapillary_sfnet_res18/best.pth" --reset_classifier \
    --train_split trainval --val_split none \
    "$@"
