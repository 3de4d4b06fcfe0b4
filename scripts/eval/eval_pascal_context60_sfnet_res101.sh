#!/bin/sh
# Expected mIoU: not known on PASCAL Context val (leaderboards quote 53.8 % without the network).
# Protocol: whole images, scale 1.0, no flip.
# Evaluates the checkpoint of scripts/train/train_pascal_context60_sfnet_res101.sh;
# --snapshot FILE uses another one.
. "$(dirname -- "$0")/../launch.sh"

evaluate \
    --arch sfnet_resnet101 \
    --dataset pascal_context60 --data_root "$ROOT/data/pascal_context" \
    --snapshot "$ROOT/logs/train_pascal_context60_sfnet_res101/best.pth" \
    --inference_mode whole \
    "$@"
