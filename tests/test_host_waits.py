"""Between two logged steps the host never waits for the GPU: the whole loop of `train.py` runs on
simulated CUDA tensors, which count the waits. The backward pass, which they lack, is replaced.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import train
from tests.simulated_cuda import SimulatedCuda, simulated_cuda
from tools.make_streets import __main__ as make_streets
from utils import batches, precision
from utils.training import recovery, run_folder
from utils.training.signals import Interrupts

CUDA = torch.device("cuda", 0)
STEPS = 3
# by a copy of such a tensor
pytestmark = pytest.mark.filterwarnings("ignore:Accessing the data pointer of FakeTensor")


class Logged(Exception):
    """The loop has reached the log line, where the losses are read."""


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("scenes")
    make_streets.main(
        ["--out", str(root), "--train", "4", "--val", "1", "--size", "64x128", "--workers", "1"]
    )
    return root


@pytest.fixture
def flags(scenes: Path, tmp_path: Path) -> list[str]:
    """Every part of a step: micro-batches, OHEM, auxiliary heads, augmentation on the device,
    clipping, a moving average."""
    return [
        "--arch", "sfnet_lite_dfnetv1", "--pretrained", "none", "--data_root", str(scenes),
        "--ckpt", str(tmp_path), "--exp", "run", "--crop_size", "64", "--bs_mult", "2",
        "--accumulate", "2", "--max_iters", str(STEPS), "--log_every", str(STEPS),
        "--num_workers", "0", "--val_split", "none", "--ohem", "--fpn_dsn_loss",
        "--color_aug", "0.25", "--gblur", "--augment_on", "device", "--clip_grad", "1",
        "--ema_decay", "0.99",
    ]


@pytest.fixture
def cuda(monkeypatch: pytest.MonkeyPatch) -> Iterator[SimulatedCuda]:
    monkeypatch.setattr(precision, "default_device", lambda: CUDA)
    monkeypatch.setattr(run_folder, "environment", lambda *args: {})
    # a stream of its own needs a driver
    monkeypatch.setattr(batches, "ahead_on_device", lambda loader, device: iter(loader))
    with simulated_cuda() as simulated:
        yield simulated


def gradients_of_zeros(net: nn.Module) -> Callable[..., None]:
    def backward(total: torch.Tensor) -> None:
        assert total.device == CUDA and total.requires_grad
        for parameter in net.parameters():
            parameter.grad = torch.zeros_like(parameter)

    return backward


def waits_of_the_loop(
    cuda: SimulatedCuda, flags: list[str], monkeypatch: pytest.MonkeyPatch
) -> list[str]:
    """Runs the loop up to its log line; returns the waits of all steps."""
    training = train.Training(train.parse(flags))
    training.interrupts = Interrupts()
    monkeypatch.setattr(torch.Tensor, "backward", gradients_of_zeros(training.net))
    steps: list[int] = []

    def log(window: Any, *args: Any) -> None:
        steps.extend(number for number, _ in window.steps)
        raise Logged

    monkeypatch.setattr(recovery, "finite_means", log)
    cuda.waits.clear()
    with pytest.raises(Logged):
        training.train()
    training.close()
    assert steps == list(range(1, STEPS + 1))
    return cuda.waits


@pytest.mark.parametrize("more", [
    ["--precision", "bf16"],
    ["--precision", "fp32", "--adamw", "--recompute"],
    ["--precision", "bf16", "--jointwtborder", "--no_ohem", "--dice_weight", "0.5",
     "--lovasz_weight", "0.5"],
], ids=["ohem", "recomputed", "relaxed"])
def test_no_step_waits_for_the_gpu(
    cuda: SimulatedCuda, flags: list[str], more: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert waits_of_the_loop(cuda, [*flags, *more], monkeypatch) == []


def test_fp16_reads_one_number_a_step(
    cuda: SimulatedCuda, flags: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # torch's gradient scaler reads whether the gradient is finite, before it lets the optimizer
    # take the step
    found = waits_of_the_loop(cuda, [*flags, "--precision", "fp16"], monkeypatch)
    assert found == ["aten._local_scalar_dense.default"] * STEPS


def test_skipping_bad_steps_reads_one_number_a_step(
    cuda: SimulatedCuda, flags: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # as the help text of --on_nan says
    more = ["--precision", "bf16", "--on_nan", "skip"]
    found = waits_of_the_loop(cuda, [*flags, *more], monkeypatch)
    assert found == ["aten._local_scalar_dense.default"] * STEPS


def test_a_wait_in_the_step_is_found(
    cuda: SimulatedCuda, flags: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # two copies of numbers to the device in each micro-batch, as `torch.tensor` makes them
    monkeypatch.setattr(batches, "_levels", lambda values, device: torch.tensor(
        values, device=device).mul(255).view(1, 3, 1, 1))
    found = waits_of_the_loop(cuda, [*flags, "--precision", "bf16"], monkeypatch)
    assert found == ["aten._to_copy.default"] * (2 * 2 * STEPS)


def test_levels_are_those_of_the_numbers_themselves() -> None:
    values = (0.485, 0.456, 0.406)
    expected = torch.tensor(values).mul(255).view(1, 3, 1, 1)
    assert torch.equal(batches._levels(values, torch.device("cpu")), expected)
