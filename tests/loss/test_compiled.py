"""Compiled criteria give what eager ones give; so do logits of half precision under autocast, and GPUs."""
from __future__ import annotations

import copy
import shutil

import pytest
import torch
from torch import Tensor, nn

import loss

CRITERIA = [loss.CrossEntropy(), loss.CrossEntropy(class_weights=[1.0, 2.0, 0.5], label_smoothing=0.1),
            loss.OhemCrossEntropy(0.7, 50), loss.OhemCrossEntropy(0.7, 0.5), loss.FocalLoss(),
            loss.ImageWeightedCrossEntropy(), loss.RelaxedCrossEntropy(), loss.DiceLoss(), loss.LovaszSoftmax(),
            loss.DeepSupervision(loss.OhemCrossEntropy(0.7, 50), 0.4),
            loss.SumOfLosses([loss.JointBodyEdgeLoss(loss.CrossEntropy(), edge_thresh=0.5), loss.DiceLoss()])]
all_criteria = pytest.mark.parametrize("criterion", CRITERIA, ids=lambda criterion: type(criterion).__name__)


def case(size: int) -> tuple[dict[str, Tensor], Tensor]:
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(0, 3, (2, 16, 16), generator=generator)
    labels[:, :3] = 255
    channels = {"main": 3, "aux0": 3, "body": 3, "edge": 1}
    outputs = {name: torch.randn(2, count, size, size, generator=generator).requires_grad_()
               for name, count in channels.items()}
    return outputs, labels


def passed(criterion: nn.Module, outputs: dict[str, Tensor], labels: Tensor) -> list[Tensor]:
    total = sum(criterion(outputs, labels).values())
    return [total, torch.autograd.grad(total, outputs["main"])[0]]


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("c++") is None and shutil.which("g++") is None, reason="needs a C++ compiler")
@pytest.mark.parametrize("size", [16, 4], ids=["at label size", "raised"])
@all_criteria
def test_compiled_it_equals_eager(criterion: nn.Module, size: int) -> None:
    torch._dynamo.reset()
    outputs, labels = case(size)
    for found, expected in zip(passed(torch.compile(criterion), outputs, labels), passed(criterion, outputs, labels),
                               strict=True):
        torch.testing.assert_close(found, expected)


@all_criteria
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("size", [16, 4], ids=["at label size", "raised"])
def test_half_logits_are_summed_up_in_float32(criterion: nn.Module, dtype: torch.dtype, size: int) -> None:
    outputs, labels = case(size)
    half = {name: each.detach().to(dtype).requires_grad_() for name, each in outputs.items()}
    full = {name: each.detach().float().requires_grad_() for name, each in half.items()}
    with torch.autocast("cpu", dtype=dtype):
        found = passed(criterion, half, labels)
    expected = passed(criterion, full, labels)
    assert found[0].dtype == torch.float32
    torch.testing.assert_close(found[0], expected[0], rtol=1e-5, atol=1e-6)
    digit = 2 ** -8 * expected[1].abs().max().item()        # terms' gradients are added up in the logits' precision
    torch.testing.assert_close(found[1].float(), expected[1], rtol=1e-2, atol=digit)


@pytest.mark.gpu
@pytest.mark.parametrize("size", [16, 4], ids=["at label size", "raised"])
@all_criteria
def test_a_gpu_gives_the_same_and_never_waits_for_a_value(criterion: nn.Module, size: int) -> None:
    outputs, labels = case(size)
    expected = passed(criterion, outputs, labels)
    there = {name: each.detach().cuda().requires_grad_() for name, each in outputs.items()}, labels.cuda()
    criterion = copy.deepcopy(criterion).cuda()
    passed(criterion, *there)                               # what is set up once may wait
    torch.cuda.set_sync_debug_mode("error")
    try:
        found = passed(criterion, *there)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    for own, wanted in zip(found, expected, strict=True):
        torch.testing.assert_close(own.cpu(), wanted, rtol=1e-4, atol=1e-6)
