#!/bin/sh
# Expected mIoU: not known on KITTI val (no value is at hand).
# Its 179 images are few; what was trained on Cityscapes, which has the same classes, is a better start:
# --snapshot logs/train_cityscapes_sfnet_lite_res18/best.pth --init_aux --lr 0.002
. "$(dirname -- "$0")/../launch.sh"

launch \
    --recipe ours \
    --arch sfnet_lite_resnet18 \
    --dataset kitti --data_root "$ROOT/data/kitti" \
    "$@"
