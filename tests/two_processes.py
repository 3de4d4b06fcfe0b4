"""What one process does in `test_two_processes.py`: python tests/two_processes.py FOLDER -- FLAGS.

Several checks share one start of the processes, which takes longer than all of them. Each leaves
its findings in FOLDER/found_<rank>.pt.
"""

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import torch
from torch import nn

import network
import train
from utils import batches, distributed, sync_bn
from utils.training.signals import Interrupted, Interrupts

# of the runs in float64, in which nothing can be evaluated
WIDE = ["--lr", "1e-3", "--val_split", "none"]
STEPS_AFTER_THE_SIGNAL = 5


def synchronized_norm() -> dict[str, Any]:
    """The process's half of a batch through the layer, forwards and backwards."""
    torch.manual_seed(0)
    images, towards = torch.randn(5, 3, 4, 4) * 3 + 7, torch.randn(5, 3, 4, 4)
    half = slice(0, 2) if distributed.rank() == 0 else slice(2, 5)  # uneven on purpose
    net = sync_bn.convert(nn.Sequential(nn.BatchNorm2d(3)), torch.device("cpu"))
    mine = images[half].clone().requires_grad_()
    outputs = net(mine)
    (outputs * towards[half]).sum().backward()
    return {
        "outputs": outputs.detach(),
        "grad": mine.grad,
        "weight_grad": net[0].weight.grad,
        "state": net.state_dict(),
    }


def agreed_stop() -> int:
    """The check at which this process stops if only rank 1 gets a signal, before check 3."""
    with Interrupts(agreed=True) as interrupts:
        for number in range(10):
            if number == 3 and distributed.rank() == 1:
                os.kill(os.getpid(), signal.SIGUSR1)
            try:
                interrupts.check()
            except Interrupted:
                return number
    return -1


@contextmanager
def comparable(double: bool = False) -> Iterator[None]:
    """Networks without dropout, which differs between one and two processes; perhaps in float64."""
    build, prepare = network.build, batches.prepare

    def without_dropout(*args: Any, **options: Any) -> nn.Module:
        net = build(*args, **options)
        for module in net.modules():
            if isinstance(module, nn.Dropout | nn.Dropout2d):
                module.p = 0.0
        return net.double() if double else net

    def prepared(*args: Any, **options: Any) -> dict[str, Any]:
        batch = prepare(*args, **options)
        return {**batch, "image": batch["image"].double()} if double else batch

    network.build, batches.prepare = without_dropout, prepared
    try:
        yield
    finally:
        network.build, batches.prepare = build, prepare


def taken(flags: list[str]) -> str:
    """The error of a new run in the folder of another one, which the host of rank 1 lacks."""
    folder = flags[flags.index("--ckpt") + 1]
    if distributed.rank() == 1:
        folder = f"{folder}_of_the_other_host"
    try:
        train.Training(train.parse([*flags, "--ckpt", folder, "--exp", "whole"]))
    except FileExistsError as error:
        return str(error)
    return ""


def difference() -> str:
    try:
        distributed.check_same({"lr": 0.1 * (1 + distributed.rank()), "seed": 0})
    except ValueError as error:
        return str(error)
    return ""


def interrupted_run(flags: list[str]) -> list[int]:
    """A run that one process's signal stops, and that goes on."""
    train_step = train.Training.train_step

    def interrupted_step(self: train.Training, batch: dict[str, Any], want_norm: bool) -> Any:
        if self.progress.step == STEPS_AFTER_THE_SIGNAL and distributed.rank() == 1:
            os.kill(os.getpid(), signal.SIGTERM)
        return train_step(self, batch, want_norm)

    train.Training.train_step = interrupted_step
    first = train.run(train.parse([*flags, "--exp", "stopped"]))
    train.Training.train_step = train_step
    folder = flags[flags.index("--ckpt") + 1]
    return [first, train.run(train.parse(["--resume", f"{folder}/stopped"]))]


def main() -> None:
    folder, flags = Path(sys.argv[1]), sys.argv[3:]
    distributed.start()
    found = {"norm": synchronized_norm(), "stop": agreed_stop(), "difference": difference()}
    found["codes"] = []
    for exp, double, more in (("two", False, ["--lr", "1e-5"]), ("two_wide", True, WIDE)):
        with comparable(double):
            found["codes"].append(train.run(train.parse([*flags, "--exp", exp, *more])))
    found["codes"].append(train.run(train.parse([*flags, "--exp", "whole"])))
    found["taken"] = taken(flags)
    found["codes"] += interrupted_run(flags)
    distributed.stop()
    torch.save(found, folder / f"found_{os.environ['RANK']}.pt")


if __name__ == "__main__":
    main()
