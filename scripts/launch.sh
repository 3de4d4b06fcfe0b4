# Sourced by every launcher. Sets ROOT (the checkout) and defines two functions:
#
#   launch FLAGS...    runs train.py, with one process per GPU, or a single one without GPU. The
#                      run's folder is logs/NAME of the checkout, where NAME is the launcher's,
#                      unless the flags override it
#   evaluate FLAGS...  runs eval.py in the same way
#
# Environment variables:
#   PYTHON          interpreter (default: .venv of the checkout, else python3)
#   NPROC           processes on this host (default: its number of GPUs, or 1)
#   NNODES          hosts (default: 1, or those of the job step under srun); 1:4 is elastic
#   RDZV_ENDPOINT   HOST:PORT where several hosts meet, the same on each (default under srun: the
#                   step's first host, and a port derived from the job id)
#   RDZV_ID         a name that the hosts share (default: the Slurm job id, or sfsegnets)
#   MAX_RESTARTS    how often all processes restart after one died, and continue from the last
#                   checkpoint (default: 0)
#
# Relative paths are relative to the caller's folder.

ROOT=$(CDPATH='' cd -- "$(dirname -- "$0")/../.." && pwd) || exit 1
if [ -z "${PYTHON:-}" ]; then
    PYTHON=$ROOT/.venv/bin/python
    [ -x "$PYTHON" ] || PYTHON=python3
fi

if [ -z "${NPROC:-}" ]; then
    NPROC=$("$PYTHON" -c 'import torch; print(torch.cuda.device_count() or 1)') || {
        echo "error: $PYTHON cannot import torch. Run sh $ROOT/scripts/quickstart.sh once" \
            "(it creates .venv), or set PYTHON." >&2
        exit 1
    }
fi

NNODES=${NNODES:-${SLURM_STEP_NUM_NODES:-1}}
RDZV_ID=${RDZV_ID:-${SLURM_JOB_ID:-sfsegnets}}
if [ "$NNODES" != 1 ] && [ -z "${RDZV_ENDPOINT:-}" ]; then
    if [ -z "${SLURM_STEP_NODELIST:-}" ]; then
        echo "error: NNODES=$NNODES needs an address where the hosts meet." \
            "Set RDZV_ENDPOINT=HOST:PORT, the same on each." >&2
        exit 1
    fi
    first_host=$(scontrol show hostnames "$SLURM_STEP_NODELIST" | head -n 1)
    RDZV_ENDPOINT=$first_host:$((20000 + SLURM_JOB_ID % 10000))
fi

launch() {
    # for the run's env.json: its last lines name the flags of this launcher's evaluation
    SFSEGNETS_LAUNCHER=$(basename -- "$0" .sh)
    export SFSEGNETS_LAUNCHER
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
        set -- --nnodes "$NNODES" --rdzv_backend c10d \
            --rdzv_endpoint "$RDZV_ENDPOINT" --rdzv_id "$RDZV_ID" \
            --nproc_per_node "$NPROC" --max_restarts "${MAX_RESTARTS:-0}" "$@"
    elif [ "$NPROC" -gt 1 ] || [ "${MAX_RESTARTS:-0}" -gt 0 ]; then
        set -- --standalone --nproc_per_node "$NPROC" --max_restarts "${MAX_RESTARTS:-0}" "$@"
    else
        exec "$PYTHON" "$@"
    fi
    exec "$PYTHON" "$ROOT/utils/torchrun.py" "$@"
}
