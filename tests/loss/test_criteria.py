"""All base criteria, and deep supervision over them: laws, numbers worked by hand, and the recorded ones."""
from __future__ import annotations

import importlib.util
import json
import math
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import loss
from loss import pixel
from utils import resizing

BASE = [loss.CrossEntropy(), loss.CrossEntropy(label_smoothing=0.1), loss.OhemCrossEntropy(thresh=0.7, min_kept=50),
        loss.OhemCrossEntropy(thresh=0.7, min_kept=0.1), loss.FocalLoss(), loss.FocalLoss(gamma=0.5),
        loss.ImageWeightedCrossEntropy(), loss.ImageWeightedCrossEntropy(per_batch=True), loss.RelaxedCrossEntropy(),
        loss.RelaxedCrossEntropy(bound=0.0, strict_classes=(1,)), loss.DiceLoss(), loss.LovaszSoftmax()]
base = pytest.mark.parametrize("criterion", BASE, ids=lambda criterion: type(criterion).__name__)


def case(shape: tuple[int, ...] = (2, 5, 12, 16), size: tuple[int, int] = (12, 16), void: float = 0.2,
         seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, shape[1], (shape[0], *size), generator=generator)
    labels[torch.rand(labels.shape, generator=generator) < void] = 255
    return torch.randn(shape, generator=generator).requires_grad_(), labels


def plain(logits: Tensor, labels: Tensor) -> Tensor:
    full = F.interpolate(logits, labels.shape[-2:], mode="bilinear", align_corners=True)
    return F.cross_entropy(full, labels, ignore_index=255)


def total(criterion: nn.Module, logits: Tensor, labels: Tensor) -> Tensor:
    term, = criterion({"main": logits}, labels).values()
    return term


def test_cross_entropy_is_torchs() -> None:
    logits, labels = case()
    torch.testing.assert_close(loss.CrossEntropy()({"main": logits}, labels)["main"], plain(logits, labels))


@pytest.mark.parametrize("band_values", [1, 700, 1 << 21])
@pytest.mark.parametrize("narrow", [0, 128])
def test_banded_upsampling_changes_neither_loss_nor_gradient(monkeypatch: pytest.MonkeyPatch, band_values: int,
                                                             narrow: int) -> None:
    monkeypatch.setattr(resizing, "CHUNK_VALUES", band_values)
    monkeypatch.setattr(resizing, "MATRIX_WIDTH", narrow)
    logits, labels = case((2, 5, 7, 9), (25, 33))
    expected = plain(logits, labels)
    gradient, = torch.autograd.grad(expected, logits)
    found = loss.CrossEntropy()({"main": logits}, labels)["main"]
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(torch.autograd.grad(found, logits)[0], gradient)


@base
@pytest.mark.parametrize("size", [(3, 4), (7, 9)], ids=["at label size", "raised"])
def test_the_gradient_is_the_finite_difference(criterion: nn.Module, size: tuple[int, int],
                                               monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resizing, "CHUNK_VALUES", 1)
    logits, labels = case((2, 3, 3, 4), size)
    double = logits.detach().double().requires_grad_()
    assert torch.autograd.gradcheck(lambda values: total(criterion, values, labels), double)


@base
def test_raised_logits_are_the_full_size_ones(criterion: nn.Module, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resizing, "CHUNK_VALUES", 700)
    logits, labels = case((2, 5, 7, 9), (25, 33))
    found = total(criterion, logits, labels)
    full = F.interpolate(logits, labels.shape[-2:], mode="bilinear", align_corners=True)
    expected = total(criterion, full, labels)
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(torch.autograd.grad(found, logits), torch.autograd.grad(expected, logits))


def test_ohem_keeps_exactly_the_hard_pixels() -> None:
    # two classes, true class 0: p = 1 / (1 + e^(b - a)) for logits (a, b)
    margins = torch.tensor([-2.0, 0.0, 0.5, 1.0, 3.0, 5.0])               # p = .12 .50 .62 .73 .95 .99
    logits = torch.stack([margins, torch.zeros(6)])[None, :, None].requires_grad_()
    labels = torch.zeros(1, 1, 6, dtype=torch.long)
    loss.OhemCrossEntropy(thresh=0.7, min_kept=1)({"main": logits}, labels)["main"].backward()
    assert (logits.grad[0, 0, 0] != 0).tolist() == [True, True, True, False, False, False]


