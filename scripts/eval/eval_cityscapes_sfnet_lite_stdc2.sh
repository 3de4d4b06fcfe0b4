#!/bin/sh
# Expected mIoU: 79.0 % on Cityscapes test by its server (published; whole images, scale 1.0, no flip).
# No value on val is published, so this writes a submission.zip for the server, of a file of the authors:
# sh scripts/eval/eval_cityscapes_sfnet_lite_stdc2.sh --snapshot FILE
. "$(dirname -- "$0")/../launch.sh"

evaluate \
    --arch sfnet_lite_stdc2 \
    --dataset cityscapes \
    --data_root "$ROOT/data/cityscapes" \
    --split test \
    --inference_mode whole \
    --dump_images \
    "$@"
