#!/bin/sh
# Runs every check and test, also on a bare machine: creates .venv in this checkout, installs the
# extra `test`, then runs ruff, mypy, one end-to-end run and pytest. --all adds the slow tests, and
# installs the optional packages that some tests need.
# All stages run even if one fails; the exit status is 0 only if all passed.

ROOT=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd) || exit 1
. "$ROOT/scripts/setup_env.sh"

slow='not slow'
case ${1:-} in
'') ;;
--all) slow='slow or not slow' ;;
*) die "unknown argument $1. Usage: sh scripts/run_tests.sh [--all]" ;;
esac

started=$(date +%s)
cd "$ROOT" || exit 1
setup_env test
if [ "$slow" != 'not slow' ]; then
    # optional packages, whose tests are skipped without them
    "$PYTHON" -m pip install --quiet --no-input "$ROOT[hub,labels,tracking]" supervision ||
        echo "warning: the optional packages could not be installed; their tests are skipped"
fi
SCRATCH=$(mktemp -d) || die "cannot create a temporary folder (set TMPDIR to choose another place)"
trap 'rm -rf "$SCRATCH"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
summary="  passed  setup ($(($(date +%s) - started)) s)"
failed=0

# stage NAME COMMAND...
stage() {
    name=$1
    shift
    echo
    echo "== $name"
    stage_started=$(date +%s)
    if "$@"; then
        result=passed
    else
        result=FAILED
        failed=1
    fi
    summary="$summary
  $result  $name ($(($(date +%s) - stage_started)) s)"
}

# Draws a few scenes, trains for a few steps, evaluates the result and predicts images with it.
end_to_end() {
    "$PYTHON" -m tools.make_streets --out "$SCRATCH/streets" --train 8 --val 4 --size 128x256 \
        --workers 1 &&
        NPROC=1 sh scripts/train/train_streets_sfnet_dfv1.sh --data_root "$SCRATCH/streets" \
            --ckpt "$SCRATCH/logs" --exp tiny --crop_size 64x128 --bs_mult 4 \
            --max_epoch 2 --num_workers 0 &&
        "$PYTHON" eval.py --snapshot "$SCRATCH/logs/tiny/last.pth" \
            --data_root "$SCRATCH/streets" --split val --json "$SCRATCH/score.json" \
            --dump_images --report --ckpt_path "$SCRATCH/score" &&
        "$PYTHON" -m tools.demo --snapshot "$SCRATCH/logs/tiny/last.pth" --out "$SCRATCH/demo" \
            --input "$SCRATCH"/streets/leftImg8bit/val/* &&
        test -s "$SCRATCH/score.json" && test -s "$SCRATCH/score/report/index.html" &&
        test -n "$(find "$SCRATCH/demo" -name '*.png')"
}

if "$PYTHON" -c 'import sys, torch; sys.exit(not torch.cuda.is_available())'; then
    gpu='gpu or not gpu'
else
    gpu='not gpu'
fi

stage ruff "$PYTHON" -m ruff check .
stage mypy "$PYTHON" -m mypy
stage 'end-to-end run' end_to_end
# In three processes: OpenVINO, ONNX Runtime and others keep their threads and memory until a process
# ends, and what one of them breaks takes the tests of its own process only.
tests() {
    name=$1
    shift
    stage "pytest, $name" "$PYTHON" -m pytest -q --durations=5 "$@" -m "($slow) and ($gpu)"
}
tests 'networks and programs' tests --ignore tests/tools --ignore tests/utils
tests tools tests/tools
tests utils tests/utils

echo
echo "== summary ($(($(date +%s) - started)) s)"
echo "$summary"
exit $failed
