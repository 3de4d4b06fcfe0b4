#!/bin/sh
# Expected mIoU: 44.0 % on streets val (measured with seed 0: 19 classes, 256x512, random weights, 5 minutes on 2 cores).
# Draw the scenes first: python -m tools.make_streets --out data/streets --train 1200 --val 100 --size 256x512
. "$(dirname -- "$0")/../launch.sh"

launch \
    --arch sfnet_dfnetv1 \
    --fpn_dsn_loss \
    --pretrained none \
    --dataset streets --data_root "$ROOT/data/streets" \
    --scale_min 0.75 --scale_max 1.5 \
    --no_gblur \
    --global_batch 8 \
    --max_epoch 4 \
    --adamw --lr 0.002 --weight_decay 0.01 \
    --warmup_steps 50 \
    --ema_decay 0.99 \
    --eval_epoch 1 --eval_every 1 \
    "$@"
