"""A drill with two versions of torch: each goes on with a run that the other has begun."""
from __future__ import annotations

import signal
import subprocess
import sys

from tools.maintainer.fault_drill.site import BrokenPromise, DrillSite, SkippedDrill
from utils.training import checkpoint


def other_torch(site: DrillSite) -> str:
    """Begins a run with another torch, goes on with this one, and with the other again.

    The versions may differ in the last bits, so the weights are not compared.
    """
    if site.other_python is None:
        raise SkippedDrill("it needs an interpreter with another torch: --other_python PYTHON")
    other, this = (torch_version(python) for python in (site.other_python, sys.executable))
    if other == this:
        raise SkippedDrill(f"{site.other_python} has torch {other} too")
    exp = "versions"
    for python, flags, step in ((site.other_python, site.flags(exp), 4),
                                (sys.executable, site.resume_flags(exp), 8)):
        process = site.start(flags, python=python)
        site.wait_for_step(process, exp, step)
        process.send_signal(signal.SIGTERM)
        site.wait(process, 128 + signal.SIGTERM)
    before = checkpoint.saved(site.folder / exp)[0]
    output = site.run(site.resume_flags(exp), python=site.other_python)
    if f"going on from step {checkpoint.step_of(before)}" not in output:
        raise BrokenPromise(f"torch {other} did not go on from {before.name}:\n{output}")
    site.check_log(exp)
    return f"from torch {other} to {this} and back: each step logged once"


def torch_version(python: str) -> str:
    """Returns the version of an interpreter's torch. Raises SkippedDrill if it has none."""
    words = [python, "-c", "import torch; print(torch.__version__)"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SkippedDrill(f"{python} cannot import torch: {done.stderr.strip()[-200:]}")
    return done.stdout.strip()
