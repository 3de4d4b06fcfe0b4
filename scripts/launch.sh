# Sourced by every launcher. Sets ROOT (the checkout) and NPROC, and gives three functions:
#
#   launch FLAGS...    runs train.py with them, one process per GPU, or a single one without GPU
#   evaluate FLAGS...  runs eval.py so
#   share N            a process's share of a global batch of N images, at least 1
#
# NPROC=2 in the environment forces the number of processes, PYTHON=/path/to/python3 the interpreter
# (default: .venv of the checkout, else python3). Relative paths are those of the caller's folder.

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

share() {
    if [ "$1" -ge "$NPROC" ]; then
        echo $(($1 / NPROC))
    else
        echo 1
    fi
}

launch() {
    run train.py "$@"
}

evaluate() {
    run eval.py "$@"
}

run() {
    program=$ROOT/$1
    shift
    if [ "$NPROC" -gt 1 ]; then
        exec "$PYTHON" -m torch.distributed.run --standalone --nproc_per_node "$NPROC" "$program" "$@"
    fi
    exec "$PYTHON" "$program" "$@"
}
