#!/bin/sh
# Two hosts without a scheduler: run the same command on both, from a checkout, with logs/ on a disk
# that they share.
#
#   sh scripts/two_hosts_example.sh HOST_A [flags]
#
# HOST_A is the first host's name or address, the same on both. If one host is cut off, both stop
# with an error after --timeout minutes. When it is back, run the command again on both with
# --resume logs/two_hosts.
[ $# -ge 1 ] || { echo "usage: $0 HOST_A [flags]" >&2; exit 1; }
NNODES=2 RDZV_ENDPOINT=$1:${PORT:-29400} RDZV_ID=two_hosts
export NNODES RDZV_ENDPOINT RDZV_ID
shift
exec sh "$(dirname -- "$0")/train/train_cityscapes_sfnet_res18.sh" --ckpt logs --exp two_hosts \
    --timeout 5 "$@"
