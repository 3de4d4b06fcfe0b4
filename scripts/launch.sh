# Sourced by every launcher. Sets ROOT (the checkout) and gives two functions:
#
#   launch FLAGS...    runs train.py with them, one process per GPU, or a single one without GPU; the run's folder is
#                      logs/NAME of the checkout, NAME being the launcher's, unless the flags say otherwise
#   evaluate FLAGS...  runs eval.py so
#
# From the environment, or found:
#   PYTHON          interpreter (default: .venv of the checkout, else python3)
#   NPROC           processes on this host (default: its GPUs, or 1)
#   NNODES          hosts (default: 1; under srun, those of the job step); 1:4 lets hosts come and go
#   RDZV_ENDPOINT   HOST:PORT where several hosts meet, the same on each (default under srun: the step's first host, and a
#                   port made of the job's number)
#   RDZV_ID         a name that they share (default: the Slurm job's number, or sfsegnets)
#   MAX_RESTARTS    how often all processes start again after one died, and go on from the last checkpoint (default: 0)
#
# Relative paths are those of the caller's folder.

ROOT=$(CDPATH='' cd -- "$(dirname -- "$0")/../.." && pwd) || exit 1
if [ -z "${PYTHON:-}" ]; then
    PYTHON=$ROOT/.venv/bin/python
    [ -x "$PYTHON" ] || PYTHON=python3
fi

if [ -z "${NPROC:-}" ]; then
    NPROC=$("$PYTHON" -c 'import torch; print(torch.cuda.device_count() or 1)') || {
        echo "error: $PYTHON cannot import torch. Run sh $ROOT/scripts/quickstart.sh once (it makes .venv), or set PYTHON." >&2
        exit 1
    }
fi

NNODES=${NNODES:-${SLURM_STEP_NUM_NODES:-1}}
RDZV_ID=${RDZV_ID:-${SLURM_JOB_ID:-sfsegnets}}
if [ "$NNODES" != 1 ] && [ -z "${RDZV_ENDPOINT:-}" ]; then
    if [ -z "${SLURM_STEP_NODELIST:-}" ]; then
        echo "error: NNODES=$NNODES, but where do the hosts meet? Set RDZV_ENDPOINT=HOST:PORT, the same on each." >&2
        exit 1
    fi
    RDZV_ENDPOINT=$(scontrol show hostnames "$SLURM_STEP_NODELIST" | head -n 1):$((20000 + SLURM_JOB_ID % 10000))
fi

launch() {
    run train.py --ckpt "$ROOT/logs" --exp "$(basename -- "$0" .sh)" "$@"
}

evaluate() {
    run eval.py "$@"
}

run() {
    program=$ROOT/$1
    shift
    set -- "$program" "$@"
    if [ "$NNODES" != 1 ]; then
        set -- --nnodes "$NNODES" --rdzv_backend c10d --rdzv_endpoint "$RDZV_ENDPOINT" --rdzv_id "$RDZV_ID" \
            --nproc_per_node "$NPROC" --max_restarts "${MAX_RESTARTS:-0}" "$@"
    elif [ "$NPROC" -gt 1 ] || [ "${MAX_RESTARTS:-0}" -gt 0 ]; then
        set -- --standalone --nproc_per_node "$NPROC" --max_restarts "${MAX_RESTARTS:-0}" "$@"
    else
        exec "$PYTHON" "$@"
    fi
    exec "$PYTHON" -m torch.distributed.run "$@"
}
