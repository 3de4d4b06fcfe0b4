#!/bin/sh
# Expected mIoU: 70.4 % on CamVid test (published, quoted by a survey).
# Frames of 720x960.
# No validation, so that no checkpoint is selected on test. Evaluate last.pth once with
# scripts/eval/eval_camvid_full_sfnet_dfv2.sh.
. "$(dirname -- "$0")/../launch.sh"

launch \
    --recipe ours \
    --arch sfnet_dfnetv2 \
    --dataset camvid_full --data_root "$ROOT/data/camvid_full" \
    --train_split trainval --val_split none \
    "$@"
