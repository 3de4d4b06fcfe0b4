#!/bin/sh
# Expected mIoU: not known on KITTI val (no published value).
# It has 179 training images only. A network trained on Cityscapes (same classes) is a better start:
# --snapshot logs/train_cityscapes_sfnet_res18/best.pth --init_aux --lr 0.002
. "$(dirname -- "$0")/../launch.sh"

launch \
    --recipe ours \
    --arch sfnet_resnet18 \
    --dataset kitti --data_root "$ROOT/data/kitti" \
    "$@"
