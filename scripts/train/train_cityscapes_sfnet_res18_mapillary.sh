#!/bin/sh
# Expected mIoU: 79.9 % on Cityscapes val (published).
# The second of two stages: starts from the checkpoint of
# scripts/train/train_mapillary_sfnet_res18.sh.
# Both stages in one command, which can be stopped and resumed:
# sh scripts/in_stages.sh mapillary_sfnet_res18 cityscapes_sfnet_res18_mapillary
. "$(dirname -- "$0")/../launch.sh"

launch \
    --recipe sfsegnets \
    --arch sfnet_resnet18 \
    --dataset cityscapes --data_root "$ROOT/data/cityscapes" \
    --snapshot "$ROOT/logs/train_mapillary_sfnet_res18/best.pth" --reset_classifier \
    "$@"