def test_ohem_keeps_the_hardest_when_too_few_are_hard() -> None:
    margins = torch.tensor([4.0, 1.0, 3.0, 2.0, 5.0, 6.0])                # every p above 0.7
    logits = torch.stack([margins, torch.zeros(6)])[None, :, None].requires_grad_()
    labels = torch.tensor([[[0, 0, 0, 0, 0, 255]]])
    found = loss.OhemCrossEntropy(thresh=0.7, min_kept=3)({"main": logits}, labels)["main"]
    found.backward()
    assert (logits.grad[0, 0, 0] != 0).tolist() == [False, True, True, True, False, False]
    assert found.item() == pytest.approx(sum(math.log1p(math.exp(-margin)) for margin in (1, 2, 3)) / 3, rel=1e-6)


def test_the_smallest_kept_loss_is_the_sorts() -> None:
    logits, labels = case()
    losses = pixel.pixel_cross_entropy(logits, labels, 255)
    criterion, valid = loss.OhemCrossEntropy(0.7, 50), labels != 255
    ranked = losses.masked_fill(~valid, -1.0).flatten().sort(descending=True).values
    assert criterion._smallest_kept_loss(losses, valid) == min(ranked[49], torch.tensor(-math.log(0.7)))


def test_selection_stays_fast_on_values_that_fall_steadily() -> None:
    falling = torch.linspace(1, 0, 1 << 20)                 # minutes where a selection is quadratic
    assert pixel.kth_largest(falling, 1000) == falling[999]
    assert pixel.kth_largest(falling, 1 << 21) == 0


@base
def test_an_all_ignored_map_costs_nothing_and_teaches_nothing(criterion: nn.Module) -> None:
    logits, labels = case(void=1.1)
    found = total(criterion, logits, labels)
    found.backward()
    assert found.item() == 0 and logits.grad.abs().sum() == 0


@base
@pytest.mark.parametrize("classes", [2, 150])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_single_pixels_huge_logits_and_half_precision_stay_finite(criterion: nn.Module, classes: int,
                                                                  dtype: torch.dtype) -> None:
    logits = (1e4 * torch.randn(1, classes, 1, 1)).to(dtype).requires_grad_()
    found = total(criterion, logits, torch.full((1, 1, 1), classes - 1))
    found.backward()
    assert found.dtype == torch.float32 and found.isfinite() and logits.grad.isfinite().all()


@base
def test_only_main_is_read(criterion: nn.Module) -> None:
    logits, labels = case()
    assert len(criterion({"main": logits, "aux0": logits}, labels)) == 1


@base
def test_logits_larger_than_the_labels_are_refused(criterion: nn.Module) -> None:
    logits, labels = case((2, 5, 24, 16), (12, 16))
    with pytest.raises(ValueError, match="are larger than the labels"):
        criterion({"main": logits}, labels)


@base
def test_another_batch_is_refused(criterion: nn.Module) -> None:
    logits, labels = case()
    with pytest.raises(ValueError, match="do not match"):
        criterion({"main": logits[:1]}, labels)


@base
@pytest.mark.parametrize("stray", [5, 7, -1])
def test_a_label_that_is_no_class_is_refused_on_a_cpu(criterion: nn.Module, stray: int) -> None:
    logits, labels = case()
    labels[1, 3, 4] = stray
    with pytest.raises(ValueError, match=f"labels hold {stray}, neither a class .*0 to 4.* ids that were not mapped"):
        criterion({"main": logits}, labels)


@base
def test_right_pixels_with_huge_logits_cost_and_teach_nothing(criterion: nn.Module) -> None:
    _, labels = case(void=0.0)
    logits = (1e4 * F.one_hot(labels, 5).movedim(-1, 1).float()).requires_grad_()
    found = total(criterion, logits, labels)
    if not getattr(criterion, "label_smoothing", 0.0):
        found.backward()
        assert found.item() == pytest.approx(0, abs=1e-6) and logits.grad.abs().sum() <= 1e-6


@base
def test_what_is_ignored_has_no_gradient(criterion: nn.Module) -> None:
    logits, labels = case()
    total(criterion, logits, labels).backward()
    assert (logits.grad.movedim(1, -1)[labels == 255] == 0).all()


