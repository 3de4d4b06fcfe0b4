#!/bin/sh
# Expected mIoU: 47.4 % on CamVid test (measured: mean of two seeds, 48.1 and 46.8 %).
# Frames of 360x480, from random weights.
# No validation, so that no checkpoint is selected on test. Evaluate last.pth once with
# scripts/eval/eval_camvid_sfnet_dfv1.sh.
. "$(dirname -- "$0")/../launch.sh"

launch \
    --recipe camvid \
    --arch sfnet_dfnetv1 \
    --dataset camvid --data_root "$ROOT/data/camvid" \
    "$@"
