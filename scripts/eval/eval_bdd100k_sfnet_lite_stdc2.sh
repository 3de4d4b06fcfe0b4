#!/bin/sh
# Expected mIoU: not known on BDD100K val (no published value).
# Protocol: whole images, scale 1.0, no flip.
# Evaluates the checkpoint of scripts/train/train_bdd100k_sfnet_lite_stdc2.sh;
# --snapshot FILE uses another one, such as the authors'.
. "$(dirname -- "$0")/../launch.sh"

evaluate \
    --arch sfnet_lite_stdc2 \
    --dataset bdd100k --data_root "$ROOT/data/bdd100k" \
    --snapshot "$ROOT/logs/train_bdd100k_sfnet_lite_stdc2/best.pth" \
    --inference_mode whole \
    "$@"
