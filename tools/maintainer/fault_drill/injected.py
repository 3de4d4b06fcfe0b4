"""train.py with a fault in rank 1: python injected.py FAULT STEP FLAGS. Only the first attempt has
it: processes that torchrun starts again run as usual.
"""
from __future__ import annotations

import os
import signal
import socket
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))

import train
from utils import distributed
from utils.training import checkpoint


def die_in_save(step: int) -> None:
    """Kills rank 1 when it has given its part of the checkpoint of a step, before rank 0 has
    written the file.
    """
    state_of = checkpoint.Checkpoints.state

    def state_then_die(self: checkpoint.Checkpoints, progress: Any) -> dict[str, Any]:
        state = state_of(self, progress)
        if distributed.rank() == 1 and progress.step == step:
            os.kill(os.getpid(), signal.SIGKILL)
        return state

    checkpoint.Checkpoints.state = state_then_die  # type: ignore[method-assign]


def fail_all_reduce(step: int) -> None:
    """Cuts the connections of rank 1 in a step: the all-reduce of its gradients fails on both."""
    train_step = train.Training.train_step

    def cut_off(self: train.Training, batch: Any, want_norm: bool = False) -> Any:
        if distributed.rank() == 1 and self.progress.step == step - 1:
            _cut_connections()
        return train_step(self, batch, want_norm)

    train.Training.train_step = cut_off  # type: ignore[method-assign]


def _cut_connections() -> None:
    """Shuts down every internet connection of this process."""
    for path in Path("/proc/self/fd").iterdir():
        # a file that is no socket, or one that was closed in the meantime
        with suppress(OSError), socket.socket(fileno=os.dup(int(path.name))) as connection:
            if connection.family in (socket.AF_INET, socket.AF_INET6):
                connection.shutdown(socket.SHUT_RDWR)


FAULTS: dict[str, Callable[[int], None]] = {"die_in_save": die_in_save,
                                            "fail_all_reduce": fail_all_reduce}


def main(name: str, step: int, flags: list[str]) -> int:
    if os.environ.get("TORCHELASTIC_RESTART_COUNT", "0") == "0":
        FAULTS[name](step)
    return train.main(flags)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], int(sys.argv[2]), sys.argv[3:]))
