"""Drills by ckpt-chaos, which kills a run at every file that it makes, renames or removes, resumes
it and compares the result (https://github.com/rkb32/ckpt-chaos, MIT).

It must lie in a folder of its own (`pip install --target DIR ckpt-chaos`): it puts the folder that
contains it on PYTHONPATH, which is no place for the packages of an environment.
"""
from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

from tools.maintainer.fault_drill.site import BrokenPromise, DrillSite, SkippedDrill
from utils.files import ROOT

VERSION = "0.1.8"
# killed before the file event, with the file cut in half, by SIGTERM, and with what was not flushed
# to the disk lost
MODES = "unsynced,torn,term,before"
# small checkpoints, all of them kept: ckpt-chaos compares them with those of an undisturbed run
TRAIN_FLAGS = ("--arch", "sfnet_lite_timm:test_efficientnet", "--pretrained", "none",
               "--crop_size", "64", "--bs_mult", "2", "--num_workers", "0", "--precision", "fp32",
               "--log_every", "1", "--eval_epoch", "1", "--eval_every", "1", "--max_iters", "8",
               "--checkpoint_every", "2", "--keep", "9", "--exp", "run", "--resume", "auto")
DIGEST = Path(__file__).with_name("digest.py")
# of a command, in seconds
TIMEOUT = 600
# seconds between SIGTERM and SIGKILL
GRACE = 60


def killed_at_file_events(site: DrillSite) -> str:
    """Kills one process at each of its file events."""
    return _run(site, ranks=1)


def killed_at_file_events_of_two(site: DrillSite) -> str:
    """Kills rank 0 of two processes at each of its file events."""
    return _run(site, ranks=2)


def _run(site: DrillSite, ranks: int) -> str:
    """Runs ckpt-chaos.

    Returns:
        How many of its runs passed.

    Raises:
        SkippedDrill: ckpt-chaos is not there.
        BrokenPromise: a run could not be resumed, had other weights or repeated work.
    """
    if site.chaos is None or not (site.chaos / "ckpt_chaos").is_dir():
        raise SkippedDrill(f"it needs ckpt-chaos in a folder of its own: pip install --target DIR "
                           f"ckpt-chaos=={VERSION}, then --chaos DIR")
    done = subprocess.run(command(site, ranks), cwd=ROOT, text=True, capture_output=True,
                          check=False, env={**os.environ, "PYTHONPATH": str(site.chaos.resolve()),
                                            "OMP_NUM_THREADS": "1"})
    return outcome(done.stdout + done.stderr, done.returncode)


def command(site: DrillSite, ranks: int) -> list[str]:
    """Returns the command line of ckpt-chaos."""
    digest = shlex.join([sys.executable, "-I", str(DIGEST)])
    return [sys.executable, "-m", "ckpt_chaos", "run", "--ranks", str(ranks),
            "--max-points", str(site.points), "--modes", MODES,
            "--work", str(site.folder / f"chaos_{ranks}"), "--timeout", str(TIMEOUT),
            "--grace", str(GRACE), "--checkpoint-glob", "{out}/run/checkpoints/step_*.pth",
            "--ckpt-ignore-size", "--step-regex", r"going on from step (\d+)",
            "--result-cmd", f"{digest} {{out}}/run",
            "--fail-on", "HARD_FAIL,SILENT_DIVERGENCE,LOST_WORK,CONTROL_FAIL", "--",
            sys.executable, str(ROOT / "train.py"), *TRAIN_FLAGS,
            "--data_root", str(site.folder / "data"), "--ckpt", "{out}"]


def outcome(output: str, code: int) -> str:
    """Returns how many runs passed, from the output of ckpt-chaos.

    Raises:
        BrokenPromise: some did not; the message lists them.
    """
    lines = re.findall(r"(PASS|HARD_FAIL|SILENT_DIVERGENCE|LOST_WORK|CONTROL_FAIL): (\d+)", output)
    counts = {name: int(count) for name, count in lines}
    total = sum(counts.values())
    if code or not total:
        failed = [line for line in output.splitlines()
                  if re.search(r"HARD_FAIL|SILENT_DIVERGENCE|LOST_WORK|CONTROL_FAIL", line)]
        raise BrokenPromise("\n".join(failed) or f"ckpt-chaos ended with {code}:\n{output}")
    return f"{counts['PASS']} of {total} runs went on with the same result, no work lost"
