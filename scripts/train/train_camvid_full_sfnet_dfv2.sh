#!/bin/sh
# Expected mIoU: 70.4 % on CamVid test (published, as a survey quotes it).
# Frames of 720x960.
# Nothing is validated on the way, so that no checkpoint is chosen on test: score last.pth once with
# scripts/eval/eval_camvid_full_sfnet_dfv2.sh.
. "$(dirname -- "$0")/../launch.sh"

launch \
    --recipe ours \
    --arch sfnet_dfnetv2 \
    --dataset camvid_full --data_root "$ROOT/data/camvid_full" \
    --train_split trainval --val_split none \
    "$@"
