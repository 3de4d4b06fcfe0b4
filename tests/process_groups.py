"""Waiting for programs that tests start in a process group of their own."""
from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path


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
