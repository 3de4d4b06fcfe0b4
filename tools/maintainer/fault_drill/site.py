"""The environment of drills: street scenes, runs of train.py on them, and an undisturbed run."""
from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch

from network.checkpoints import weights
from tools.make_streets.writing import make_streets
from utils.files import ROOT

# longest wait for a process, in seconds
PATIENCE = 300.0
TRAIN_FLAGS = ("--arch", "sfnet_dfnetv1", "--pretrained", "none", "--crop_size", "64",
               "--global_batch", "4", "--num_workers", "0", "--precision", "fp32",
               "--log_every", "1", "--val_split", "none", "--ema_decay", "0.9")


class SkippedDrill(Exception):
    """This machine cannot run the drill; the message says why."""


class BrokenPromise(Exception):
    """A run did not recover as documented."""


class DrillSite:
    """A folder with street scenes, and the commands that train on them.

    Args:
        steps: steps of each run.
        times: number of repetitions, in drills that repeat a fault.
        seed: seed of the random moments at which something breaks.
        chaos: the folder that holds ckpt-chaos, if there is one.
        points: file events at which ckpt-chaos kills a run, of all kinds together.
        other_python: an interpreter with another torch, if there is one.
    """

    def __init__(self, folder: Path, steps: int, times: int, seed: int, *,
                 chaos: Path | None = None, points: int = 1000,
                 other_python: str | None = None) -> None:
        self.chaos = chaos
        self.points = points
        self.other_python = other_python
        self.folder = folder
        self.steps = steps
        self.times = times
        self.rng = random.Random(seed)
        # number of processes -> the last checkpoint of an undisturbed run
        self._undisturbed: dict[int, dict[str, Any]] = {}
        make_streets(folder / "data", {"train": 8, "val": 1}, (64, 128), seed=0, workers=1)

    def flags(self, exp: str) -> list[str]:
        """Returns the flags that begin a run."""
        return [*TRAIN_FLAGS, "--data_root", str(self.folder / "data"), "--ckpt", str(self.folder),
                "--exp", exp, "--max_iters", str(self.steps), "--checkpoint_every", "3"]

    def resume_flags(self, exp: str) -> list[str]:
        """Returns the flags that resume a run."""
        return ["--resume", str(self.folder / exp)]

    def start(self, flags: Sequence[str], *, processes: int = 1, restarts: int = 0,
              prefix: Sequence[str] = (), program: Sequence[str] | None = None,
              python: str = sys.executable, **options: Any) -> subprocess.Popen[str]:
        """Starts train.py with these flags, under torchrun if there are several processes.

        Args:
            restarts: how often torchrun may start the processes again.
            prefix: words before the Python interpreter.
            program: another program in place of train.py.
            python: the interpreter.
            options: further arguments of `subprocess.Popen`.
        """
        if program is None:
            program = [str(ROOT / "train.py")]
        if processes > 1:
            program = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node",
                       str(processes), "--max_restarts", str(restarts), *program]
        # A shell in the background starts its children with SIGINT ignored. A run must not
        # inherit that.
        settings = {"stdout": subprocess.PIPE, "preexec_fn": _restore_interrupts, **options}
        return subprocess.Popen([*prefix, python, *program, *flags],
                                stderr=subprocess.STDOUT, text=True,
                                env={**os.environ, "OMP_NUM_THREADS": "1"}, **settings)

    def run(self, flags: Sequence[str], code: int | None = 0, **options: Any) -> str:
        """Runs train.py to its end and returns its output. Raises BrokenPromise as `wait` does."""
        return self.wait(self.start(flags, **options), code)

    def wait(self, process: subprocess.Popen[str], code: int | None) -> str:
        """Waits for a process to end and returns its output.

        Args:
            code: the expected exit code; None expects any but 0.

        Raises:
            BrokenPromise: the process hangs, or ends with another exit code.
        """
        try:
            output, _ = process.communicate(timeout=PATIENCE)
        except subprocess.TimeoutExpired as error:
            process.kill()
            raise BrokenPromise(f"the run still hangs after {PATIENCE:.0f} s") from error
        is_expected = process.returncode == code
        if code is None:
            is_expected = process.returncode != 0
        if not is_expected:
            expected = "an error" if code is None else code
            raise BrokenPromise(f"exit code {process.returncode} instead of {expected}:\n{output}")
        return output

    def logged_step(self, exp: str) -> int:
        """Returns the last step that a run has logged."""
        path = self.folder / exp / "metrics.jsonl"
        lines = path.read_text().splitlines() if path.is_file() else []
        with suppress(json.JSONDecodeError, IndexError):
            return int(json.loads(lines[-1])["step"])
        return 0

    def wait_for_step(self, process: subprocess.Popen[str], exp: str, step: int) -> None:
        """Waits until a run has logged a step. Raises BrokenPromise if it never does."""
        deadline = time.monotonic() + PATIENCE
        while self.logged_step(exp) < step:
            if process.poll() is not None or time.monotonic() > deadline:
                output = self.wait(process, process.poll())
                raise BrokenPromise(f"the run never reached step {step}:\n{output}")
            time.sleep(0.01)

    def kill_at(self, exp: str, step: int) -> None:
        """Starts a run, and kills it when it has logged a step."""
        process = self.start(self.flags(exp))
        self.wait_for_step(process, exp, step)
        process.kill()
        self.wait(process, -signal.SIGKILL)

    def undisturbed(self, processes: int = 1) -> dict[str, Any]:
        """Returns the last checkpoint of a run that nothing disturbs."""
        if processes not in self._undisturbed:
            exp = f"undisturbed_{processes}"
            self.run(self.flags(exp), processes=processes)
            self._undisturbed[processes] = weights.read(self.folder / exp / "last.pth")
        return self._undisturbed[processes]

    def compare_with_undisturbed(self, exp: str, processes: int = 1) -> str:
        """Compares the final weights and averages of a run with the undisturbed run's, bit by bit.

        Returns:
            A phrase that says that they are equal.

        Raises:
            BrokenPromise: a tensor differs, or a step is missing from the log or logged twice.
        """
        expected = self.undisturbed(processes)
        actual = weights.read(self.folder / exp / "last.pth")
        for part in ("state_dict", "ema"):
            different = [key for key, tensor in expected[part].items()
                         if not torch.equal(tensor, actual[part][key])]
            if different:
                raise BrokenPromise(f"{len(different)} tensors of {part} differ, {different[0]} "
                                    "among them")
        self.check_log(exp)
        return "final weights bit-identical, each step logged once"

    def check_log(self, exp: str) -> None:
        """Raises BrokenPromise if a step is missing from the log of a run or logged twice."""
        lines = (self.folder / exp / "metrics.jsonl").read_text().splitlines()
        logged = [json.loads(line)["step"] for line in lines]
        if logged != list(range(1, self.steps + 1)):
            raise BrokenPromise(f"metrics.jsonl has steps {logged}")


def _restore_interrupts() -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)
