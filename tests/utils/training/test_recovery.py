"""One step of the optimizer: parts that add up, steps that are left out; and what surrounds it."""
from __future__ import annotations

import logging
from typing import Any

import pytest
import torch
from torch import nn
from torch.optim.lr_scheduler import LambdaLR

import loss
from utils import cli, distributed
from utils.training import batching
from utils.training.intervals import Intervals
from utils.training.recompute import recompute
from utils.training.recovery import SKIPS, NotFinite, Stepper, first_not_finite

CPU = torch.device("cpu")


class Net(nn.Module):
    """A pixel classifier; it takes `upsample` as the networks do."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.backbone = nn.ModuleDict({"stage": nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4),
                                                              nn.ReLU(inplace=True))})
        self.head = nn.Conv2d(4, 2, 1)

    def forward(self, images: torch.Tensor, upsample: bool = True) -> dict[str, torch.Tensor]:
        return {"main": self.head(self.backbone["stage"](images))}


class Mean(nn.Module):
    """Cross entropy over the pixels that are not 255, as the criteria here say it."""

    def forward(self, outputs: dict[str, torch.Tensor], labels: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"main": nn.functional.cross_entropy(outputs["main"], labels, ignore_index=255)}

    def normalizers(self, labels: torch.Tensor) -> dict[str, torch.Tensor | None]:
        return {"main": (labels != 255).sum().float()}


def batch() -> dict[str, Any]:
    """Four images, of which the first two have few pixels with a label."""
    torch.manual_seed(1)
    labels = torch.randint(0, 2, (4, 6, 6))
    labels[:2, 1:] = 255
    return {"image": torch.randn(4, 3, 6, 6), "label": labels, "name": list("abcd")}


def stepper(net: nn.Module, **how: Any) -> Stepper:
    rule = torch.optim.SGD(net.parameters(), lr=0.1)
    return Stepper(net, net, Mean(), rule, LambdaLR(rule, lambda step: 1.0), dict, device=CPU, precision="fp32", **how)


def weights(net: nn.Module) -> torch.Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in net.parameters()])


@pytest.mark.parametrize(("norm", "same"), [("global", True), ("rank", False)])
def test_accumulated_parts_take_the_step_of_the_whole_batch(norm: str, same: bool) -> None:
    whole, parts = Net().eval(), Net().eval()
    whole.train = parts.train = lambda mode=True: None      # batch statistics would differ between parts
    one = stepper(whole).step(batch(), 0)
    two = stepper(parts, accumulate=2, loss_norm=norm).step(batch(), 0)
    assert torch.allclose(one["main"], two["main"], rtol=1e-5) is same
    assert torch.allclose(weights(whole), weights(parts), rtol=1e-5, atol=1e-7) is same


def test_a_term_that_has_no_mean_over_the_step_is_averaged_over_its_parts_and_named(
        caplog: pytest.LogCaptureFixture) -> None:
    net = Net().eval()
    net.train = lambda mode=True: None                      # batch statistics would differ between parts
    steps, parts = stepper(net, accumulate=2), [{key: each[i:i + 2] for key, each in batch().items()} for i in (0, 2)]
    steps.criterion = loss.SumOfLosses([loss.CrossEntropy(), loss.DiceLoss()])
    outputs = net(batch()["image"])
    alone = [steps.criterion(net(part["image"]), part["label"])["dice"].item() for part in parts]
    with caplog.at_level(logging.INFO):
        found = steps.step(batch(), 0)
        steps.step(batch(), 1)
    assert found["dice"].item() == pytest.approx(sum(alone) / 2)
    assert found["main"].item() == pytest.approx(Mean()(outputs, batch()["label"])["main"].item())
    assert caplog.text.count("--loss_norm global does not reach dice: averaged over passes") == 1


def test_a_step_that_is_not_finite_can_be_left_out(caplog: pytest.LogCaptureFixture) -> None:
    net = Net()
    steps, bad = stepper(net, on_nan="skip"), batch()
    steps.step(batch(), 0)
    before, statistics = weights(net), net.backbone["stage"][1].running_mean.clone()
    bad["image"][2, 0, 0, 0] = float("nan")
    with caplog.at_level(logging.WARNING):
        assert steps.step(bad, 1) is None
    assert "step 2 left out: its gradient is not finite (images a, b, c, d)" in caplog.text
    assert torch.equal(weights(net), before)
    assert torch.equal(net.backbone["stage"][1].running_mean, statistics)
    assert steps.step(batch(), 2) is not None


def test_a_run_that_only_leaves_steps_out_stops() -> None:
    steps, bad = stepper(Net(), on_nan="skip"), batch()
    bad["image"][:] = float("inf")
    steps.step(batch(), 0)
    for number in range(SKIPS - 1):
        assert steps.step(bad, number) is None
    with pytest.raises(NotFinite, match=r"lower --lr"):
        steps.step(bad, SKIPS)


def test_nonsense_is_found_in_losses_and_in_weights() -> None:
    net = Net()
    steps = [(5, {"main": 1.0}), (6, {"main": float("nan")}), (7, {"main": float("nan")})]
    assert first_not_finite(steps, net) == 6
    assert first_not_finite(steps[:1], net) is None
    with torch.no_grad():
        net.head.bias[0] = float("inf")
    assert first_not_finite(steps[:1], net) == 5


def test_recomputing_changes_no_number() -> None:
    plain, again = Net(), Net()
    assert recompute(again.backbone) == 1
    for net in (plain, again):
        for number in range(2):
            stepper(net).step(batch(), number)
    for one, other in zip(plain.state_dict().values(), again.state_dict().values(), strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize(("processes", "bs_mult", "accumulate", "global_batch", "expected"), [
    (1, None, None, None, (2, 2, 1)), (4, 3, 2, None, (24, 3, 2)),
    (1, None, None, 16, (16, 16, 1)), (8, None, None, 16, (16, 2, 1)), (2, 2, None, 16, (16, 2, 4)),
    (4, None, 2, 16, (16, 2, 2)),
])
def test_a_global_batch_is_shared_out(processes: int, bs_mult: int | None, accumulate: int | None,
                                      global_batch: int | None, expected: tuple[int, int, int]) -> None:
    found = batching.batching(processes, bs_mult, accumulate, global_batch)
    assert (found.global_batch, found.bs_mult, found.accumulate) == expected


def test_other_processes_go_on_with_the_same_global_batch() -> None:
    found = batching.batching(1, bs_mult=4, accumulate=1, global_batch=16, again=True)       # of 4 processes before
    assert (found.bs_mult, found.accumulate) == (4, 4)


@pytest.mark.parametrize(("how", "message"), [
    ((3, None, None, 16), r"16 images cannot be shared by 3 processes: start 1, 2, 4, 8, 16 of them"),
    ((2, 3, None, 16), r"leaves each of 2 process\(es\) 8 images, which --bs_mult 3 and --accumulate 2 do not make"),
])
def test_what_cannot_be_shared_evenly_is_refused(how: tuple[int, int | None, int | None, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        batching.batching(*how)


def test_late_epochs_are_scored_each_and_early_ones_rarely() -> None:
    cadence = Intervals(total_steps=1000, steps_per_epoch=10, eval_epoch=20, eval_every=30, eval_late=0.05, log_every=7,
                      checkpoint_every="25")
    assert [step // 10 for step in range(1001) if cadence.scores(step)] == [20, 50, 80, 96, 97, 98, 99, 100]
    assert [step for step in range(60) if cadence.saves(step)] == [0, 25, 50] and cadence.saves(1000)


def raised(error: BaseException) -> int:
    def work() -> int:
        raise error

    return cli.run_program("train.py", work)


def test_a_full_gpu_is_told_what_to_change(caplog: pytest.LogCaptureFixture) -> None:
    assert raised(torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")) == 1
    assert "CUDA out of memory. Give a GPU less at once: --bs_mult 1 --accumulate N" in caplog.text


def test_a_lost_process_is_told_from_a_mistake(caplog: pytest.LogCaptureFixture) -> None:
    assert raised(RuntimeError("[gloo/transport/tcp/pair.cc:545] Connection reset by peer")) == 3
    assert "another process ended or is silent" in caplog.text
    with pytest.raises(ZeroDivisionError):                  # what nobody expects keeps its traceback
        raised(ZeroDivisionError())


def test_processes_that_cannot_meet_name_the_port(monkeypatch: pytest.MonkeyPatch) -> None:
    import socket
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        for name, value in {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1",
                            "MASTER_PORT": str(taken.getsockname()[1])}.items():
            monkeypatch.setenv(name, value)
        with pytest.raises(OSError, match=r"cannot meet at 127.0.0.1:\d+: another program listens there"):
            distributed.start()


def test_apex_that_is_not_installed_is_told() -> None:
    with pytest.raises(ImportError, match=r"--apex needs NVIDIA Apex.*leave --apex out"):
        distributed.wrap(Net(), CPU, apex=True)
