#!/bin/sh
# Expected mIoU: not known on CamVid test (not measured yet).
# Frames of 360x480, from random weights.
# Nothing is validated on the way, so that no checkpoint is chosen on test: score last.pth once with
# scripts/eval/eval_camvid_sfnet_lite_dfv1.sh.
. "$(dirname -- "$0")/../launch.sh"

launch \
    --arch sfnet_lite_dfnetv1 \
    --dataset camvid --data_root "$ROOT/data/camvid" \
    --pretrained none \
    --train_split trainval --val_split none \
    --fpn_dsn_loss \
    --global_batch 4 \
    --max_epoch 40 \
    --adamw --lr 0.001 --weight_decay 0.01 \
    --warmup_steps 100 \
    --ohem --ohem_min_kept 50000 \
    --ema_decay 0.998 \
    "$@"