@pytest.mark.parametrize("criterion", [loss.ImageWeightedCrossEntropy(), loss.RelaxedCrossEntropy(),
                                       loss.RelaxedCrossEntropy(bound=0.0, strict_classes=(0, 3))],
                         ids=lambda criterion: type(criterion).__name__)
@pytest.mark.parametrize("seed", range(3))
def test_a_batchs_loss_is_the_mean_of_its_images_losses(criterion: loss.Criterion, seed: int) -> None:
    logits, labels = case((3, 5, 12, 16), seed=seed)
    labels[2] = 255                                         # an image without labels counts, with a loss of 0
    whole = total(criterion, logits, labels)
    alone = [total(criterion, logits[i:i + 1], labels[i:i + 1]) for i in range(3)]
    torch.testing.assert_close(whole, sum(alone) / 3)
    assert criterion.normalizers(labels) == {"main": 3}


def test_batch_weights_are_the_whole_batchs() -> None:
    logits, labels = case()
    losses, valid = pixel.pixel_cross_entropy(logits, labels, 255), labels != 255
    shares = torch.bincount(labels[valid], minlength=5) / valid.sum()
    weights = (1 + 0.5 * (1 - shares))[labels[valid]]
    expected = (losses[valid] * weights).sum() / weights.sum()
    criterion = loss.ImageWeightedCrossEntropy(bound=0.5, per_batch=True)
    torch.testing.assert_close(total(criterion, logits, labels), expected)
    assert criterion.normalizers(labels) == {"main": None}


def test_image_weights_favor_the_rare_class() -> None:
    # three pixels of class 0 and one of class 1, all at p = 1/2: weights 1.25 and 1.75 change no mean of equal losses,
    # but each pixel's share of the gradient: 1.25 / 5.5 and 1.75 / 5.5, times p = 1/2
    logits = torch.zeros(1, 2, 1, 4, requires_grad=True)
    labels = torch.tensor([[[0, 0, 0, 1]]])
    found = total(loss.ImageWeightedCrossEntropy(bound=1.0), logits, labels)
    found.backward()
    assert found.item() == pytest.approx(math.log(2))
    assert logits.grad[0, 1, 0].tolist() == pytest.approx([1.25 / 11] * 3 + [-1.75 / 11])


def test_focal_counts_a_pixel_by_how_far_it_is_missed() -> None:
    # p = 1/2: (1 - p)^2 log 2 = log 2 / 4
    logits, labels = torch.zeros(1, 2, 1, 3), torch.zeros(1, 1, 3, dtype=torch.long)
    assert total(loss.FocalLoss(gamma=2.0), logits, labels).item() == pytest.approx(math.log(2) / 4)


def test_focal_without_a_power_is_cross_entropy() -> None:
    logits, labels = case()
    torch.testing.assert_close(total(loss.FocalLoss(gamma=0.0), logits, labels), plain(logits, labels))


def test_dice_by_hand() -> None:
    # p = 1/2 everywhere, labels 0 0 1: class 0: 2 * 1 / (1.5 + 2), class 1: 2 * 0.5 / (1.5 + 1); class 2 is not there
    logits = torch.tensor([0.0, 0.0, -1e4])[None, :, None, None].expand(1, 3, 1, 3)
    found = total(loss.DiceLoss(weight=2.0), logits, torch.tensor([[[0, 0, 1]]]))
    assert found.item() == pytest.approx(2 * (1 - (2 / 3.5 + 1 / 2.5) / 2))


def test_lovasz_of_a_hard_prediction_is_the_mean_of_one_minus_iou() -> None:
    generator = torch.Generator().manual_seed(3)
    labels, predicted = (torch.randint(0, 3, (2, 6, 7), generator=generator) for _ in range(2))
    labels[0, :2] = 255
    logits = 1e4 * F.one_hot(predicted, 4).movedim(-1, 1).float()         # class 3 is nowhere
    valid = labels != 255
    ious = [((labels == i) & (predicted == i) & valid).sum() / (((labels == i) | (predicted == i)) & valid).sum()
            for i in range(3)]
    assert total(loss.LovaszSoftmax(), logits, labels).item() == pytest.approx(1 - sum(ious).item() / 3, rel=1e-5)


