#!/bin/sh
# Expected mIoU: 78.4 % on Cityscapes val (published; 300 epochs, global batch 16, no class-uniform sampling).
. "$(dirname -- "$0")/../launch.sh"

launch \
    --arch sfnet_resnet18 \
    --dataset cityscapes \
    --data_root "$ROOT/data/cityscapes" \
    --ckpt "$ROOT/logs" \
    --exp train_cityscapes_sfnet_res18 \
    --bs_mult "$(share 16)" \
    --weight_decay 1e-4 \
    --poly_exp 1.0 \
    --ohem --ohem_min_kept 10000 \
    --decay_norms \
    --gblur_prob 1.0 \
    "$@"
