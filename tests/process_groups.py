"""Waiting for programs that tests start in a process group of their own."""
from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from utils.files import ROOT


def start_program(program: str, *args: str, first_line: str) -> subprocess.Popen[str]:
    """Starts Python code in a process group of its own, and waits for its first line."""
    process = subprocess.Popen(
        [sys.executable, "-c", program, *args],
        cwd=ROOT,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == f"{first_line}\n"
    return process


def wait_for(text: str, log: Path, process: subprocess.Popen[bytes], seconds: float = 120) -> None:
    """Waits until a log contains a text; fails if the process ends before, or it takes too long."""
    end = time.monotonic() + seconds
    while not log.exists() or text not in log.read_text():
        assert process.poll() is None, f"exit code {process.returncode} before {text!r}"
        if time.monotonic() > end:
            os.killpg(process.pid, signal.SIGKILL)
            raise AssertionError(f"no {text!r} in {log} after {seconds:g} s")
        time.sleep(0.05)


def wait_until_gone(group: int) -> None:
    """Waits until a process group is empty; fails after 10 s."""
    for _ in range(200):
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return
        time.sleep(0.05)
    os.killpg(group, signal.SIGKILL)
    raise AssertionError("processes of the loader are left")
