#!/bin/sh
# Expected mIoU: not known on CamVid test (not measured yet).
# Frames of 360x480, from random weights.
# No validation, so that no checkpoint is selected on test. Evaluate last.pth once with
# scripts/eval/eval_camvid_sfnet_lite_res18.sh.
. "$(dirname -- "$0")/../launch.sh"

launch \
    --recipe camvid \
    --arch sfnet_lite_resnet18 \
    --dataset camvid --data_root "$ROOT/data/camvid" \
    "$@"
