#!/bin/sh
# Expected mIoU: 72.2 % on Cityscapes val (published; global batch 16, with class-uniform sampling, which this run lacks).
. "$(dirname -- "$0")/../launch.sh"

launch \
    --arch sfnet_dfnetv1 \
    --fpn_dsn_loss \
    --dataset cityscapes \
    --data_root "$ROOT/data/cityscapes" \
    --ckpt "$ROOT/logs" \
    --exp train_cityscapes_sfnet_dfv1 \
    --bs_mult "$(share 16)" \
    --weight_decay 1e-4 \
    --poly_exp 1.0 \
    --ohem \
    --decay_norms \
    --gblur_prob 1.0 \
    "$@"
