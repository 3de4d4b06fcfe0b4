#!/bin/sh
# Two hosts without a scheduler: run this same command on both, from a checkout and with logs/ on a disk that they share.
#
#   sh scripts/two_hosts_example.sh HOST_A [flags]          # HOST_A: the first host's name or address, the same on both
#
# Should one be cut off, both stop with an error after --timeout minutes; when it is back, run the command again with
# --resume logs/two_hosts on both.
[ $# -ge 1 ] || { echo "usage: $0 HOST_A [flags]" >&2; exit 1; }
NNODES=2 RDZV_ENDPOINT=$1:${PORT:-29400} RDZV_ID=two_hosts
export NNODES RDZV_ENDPOINT RDZV_ID
shift
exec sh "$(dirname -- "$0")/train/train_cityscapes_sfnet_res18.sh" --ckpt logs --exp two_hosts --timeout 5 "$@"
