"""The check of a GPU: its order, its limits and what it leaves; stubs stand for slow programs."""
from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tools.make_streets import __main__ as make_streets

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "scripts/gpu_check.sh"

# in place of Python: records its arguments, and leaves what the real programs leave
PYTHON = """#!/bin/sh
value() { flag=$1; shift; while [ $# -gt 0 ]; do [ "$1" = "$flag" ] && echo "$2"; shift; done; }
case "$1 $2" in
    '-c '*is_available*) exit "$NO_GPU" ;;
    '-c '*) exit 0 ;;
    '- '*) exec "$REAL_PYTHON" "$@" ;;
esac
echo "$*" >>"$RECORD"
exp=$(value --exp "$@")
case " $* " in
    *" $FAILING "*) echo 'error: as asked'; exit 3 ;;
    ' train.py '*)
        run=$(value --ckpt "$@")/$exp
        mkdir -p "$run/checkpoints"
        for file in args.json env.json metrics.jsonl last.pth; do echo "$exp" >"$run/$file"; done ;;
    *' eval.py '*)
        snapshot=$(value --snapshot "$@")
        [ -f "$snapshot" ] || exit 2
        case $snapshot in *sfnet_s0*) score=0.52 ;; *sfnet*) score=0.54 ;; *) score=0.5 ;; esac
        echo "{\\"mIoU\\": $score}" >"$(value --json "$@")" ;;
esac
"""
# in place of `timeout`: records the limit
TIMEOUT = """#!/bin/sh
echo "$3" >>"$LIMITS"
shift 3
case "$*" in *"$HANGING"*) exit 124 ;; esac
exec "$@"
"""


