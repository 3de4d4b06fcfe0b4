#!/bin/sh
# Expected mIoU: 80.1 % on Cityscapes test by its server (published).
# Protocol: whole images, scale 1.0, no flip.
# Makes submission.zip with the checkpoint of
# scripts/train/train_cityscapes_sfnet_lite_res18_trainval.sh;
# --snapshot FILE uses another one, such as the authors'.
. "$(dirname -- "$0")/../launch.sh"

evaluate \
    --arch sfnet_lite_resnet18 \
    --dataset cityscapes --data_root "$ROOT/data/cityscapes" \
    --snapshot "$ROOT/logs/train_cityscapes_sfnet_lite_res18_trainval/last.pth" \
    --split test \
    --inference_mode whole \
    --dump_images \
    "$@"