def test_class_weights_and_smoothing_are_torchs() -> None:
    logits, labels = case()
    weights = [0.5, 1.0, 2.0, 3.0, 0.1]
    expected = F.cross_entropy(logits, labels, torch.tensor(weights), ignore_index=255)
    torch.testing.assert_close(total(loss.CrossEntropy(class_weights=weights), logits, labels), expected)
    torch.testing.assert_close(total(loss.CrossEntropy(label_smoothing=0.2), logits, labels),
                               F.cross_entropy(logits, labels, ignore_index=255, label_smoothing=0.2))


def test_weights_of_another_number_of_classes_are_refused() -> None:
    logits, labels = case()
    with pytest.raises(ValueError, match="4 class weights, but the logits have 5 classes"):
        loss.CrossEntropy(class_weights=[1.0] * 4)({"main": logits}, labels)


def test_ohem_selects_without_the_class_weights_and_averages_with_them() -> None:
    margins = torch.tensor([-2.0, 3.0, 0.0])                               # p = .12 .95 .50, the first is class 1's
    logits = torch.stack([torch.cat([-margins[:1], margins[1:]]), torch.zeros(3)])[None, :, None]
    labels = torch.tensor([[[1, 0, 0]]])
    found = total(loss.OhemCrossEntropy(0.7, 1, class_weights=[1.0, 3.0]), logits, labels)
    assert found.item() == pytest.approx((3 * math.log1p(math.exp(2)) + math.log(2)) / 4)


def test_deep_supervision_weighs_each_auxiliary() -> None:
    logits, labels = case()
    small, _ = case((2, 5, 6, 8), seed=1)
    terms = loss.DeepSupervision(loss.CrossEntropy(), aux_weight=0.4)({"main": logits, "aux0": small}, labels)
    assert set(terms) == {"main", "aux0"}
    torch.testing.assert_close(terms["main"], plain(logits, labels))
    torch.testing.assert_close(terms["aux0"], 0.4 * plain(small, labels))


@pytest.mark.parametrize("base", [loss.CrossEntropy(), loss.CrossEntropy(class_weights=[1.0, 2.0, 3.0, 4.0, 5.0]),
                                  loss.CrossEntropy(label_smoothing=0.1), loss.FocalLoss(),
                                  loss.ImageWeightedCrossEntropy(), loss.RelaxedCrossEntropy()])
def test_shares_of_a_batch_weighed_by_their_denominators_are_the_whole_batch(base: loss.Criterion) -> None:
    logits, labels = case((4, 5, 12, 16))
    criterion = loss.DeepSupervision(base)
    whole = criterion({"main": logits}, labels)["main"]
    parts = [criterion({"main": logits[share]}, labels[share])["main"] * criterion.normalizers(labels[share])["main"]
             for share in (slice(0, 1), slice(1, 4))]
    torch.testing.assert_close(sum(parts) / criterion.normalizers(labels)["main"], whole)


def test_ohem_selects_within_a_batch_and_so_has_no_denominator() -> None:
    assert loss.OhemCrossEntropy().normalizers(case()[1]) == {"main": None}


@pytest.mark.parametrize(("options", "message"), [({"thresh": 0.0}, "probability"), ({"min_kept": 0}, "at least 1"),
                                                   ({"min_kept": 1.5}, "number of pixels")])
