#!/bin/sh
# Expected mIoU: 73.8 % is published for 720x960 with ImageNet weights; at 360x480 from random weights nobody measured it.
# Nothing is validated on the way, so that no checkpoint is chosen on test: score last.pth once with eval.py.
. "$(dirname -- "$0")/../launch.sh"

launch \
    --arch sfnet_resnet18 \
    --fpn_dsn_loss \
    --pretrained none \
    --dataset camvid \
    --data_root "$ROOT/data/camvid" \
    --train_split trainval \
    --val_split none \
    --ckpt "$ROOT/logs" \
    --exp train_camvid_sfnet_res18 \
    --global_batch 4 \
    --max_epoch 40 \
    --adamw --lr 0.001 --weight_decay 0.01 \
    --warmup_steps 100 \
    --ohem --ohem_min_kept 50000 \
    --ema_decay 0.998 \
    "$@"
