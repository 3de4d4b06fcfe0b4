"""The contract that every criterion keeps, eager, compiled, in half precision and on a GPU."""
from __future__ import annotations

import copy
import shutil

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import loss
from tests.gpu_waits import waiting_is_an_error
from tests.loss.cases import COMBINED, case, case_of_all_outputs, every_criterion, total
from utils import resizing

every_combination = pytest.mark.parametrize(
    "criterion", COMBINED, ids=lambda criterion: type(criterion).__name__
)
sizes = pytest.mark.parametrize("size", [16, 4], ids=["at label size", "upsampled"])


@every_criterion
@pytest.mark.parametrize("size", [(3, 4), (7, 9)], ids=["at label size", "upsampled"])
def test_the_gradient_is_the_finite_difference(criterion: nn.Module, size: tuple[int, int],
                                               monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resizing, "CHUNK_VALUES", 1)
    logits, labels = case((2, 3, 3, 4), size)
    double = logits.detach().double().requires_grad_()
    assert torch.autograd.gradcheck(lambda values: total(criterion, values, labels), double)


@every_criterion
def test_small_logits_give_the_loss_of_full_size_ones(
    criterion: nn.Module, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resizing, "CHUNK_VALUES", 700)
    logits, labels = case((2, 5, 7, 9), (25, 33))
    result = total(criterion, logits, labels)
    full = F.interpolate(logits, labels.shape[-2:], mode="bilinear", align_corners=True)
    expected = total(criterion, full, labels)
    torch.testing.assert_close(result, expected)
    torch.testing.assert_close(
        torch.autograd.grad(result, logits), torch.autograd.grad(expected, logits)
    )


@every_criterion
def test_an_all_ignored_map_gives_no_loss_and_no_gradient(criterion: nn.Module) -> None:
    logits, labels = case(ignored=1.1)
    result = total(criterion, logits, labels)
    result.backward()
    assert result.item() == 0 and logits.grad.abs().sum() == 0


@every_criterion
@pytest.mark.parametrize("classes", [2, 150])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_single_pixels_huge_logits_and_half_precision_stay_finite(
    criterion: nn.Module, classes: int, dtype: torch.dtype
) -> None:
    logits = (1e4 * torch.randn(1, classes, 1, 1)).to(dtype).requires_grad_()
    result = total(criterion, logits, torch.full((1, 1, 1), classes - 1))
    result.backward()
    assert result.dtype == torch.float32 and result.isfinite() and logits.grad.isfinite().all()


@every_criterion
def test_only_main_is_read(criterion: nn.Module) -> None:
    logits, labels = case()
    assert len(criterion({"main": logits, "aux0": logits}, labels)) == 1


@every_criterion
def test_logits_larger_than_the_labels_are_refused(criterion: nn.Module) -> None:
    logits, labels = case((2, 5, 24, 16), (12, 16))
    with pytest.raises(ValueError, match="are larger than the labels"):
        criterion({"main": logits}, labels)


@every_criterion
def test_another_batch_is_refused(criterion: nn.Module) -> None:
    logits, labels = case()
    with pytest.raises(ValueError, match="do not match"):
        criterion({"main": logits[:1]}, labels)


@every_criterion
@pytest.mark.parametrize("unknown", [5, 7, -1])
def test_a_label_that_is_no_class_is_refused_on_a_cpu(criterion: nn.Module, unknown: int) -> None:
    logits, labels = case()
    labels[1, 3, 4] = unknown
    with pytest.raises(
        ValueError,
        match=f"labels hold {unknown}, neither a class .*0 to 4.* ids that were not mapped",
    ):
        criterion({"main": logits}, labels)


@every_criterion
def test_correct_pixels_with_huge_logits_give_no_loss_and_no_gradient(criterion: nn.Module) -> None:
    _, labels = case(ignored=0.0)
    logits = (1e4 * F.one_hot(labels, 5).movedim(-1, 1).float()).requires_grad_()
    result = total(criterion, logits, labels)
    if not getattr(criterion, "label_smoothing", 0.0):
        result.backward()
        assert result.item() == pytest.approx(0, abs=1e-6) and logits.grad.abs().sum() <= 1e-6


