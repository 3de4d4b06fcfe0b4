"""Drills with damaged checkpoints and a full disk."""
from __future__ import annotations

import os
import resource

from tools.maintainer.fault_drill.site import BrokenPromise, DrillSite
from utils.training import checkpoint


def truncated_checkpoint(site: DrillSite) -> str:
    """Cuts the newest checkpoint in half; the run must report it and go on from the one before."""
    exp = "truncated"
    site.kill_at(exp, 7)
    newest, *older = checkpoint.saved(site.folder / exp)
    if not older:
        raise BrokenPromise("there is only one checkpoint")
    os.truncate(newest, newest.stat().st_size // 2)
    output = site.run(site.resume_flags(exp))
    step = older[0].stem.removeprefix("step_")
    if f"{newest.name} is damaged" not in output or f"going on from step {step}" not in output:
        raise BrokenPromise(f"the damage was not reported:\n{output}")
    return f"reported, and resumed from the one before; {site.compare_with_undisturbed(exp)}"


def full_disk(site: DrillSite) -> str:
    """Limits the size of files; the run must report it and keep the previous checkpoint."""
    exp = "full"
    site.kill_at(exp, 4)
    before = checkpoint.saved(site.folder / exp)[0]
    limit = before.stat().st_size // 2

    def limit_file_size() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))

    output = site.run(site.resume_flags(exp), code=2, preexec_fn=limit_file_size)
    if "could not be written" not in output or checkpoint.saved(site.folder / exp)[0] != before:
        raise BrokenPromise(f"the previous checkpoint is gone, or nothing was reported:\n{output}")
    site.run(site.resume_flags(exp))
    comparison = site.compare_with_undisturbed(exp)
    return f"reported with exit code 2, and the previous checkpoint is kept; {comparison}"
