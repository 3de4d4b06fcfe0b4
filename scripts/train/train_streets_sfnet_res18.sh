#!/bin/sh
# Expected mIoU: 55.3 % on streets val (measured with seed 0: 19 classes, 128x256, random weights, 5 minutes on 2 cores).
# Draw the scenes first: python -m tools.make_streets --out data/streets --train 1200 --val 100 --size 128x256
# (scripts/quickstart.sh does all of it).
. "$(dirname -- "$0")/../launch.sh"

launch \
    --arch sfnet_resnet18 \
    --pretrained none \
    --dataset streets --data_root "$ROOT/data/streets" \
    --crop_size 128x256 \
    --scale_min 0.75 --scale_max 1.5 \
    --no_gblur \
    --global_batch 8 \
    --max_epoch 4 \
    --adamw --lr 0.002 --weight_decay 0.01 \
    --warmup_steps 50 \
    --ema_decay 0.99 \
    --eval_epoch 1 --eval_every 1 \
    "$@"