@every_criterion
def test_ignored_pixels_have_no_gradient(criterion: nn.Module) -> None:
    logits, labels = case()
    total(criterion, logits, labels).backward()
    assert (logits.grad.movedim(1, -1)[labels == 255] == 0).all()


@pytest.mark.parametrize(
    "base",
    [
        loss.CrossEntropy(),
        loss.CrossEntropy(class_weights=[1.0, 2.0, 3.0, 4.0, 5.0]),
        loss.CrossEntropy(label_smoothing=0.1),
        loss.FocalLoss(),
        loss.ImageWeightedCrossEntropy(),
        loss.RelaxedCrossEntropy(),
    ],
)
def test_micro_batches_weighted_by_their_normalizers_give_the_whole_batch(
    base: loss.Criterion,
) -> None:
    logits, labels = case((4, 5, 12, 16))
    criterion = loss.DeepSupervision(base)
    whole = criterion({"main": logits}, labels)["main"]
    parts = [
        criterion({"main": logits[share]}, labels[share])["main"]
        * criterion.normalizers(labels[share])["main"]
        for share in (slice(0, 1), slice(1, 4))
    ]
    torch.testing.assert_close(sum(parts) / criterion.normalizers(labels)["main"], whole)


def loss_and_gradient(
    criterion: nn.Module, outputs: dict[str, Tensor], labels: Tensor
) -> list[Tensor]:
    total = sum(criterion(outputs, labels).values())
    return [total, torch.autograd.grad(total, outputs["main"])[0]]


@pytest.mark.slow
@pytest.mark.skipif(
    shutil.which("c++") is None and shutil.which("g++") is None, reason="needs a C++ compiler"
)
@sizes
@every_combination
def test_compiled_it_equals_eager(criterion: nn.Module, size: int) -> None:
    torch._dynamo.reset()
    outputs, labels = case_of_all_outputs(size)
    for result, expected in zip(
        loss_and_gradient(torch.compile(criterion), outputs, labels),
        loss_and_gradient(criterion, outputs, labels),
        strict=True,
    ):
        torch.testing.assert_close(result, expected)


@every_combination
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@sizes
def test_half_logits_are_summed_up_in_float32(
    criterion: nn.Module, dtype: torch.dtype, size: int
) -> None:
    outputs, labels = case_of_all_outputs(size)
    half = {name: each.detach().to(dtype).requires_grad_() for name, each in outputs.items()}
    full = {name: each.detach().float().requires_grad_() for name, each in half.items()}
    with torch.autocast("cpu", dtype=dtype):
        result = loss_and_gradient(criterion, half, labels)
    expected = loss_and_gradient(criterion, full, labels)
    assert result[0].dtype == torch.float32
    torch.testing.assert_close(result[0], expected[0], rtol=1e-5, atol=1e-6)
    # the gradients of the terms are added in the precision of the logits
    digit = 2**-8 * expected[1].abs().max().item()
    torch.testing.assert_close(result[1].float(), expected[1], rtol=1e-2, atol=digit)


@pytest.mark.gpu
@sizes
@every_combination
def test_a_gpu_gives_the_same_and_never_waits_for_a_value(
    gpu: torch.device, criterion: nn.Module, size: int
) -> None:
    outputs, labels = case_of_all_outputs(size)
    expected = loss_and_gradient(criterion, outputs, labels)
    there = (
        {name: each.detach().to(gpu).requires_grad_() for name, each in outputs.items()},
        labels.to(gpu),
    )
    criterion = copy.deepcopy(criterion).to(gpu)
    loss_and_gradient(criterion, *there)  # what is set up once may wait
    with waiting_is_an_error(gpu):
        result = loss_and_gradient(criterion, *there)
    for actual, target in zip(result, expected, strict=True):
        torch.testing.assert_close(actual.cpu(), target, rtol=1e-4, atol=1e-6)
