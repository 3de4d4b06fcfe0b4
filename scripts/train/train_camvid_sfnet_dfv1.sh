#!/bin/sh
# Expected mIoU: 48.1 % (seed 1: 46.8 %) on CamVid test (360x480, 11 classes, from random weights, train and val).
# Nothing is validated on the way, so that no checkpoint is chosen on test: score last.pth once with eval.py.
. "$(dirname -- "$0")/../launch.sh"

launch \
    --arch sfnet_dfnetv1 \
    --fpn_dsn_loss \
    --pretrained none \
    --dataset camvid \
    --data_root "$ROOT/data/camvid" \
    --train_split trainval \
    --val_split none \
    --ckpt "$ROOT/logs" \
    --exp train_camvid_sfnet_dfv1 \
    --global_batch 4 \
    --max_epoch 40 \
    --adamw --lr 0.001 --weight_decay 0.01 \
    --warmup_steps 100 \
    --ohem --ohem_min_kept 50000 \
    --ema_decay 0.998 \
    "$@"