class Check:
    """Runs the script with the stubs."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.out = folder / "out"
        (folder / "data").mkdir()
        (folder / "bin").mkdir()
        for name, text in (("python", PYTHON), ("timeout", TIMEOUT)):
            path = folder / "bin" / name
            path.write_text(text)
            path.chmod(0o755)

    def __call__(self, *flags: str, failing: str = "nothing", hanging: str = "nothing",
                 has_gpu: bool = True, python: str = "") -> subprocess.CompletedProcess[str]:
        env = {
            "PATH": f"{self.folder / 'bin'}:{os.environ['PATH']}", "FAILING": failing,
            "HANGING": hanging, "NO_GPU": str(int(not has_gpu)), "REAL_PYTHON": sys.executable,
            "RECORD": str(self.folder / "record"), "LIMITS": str(self.folder / "limits"),
            "PYTHON": python or str(self.folder / "bin/python"), "PYTHONPATH": str(ROOT)}
        return subprocess.run(
            ["sh", str(SCRIPT), "--out", str(self.out), "--data_root", str(self.folder / "data"),
             "--dataset", "idd_lite", *flags],
            env=env, capture_output=True, text=True, check=False, cwd=self.folder)

    def commands(self) -> list[str]:
        return (self.folder / "record").read_text().splitlines()

    def summary(self) -> str:
        return (self.out / "summary.txt").read_text()


@pytest.fixture
def check(tmp_path: Path) -> Check:
    return Check(tmp_path)


def test_tests_machine_and_pairs_run_in_this_order_and_leave_small_files(check: Check) -> None:
    done = check("--seeds", "2", "--", "--max_epoch", "3")
    assert done.returncode == 0, done.stderr
    tests, machine, *pairs = check.commands()
    assert tests.startswith("-m pytest -q -m gpu ")
    assert machine == (f"-m tools.benchmark machine --quick --json {check.out}/machine.json "
                       f"--out {check.out}/machine.md")
    trained = [command.split() for command in pairs if command.startswith("train.py")]
    assert len(pairs) == 8 and [words[words.index("--exp") + 1] for words in trained] == [
        "sfnet_s0", "fpn_s0", "fpn_s1", "sfnet_s1"]
    words = trained[2]
    assert words[words.index("--arch") + 1] == "fpn_timm:tf_efficientnet_lite0"
    # the caller's flags come behind the default ones, the seed last
    assert words[-4:] == ["--max_epoch", "3", "--seed", "1"]
    assert words[words.index("--data_root") + 1] == str(check.folder / "data")
    files = {str(path.relative_to(check.out)) for path in check.out.rglob("*") if path.is_file()}
    assert {"summary.txt", "tests.txt", "machine.txt", "pair/sfnet_s0.json",
            "pair/fpn_s1/metrics.jsonl", "pair/fpn_s1/env.json", "train_fpn_s1.txt"} <= files
    assert not [name for name in files if name.endswith(".pth")]
    # differences of 2 and 4 points: mean 3, and t(0.975, 1) = 12.706 times sqrt(2) / sqrt(2)
    assert "s0: SFNet 52.00 %, FPN 50.00 % mIoU" in check.summary()
    assert ("SFNet minus FPN: +3.00 points over 2 pair(s), 95 % interval -9.71 to +15.71"
            in check.summary())
    limits = [int(line) for line in (check.folder / "limits").read_text().split()]
    assert limits[:2] == [150, 280] and all(600 < limit <= 900 for limit in limits[2:])


def test_what_fails_or_hangs_takes_the_rest_not_away(check: Check) -> None:
    done = check("--seeds", "1", failing="pytest", hanging="tools.benchmark machine")
    assert done.returncode == 1
    assert "FAILED (3), see tests.txt: tests" in check.summary()
    assert (check.out / "tests.txt").read_text() == "error: as asked\n"
    assert "stopped at its limit: machine" in check.summary()
    assert "SFNet minus FPN: +2.00 points over 1 pair(s), one pair shows no" in check.summary()


@pytest.mark.parametrize("python", ["bin/python", "./bin/python", "python"])
def test_an_interpreter_may_be_named_from_the_callers_folder(check: Check, python: str) -> None:
    done = check("--no_tests", "--seeds", "1", python=python)
    assert done.returncode == 0, done.stderr + check.summary()
    assert len(check.commands()) == 5


def test_a_training_that_fails_ends_the_pairs(check: Check) -> None:
    done = check("--no_tests", "--no_machine", failing="fpn_s1")
    assert done.returncode == 1
    assert "FAILED (3), see train_fpn_s1.txt: train_fpn_s1" in check.summary()
    assert "over 1 pair(s)" in check.summary()
    assert not [command for command in check.commands() if "_s2" in command]


def test_without_a_gpu_its_tests_are_left_out(check: Check) -> None:
    assert check("--no_machine", "--no_pair", has_gpu=False).returncode == 0
    assert check.summary().startswith("left out: tests (no GPU)\n")
    assert not (check.folder / "record").exists()


@pytest.mark.parametrize(("flags", "message"), [
    (["--nothing", "1"], "unknown flag --nothing (flags of train.py follow --). Usage: sh scripts"),
    (["--minutes", "soon"], "--minutes soon: give a whole number of at least 1"),
    (["--seeds", "0"], "--seeds 0: give a whole number of at least 1"),
    (["--backbone"], "--backbone needs a value"),
    (["--data_root", "absent"], "--data_root absent: there is no such folder"),
])
def test_wrong_flags_are_refused(check: Check, flags: list[str], message: str) -> None:
    done = check(*flags)
    assert done.returncode == 2 and f"error: {message}" in done.stderr
    assert not check.out.exists()


def test_the_files_of_an_earlier_check_are_not_mixed_with_new_ones(check: Check) -> None:
    check.out.mkdir()
    (check.out / "summary.txt").write_text("earlier")
    done = check("--no_tests")
    assert done.returncode == 2 and "holds files already" in done.stderr
    assert check.summary() == "earlier"


@pytest.mark.slow
def test_a_pair_is_trained_and_scored_on_a_cpu(tmp_path: Path) -> None:
    pytest.importorskip("timm")
    data = tmp_path / "streets"
    make_streets.main(["--out", str(data), "--train", "16", "--val", "2", "--size", "64x128",
                       "--workers", "1"])
    out = tmp_path / "out"
    done = subprocess.run(
        ["sh", str(SCRIPT), "--out", str(out), "--dataset", "streets", "--data_root", str(data),
         "--backbone", "test_efficientnet", "--seeds", "1", "--no_tests", "--no_machine", "--",
         "--pretrained", "none", "--crop_size", "64", "--max_iters", "2", "--num_workers", "0"],
        env={**os.environ, "PYTHON": sys.executable, "CUDA_VISIBLE_DEVICES": ""},
        capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    for name in ("sfnet_s0", "fpn_s0"):
        assert 0 <= json.loads((out / "pair" / f"{name}.json").read_text())["mIoU"] <= 1
        assert (out / "pair" / name / "metrics.jsonl").stat().st_size > 0
    assert "SFNet minus FPN:" in (out / "summary.txt").read_text()
