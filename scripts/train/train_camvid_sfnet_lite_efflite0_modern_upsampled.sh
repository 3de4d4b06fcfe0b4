#!/bin/sh
# Expected mIoU: 68.3 % on CamVid test (measured with seed 0).
# The second of two stages: images upsampled 1.5 times, from the checkpoint of
# scripts/train/train_camvid_sfnet_lite_efflite0_modern.sh.
# Both stages in one command, which can be stopped and resumed:
# sh scripts/in_stages.sh camvid_sfnet_lite_efflite0_modern \
#     camvid_sfnet_lite_efflite0_modern_upsampled
. "$(dirname -- "$0")/../launch.sh"

launch \
    --recipe modern \
    --arch sfnet_lite_timm:tf_efficientnet_lite0 \
    --dataset camvid --data_root "$ROOT/data/camvid" \
    --train_split trainval --val_split none \
    --snapshot "$ROOT/logs/train_camvid_sfnet_lite_efflite0_modern/last.pth" \
    --crop_size 384x528 --scale_min 0.9 --scale_max 2.25 --lr 0.0005 --max_epoch 10 \
    "$@"
