"""Drills that stop one process: SIGKILL while it trains or saves, and the signals it handles."""
from __future__ import annotations

import multiprocessing
import signal
import time
from pathlib import Path
from typing import Any

import torch

from network.checkpoints import weights
from tools.maintainer.fault_drill.site import BrokenPromise, DrillSite
from utils.training import checkpoint

# numbers in the checkpoint whose saving is interrupted: 16 MB take long enough to be hit
PAYLOAD_SIZE = 4_000_000


def killed_at_random_steps(site: DrillSite) -> str:
    """Kills one run again and again; it must end with the weights of an undisturbed one."""
    exp = "killed"
    step, flags = 0, site.flags(exp)
    longest_gap = max(1, 2 * site.steps // site.times - 2)
    gaps = [site.rng.randint(1, longest_gap) for _ in range(site.times)]
    lost_steps = []
    for gap in gaps:
        process = site.start(flags)
        step = min(step + gap, site.steps - 1)
        site.wait_for_step(process, exp, step)
        process.kill()
        site.wait(process, -signal.SIGKILL)
        reached = site.logged_step(exp)
        if (site.folder / exp / "args.json").is_file():
            flags = site.resume_flags(exp)
        state = checkpoint.newest(site.folder / exp, weights.read)
        step = state["step"] if state else 0
        lost_steps.append(reached - step)
    site.run(flags)
    comparison = site.compare_with_undisturbed(exp)
    return f"{comparison}; at most {max(lost_steps)} steps were repeated"


def killed_in_an_epoch(site: DrillSite) -> str:
    """Kills a run in its second epoch; the resumed one must take the rest of that epoch's plan."""
    exp = "epoch"
    site.kill_at(exp, 4)
    state = checkpoint.newest(site.folder / exp, weights.read)
    if state is None or (state["sampler"]["epoch"], state["sampler"]["step"]) != (1, 1):
        raise BrokenPromise("the newest checkpoint is not one of the middle of epoch 2")
    output = site.run(site.resume_flags(exp))
    if f"going on from step {state['step']}" not in output:
        raise BrokenPromise(f"the run did not go on:\n{output}")
    return f"resumed from step 2 of 2 of epoch 2; {site.compare_with_undisturbed(exp)}"


def killed_while_saving(site: DrillSite) -> str:
    """Kills a process that keeps saving; a complete checkpoint must be left each time."""
    folder = site.folder / "saves"
    payload = {"weights": torch.arange(float(PAYLOAD_SIZE)), "step": 0}
    checkpoint.save(folder, payload, 0, 2)
    torn_files = 0
    for _ in range(2 * site.times):
        newest = checkpoint.saved(folder)[0]
        process = multiprocessing.get_context("fork").Process(target=_save_forever,
                                                              args=(folder, newest, payload))
        process.start()
        while not list((folder / "checkpoints").glob("*.tmp")):
            time.sleep(0.0005)
        time.sleep(site.rng.uniform(0, 0.06))
        process.kill()
        process.join()
        if list((folder / "checkpoints").glob("*.tmp")):
            torn_files += 1
        state = checkpoint.newest(folder, weights.read)
        if state is None or not torch.equal(state["weights"], payload["weights"] + state["step"]):
            raise BrokenPromise("no complete checkpoint is left")
    kills = 2 * site.times
    return f"a complete checkpoint each time ({torn_files} of {kills} kills left a torn file too)"


def _save_forever(folder: Path, newest: Path, payload: dict[str, Any]) -> None:
    torch.set_num_threads(1)
    step = int(newest.stem.removeprefix("step_"))
    while True:
        step += 1
        checkpoint.save(folder, {"weights": payload["weights"] + step, "step": step}, step, 2)


def stopped_by_signals(site: DrillSite) -> str:
    """Sends the signals that a run handles; it must save, exit with 128 + number, and resume."""
    exp, codes = "signals", []
    flags = site.flags(exp)
    for number, step in ((signal.SIGINT, 2), (signal.SIGTERM, 4), (signal.SIGUSR1, 6)):
        process = site.start(flags)
        site.wait_for_step(process, exp, step)
        process.send_signal(number)
        site.wait(process, 128 + number)
        codes.append(str(128 + number))
        flags = site.resume_flags(exp)
    site.run(flags)
    return f"exit codes {', '.join(codes)}; {site.compare_with_undisturbed(exp)}"
