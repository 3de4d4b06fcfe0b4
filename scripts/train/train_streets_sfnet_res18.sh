#!/bin/sh
# Expected mIoU: at least 50 % on the held-out scenes of streets (19 classes, from random weights).
# Draw the scenes first: python -m tools.make_streets --out data/streets (scripts/quickstart.sh does all of it).
. "$(dirname -- "$0")/../launch.sh"

launch \
    --arch sfnet_resnet18 \
    --fpn_dsn_loss \
    --pretrained none \
    --dataset streets \
    --data_root "$ROOT/data/streets" \
    --ckpt "$ROOT/logs" \
    --exp train_streets_sfnet_res18 \
    --bs_mult "$(share 8)" \
    --max_epoch 10 \
    --lr 0.02 \
    "$@"
