#!/bin/sh
# Expected mIoU: 80.4 % on Cityscapes test by its server (published).
# Protocol: whole images, scale 1.0, no flip.
# Makes submission.zip with the checkpoint of
# scripts/train/train_cityscapes_sfnet_res18_mapillary_trainval.sh;
# --snapshot FILE uses another one, such as the authors'.
. "$(dirname -- "$0")/../launch.sh"

evaluate \
    --arch sfnet_resnet18 \
    --dataset cityscapes --data_root "$ROOT/data/cityscapes" \
    --snapshot "$ROOT/logs/train_cityscapes_sfnet_res18_mapillary_trainval/last.pth" \
    --split test \
    --inference_mode whole \
    --dump_images \
    "$@"
