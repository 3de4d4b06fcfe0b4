#!/bin/sh
# Expected mIoU: 69.4 % on IDD-lite val (measured with seed 0).
# The second of two stages: images upsampled 1.5 times, from the checkpoint of
# scripts/train/train_idd_lite_sfnet_efflite2_modern.sh.
# Both stages in one command, which can be stopped and resumed:
# sh scripts/in_stages.sh idd_lite_sfnet_efflite2_modern idd_lite_sfnet_efflite2_modern_upsampled
. "$(dirname -- "$0")/../launch.sh"

launch \
    --recipe modern \
    --arch sfnet_timm:tf_efficientnet_lite2 \
    --dataset idd_lite --data_root "$ROOT/data/idd_lite" \
    --val_split none \
    --snapshot "$ROOT/logs/train_idd_lite_sfnet_efflite2_modern/last.pth" \
    --crop_size 384x528 --scale_min 1.125 --scale_max 2.625 --lr 0.0005 --max_epoch 3 \
    "$@"
