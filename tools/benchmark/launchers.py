"""The training launchers, and the flags that each gives to train.py."""
from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

import train
from utils.cli import suggest
from utils.files import ROOT

FOLDER = ROOT / "scripts/train"
# in place of Python: writes its arguments, each ended by a zero byte
RECORDER = """#!/bin/sh
for word; do printf '%s\\0' "$word"; done
"""


def names() -> list[str]:
    """Returns the runs that have a launcher: RUN of each scripts/train/train_RUN.sh."""
    return sorted(path.stem.removeprefix("train_") for path in FOLDER.glob("train_*.sh"))


def flags_of(run: str) -> list[str]:
    """Returns the flags that a run's launcher gives to train.py.

    Raises:
        ValueError: there is no such launcher, or it fails.
    """
    launcher = FOLDER / f"train_{run}.sh"
    if not launcher.is_file():
        raise ValueError(f"there is no launcher {launcher}{suggest(run, names())}")
    with tempfile.TemporaryDirectory() as scratch:
        recorder = Path(scratch) / "python"
        recorder.write_text(RECORDER)
        recorder.chmod(0o755)
        env = {"PATH": os.environ.get("PATH", os.defpath), "PYTHON": str(recorder), "NPROC": "1"}
        done = subprocess.run(["sh", str(launcher)], env=env, capture_output=True, check=False)
    if done.returncode:
        raise ValueError(f"{launcher} failed: {done.stderr.decode(errors='replace').strip()}")
    # the first word is train.py
    return os.fsdecode(done.stdout).split("\0")[1:-1]


def options_of(run: str, more: Sequence[str] = ()) -> train.Options:
    """Returns the options of a run's launcher, with more flags of train.py behind its own."""
    return train.parse([*flags_of(run), *more])
