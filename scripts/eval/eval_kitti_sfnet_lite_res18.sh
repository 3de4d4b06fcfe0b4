#!/bin/sh
# Expected mIoU: not known on KITTI val (no value is at hand; whole images, scale 1.0, no flip).
# Scores the file of scripts/train/train_kitti_sfnet_lite_res18.sh;
# another with --snapshot FILE.
. "$(dirname -- "$0")/../launch.sh"

evaluate \
    --arch sfnet_lite_resnet18 \
    --dataset kitti --data_root "$ROOT/data/kitti" \
    --snapshot "$ROOT/logs/train_kitti_sfnet_lite_res18/best.pth" \
    --inference_mode whole \
    "$@"
