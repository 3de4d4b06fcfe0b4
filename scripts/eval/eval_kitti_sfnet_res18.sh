#!/bin/sh
# Expected mIoU: not known on KITTI val (no published value).
# Protocol: whole images, scale 1.0, no flip.
# Evaluates the checkpoint of scripts/train/train_kitti_sfnet_res18.sh;
# --snapshot FILE uses another one.
. "$(dirname -- "$0")/../launch.sh"

evaluate \
    --arch sfnet_resnet18 \
    --dataset kitti --data_root "$ROOT/data/kitti" \
    --snapshot "$ROOT/logs/train_kitti_sfnet_res18/best.pth" \
    --inference_mode whole \
    "$@"