def test_settings_out_of_range_are_refused(options: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        loss.OhemCrossEntropy(**options)


def test_a_share_of_kept_pixels_is_that_count_of_them() -> None:
    logits, labels = case()
    easy = {"main": logits + 9 * F.one_hot(labels.where(labels != 255, 0), 5).movedim(-1, 1)}
    by_share, by_count = (loss.OhemCrossEntropy(0.7, kept)(easy, labels) for kept in (0.25, labels.numel() // 4))
    assert by_share == by_count


def recorded(parity: Path) -> tuple[dict, ModuleType]:
    source = importlib.util.spec_from_file_location("fixture_weights", parity / "weights.py")
    assert source and source.loader
    makers = importlib.util.module_from_spec(source)
    source.loader.exec_module(makers)
    return json.loads((parity / "losses.json").read_text()), makers


def drawn(seed: int, shape: list[int] | tuple[int, ...]) -> Tensor:
    return torch.from_numpy(np.random.Generator(np.random.PCG64(seed)).standard_normal(shape).astype(np.float32))


@pytest.mark.parametrize("name", ["ohem_many_hard", "ohem_few_hard", "ohem_more_kept_than_valid", "ohem_low_thresh"])
def test_ohem_equals_the_recorded_numbers(parity: Path, name: str) -> None:
    cases, makers = recorded(parity)
    numbers = cases[name]
    labels = torch.from_numpy(makers.labels(numbers["label_seed"], (2, 64, 128), 19, numbers["void_share"]))
    logits = drawn(numbers["logit_seed"], (2, 19, 64, 128)) * np.float32(numbers["logit_scale"])
    bonus = torch.full((2, 1, 64, 128), numbers["correct_class_bonus"])
    logits = logits.scatter_add(1, labels.masked_fill(labels == 255, 0)[:, None], bonus).requires_grad_()
    found = loss.OhemCrossEntropy(numbers["thresh"], numbers["min_kept"])({"main": logits}, labels)["main"]
    found.backward()
    assert found.item() == pytest.approx(numbers["loss"], rel=1e-5)
    assert logits.grad.norm().item() == pytest.approx(numbers["grad_norm"], rel=1e-4)
    assert int((logits.grad.abs().sum(1) > 0).sum()) == numbers["pixels_with_grad"]


def test_deep_supervision_equals_the_recorded_numbers(parity: Path) -> None:
    cases, makers = recorded(parity)
    numbers = cases["dsn"]
    labels = torch.from_numpy(makers.labels(numbers["label_seed"], tuple(numbers["label_shape"]), 19))
    outputs = {"main": drawn(numbers["main_seed"], numbers["main_shape"]).requires_grad_()}
    for i, (seed, shape) in enumerate(zip(numbers["aux_seeds"], numbers["aux_shapes"], strict=True)):
        outputs[f"aux{i}"] = drawn(seed, shape).requires_grad_()
    criterion = loss.DeepSupervision(loss.OhemCrossEntropy(numbers["thresh"], numbers["min_kept"]),
                                     numbers["aux_weight"])
    total = sum(criterion(outputs, labels).values())
    total.backward()
    assert total.item() == pytest.approx(numbers["loss"], rel=1e-5)
    norms = [logits.grad.norm().item() for logits in outputs.values()]
    assert norms == pytest.approx([numbers["main_grad_norm"], *numbers["aux_grad_norms"]], rel=1e-4)


@pytest.mark.parametrize(("scale", "bonus", "void", "thresh", "min_kept"), [
    (1.0, 0.0, 0.1, 0.7, 100), (0.5, 6.0, 0.3, 0.7, 700), (3.0, 2.0, 0.0, 0.2, 10), (1.0, 9.0, 0.95, 0.7, 500),
    (2.0, 5.0, 0.5, 0.9, 1), (0.1, 0.0, 0.1, 0.01, 300)])
@pytest.mark.parametrize("seed", range(2))
def test_ohem_is_the_recorded_rule_written_with_a_sort(scale: float, bonus: float, void: float, thresh: float,
                                                       min_kept: int, seed: int) -> None:
    drawn, labels = case((2, 7, 24, 32), (24, 32), void, seed)
    raised = bonus * F.one_hot(labels.where(labels != 255, 0), 7).movedim(-1, 1)
    logits = (scale * drawn.detach() + raised).requires_grad_()
    valid = labels != 255
    scores = logits.detach().double().softmax(1).gather(1, labels.where(valid, 0)[:, None])[:, 0]
    kept = valid
    if valid.sum() >= min_kept:
        kept = valid & (scores <= max(thresh, scores[valid].sort().values[min_kept - 1].item()))
    expected = F.cross_entropy(logits, labels.where(kept, 255), ignore_index=255)
    found = loss.OhemCrossEntropy(thresh, min_kept)({"main": logits}, labels)["main"]
    gradients = [torch.autograd.grad(each, logits)[0] for each in (found, expected)]
    assert found.item() == pytest.approx(expected.item(), rel=1e-5)
    assert gradients[0].norm().item() == pytest.approx(gradients[1].norm().item(), rel=1e-4)
    assert ((gradients[0] != 0).any(1) == kept).all()


@pytest.mark.parametrize("make", [lambda: loss.FocalLoss(gamma=-1), lambda: loss.ImageWeightedCrossEntropy(bound=-1)])
def test_negative_settings_are_refused(make: Callable[[], loss.Criterion]) -> None:
    with pytest.raises(ValueError, match="at least 0, not -1"):
        make()
