#!/bin/sh
# Expected mIoU: 73.8 % on CamVid test (published, quoted by a survey).
# Frames of 720x960.
# No validation, so that no checkpoint is selected on test. Evaluate last.pth once with
# scripts/eval/eval_camvid_full_sfnet_res18.sh.
. "$(dirname -- "$0")/../launch.sh"

launch \
    --recipe ours \
    --arch sfnet_resnet18 \
    --dataset camvid_full --data_root "$ROOT/data/camvid_full" \
    --train_split trainval --val_split none \
    "$@"
