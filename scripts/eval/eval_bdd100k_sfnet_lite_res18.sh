#!/bin/sh
# Expected mIoU: not known on BDD100K val (no value is at hand; whole images, scale 1.0, no flip).
# Scores the file of scripts/train/train_bdd100k_sfnet_lite_res18.sh;
# another, perhaps the authors', with --snapshot FILE.
. "$(dirname -- "$0")/../launch.sh"

evaluate \
    --arch sfnet_lite_resnet18 \
    --dataset bdd100k --data_root "$ROOT/data/bdd100k" \
    --snapshot "$ROOT/logs/train_bdd100k_sfnet_lite_res18/best.pth" \
    --inference_mode whole \
    "$@"
