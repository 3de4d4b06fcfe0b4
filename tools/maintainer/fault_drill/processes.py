"""Drills with two processes on one host, of which one fails."""
from __future__ import annotations

import os
import re
import shutil
import signal
import time
from pathlib import Path

from tools.maintainer.fault_drill.site import BrokenPromise, DrillSite

INJECTED = Path(__file__).with_name("injected.py")


def worker_dies(site: DrillSite) -> str:
    """Kills one of two processes under torchrun; both must be started again and go on."""
    exp = "worker"
    site.undisturbed(2)
    process = site.start(site.flags(exp), processes=2, restarts=1)
    site.wait_for_step(process, exp, 5)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    os.kill(max(map(int, children)), signal.SIGKILL)
    output = site.wait(process, 0)
    if "going on from step" not in output:
        raise BrokenPromise(f"the run did not go on:\n{output}")
    comparison = site.compare_with_undisturbed(exp, 2)
    return f"torchrun started both again, and they resumed; {comparison}"


def worker_dies_in_a_save(site: DrillSite) -> str:
    """Kills rank 1 between its part of a checkpoint and rank 0's file; both must go on."""
    return _with_fault(site, "die_in_save", 6)


def all_reduce_fails(site: DrillSite) -> str:
    """Cuts the connections between two processes in a step; both must end, and go on."""
    return _with_fault(site, "fail_all_reduce", 5)


def _with_fault(site: DrillSite, fault: str, step: int) -> str:
    """Runs two processes under torchrun, of which rank 1 has a fault at a step, counted from 1.

    Returns:
        From which step they went on.
    """
    site.undisturbed(2)
    program = [str(INJECTED), fault, str(step)]
    output = site.run(site.flags(fault), processes=2, restarts=1, program=program)
    steps = re.findall(r"going on from step (\d+)", output)
    if not steps:
        raise BrokenPromise(f"the run did not go on:\n{output}")
    return (f"torchrun started both again, and they went on from step {steps[-1]}; "
            f"{site.compare_with_undisturbed(fault, 2)}")


def process_raises(site: DrillSite) -> str:
    """Damages an image that only one of two processes reads; both must end and name it."""
    data = site.folder / "data_broken"
    shutil.copytree(site.folder / "data", data)
    broken = sorted(data.glob("leftImg8bit/train/*/*.png"))[3]
    broken.write_bytes(broken.read_bytes()[:-200])
    flags = [str(data) if word == str(site.folder / "data") else word
             for word in site.flags("raises")]
    start = time.monotonic()
    output = site.run(flags, code=None, processes=2)
    if broken.name not in output:
        raise BrokenPromise(f"the image is not named:\n{output}")
    seconds = time.monotonic() - start
    return f"both ended with an error that names the file, {seconds:.0f} s after the start"
