#!/bin/sh
# Runs several training launchers one after another. After an interruption, the same command
# continues where it stopped.
#
#   sh scripts/in_stages.sh RUN [RUN ...] [-- FLAGS]
#
# RUN is the launcher scripts/train/train_RUN.sh; FLAGS go to every stage. Mapillary, then
# Cityscapes, then Cityscapes with val for the test server:
#
#   sh scripts/in_stages.sh mapillary_sfnet_res18 cityscapes_sfnet_res18_mapillary \
#       cityscapes_sfnet_res18_mapillary_trainval
ROOT=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd) || exit 1

stages=
while [ $# -gt 0 ] && [ "$1" != -- ]; do
    [ -f "$ROOT/scripts/train/train_$1.sh" ] || {
        echo "error: no launcher scripts/train/train_$1.sh (flags for every stage follow --)" >&2
        exit 1
    }
    stages="$stages train_$1"
    shift
done
[ -n "$stages" ] || { echo "usage: sh scripts/in_stages.sh RUN [RUN ...] [-- FLAGS]" >&2; exit 1; }
# Drop the "--".
[ $# -eq 0 ] || shift
for flag in "$@"; do
    case $flag in
        --exp|--exp=*|--ckpt|--ckpt=*|--resume|--resume=*|--snapshot|--snapshot=*)
            echo "error: $flag is set for each stage: logs/train_RUN, from the stage before it" >&2
            exit 1 ;;
    esac
done

for stage in $stages; do
    folder=$ROOT/logs/$stage
    if [ -e "$folder/args.json" ]; then
        sh "$ROOT/scripts/train/$stage.sh" "$@" --resume "$folder" || exit
    else
        sh "$ROOT/scripts/train/$stage.sh" "$@" || exit
    fi
done
