#!/bin/sh
# Expected mIoU: not known on UDS val (see the tables of arXiv 2207.04415; windows, scale 1.0, no flip).
# Scores the file of scripts/train/train_uds_sfnet_lite_res18.sh;
# another, perhaps the authors', with --snapshot FILE.
. "$(dirname -- "$0")/../launch.sh"

evaluate \
    --arch sfnet_lite_resnet18 \
    --dataset uds --data_root "$ROOT/data/uds" \
    --snapshot "$ROOT/logs/train_uds_sfnet_lite_res18/best.pth" \
    "$@"
