"""All base criteria, and deep supervision over them: laws, numbers worked by hand, and the recorded ones."""
from __future__ import annotations

import importlib.util
import json
import math
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import loss
from loss import pixelwise

BASE = [loss.CrossEntropy(), loss.OhemCrossEntropy(thresh=0.7, min_kept=50)]
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


def test_cross_entropy_is_torchs() -> None:
    logits, labels = case()
    torch.testing.assert_close(loss.CrossEntropy()({"main": logits}, labels)["main"], plain(logits, labels))


@pytest.mark.parametrize("band_values", [1, 700, 1 << 21])
@pytest.mark.parametrize("narrow", [0, 128])
def test_banded_upsampling_changes_neither_loss_nor_gradient(monkeypatch: pytest.MonkeyPatch, band_values: int,
                                                             narrow: int) -> None:
    monkeypatch.setattr(pixelwise, "BAND_VALUES", band_values)
    monkeypatch.setattr(pixelwise, "NARROW", narrow)
    logits, labels = case((2, 5, 7, 9), (25, 33))
    expected = plain(logits, labels)
    gradient, = torch.autograd.grad(expected, logits)
    found = loss.CrossEntropy()({"main": logits}, labels)["main"]
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(torch.autograd.grad(found, logits)[0], gradient)


def test_the_bands_gradient_is_the_finite_difference() -> None:
    logits, labels = case((1, 3, 3, 4), (7, 9))
    double = logits.detach().double().requires_grad_()

    def total(values: Tensor) -> Tensor:
        rows = F.interpolate(values, (7, 4), mode="bilinear", align_corners=True)
        return pixelwise._BandedCrossEntropy.apply(rows, labels, 255)

    assert torch.autograd.gradcheck(total, double)


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


def test_the_least_kept_loss_is_the_sorts() -> None:
    logits, labels = case()
    losses = pixelwise.pixel_cross_entropy(logits, labels, 255)
    criterion, valid = loss.OhemCrossEntropy(0.7, 50), labels != 255
    ranked = losses.masked_fill(~valid, -1.0).flatten().sort(descending=True).values
    assert criterion._least_kept_loss(losses, valid) == min(ranked[49], torch.tensor(-math.log(0.7)))


@base
def test_an_all_ignored_map_costs_nothing_and_teaches_nothing(criterion: nn.Module) -> None:
    logits, labels = case(void=1.1)
    found = criterion({"main": logits}, labels)["main"]
    found.backward()
    assert found.item() == 0 and logits.grad.abs().sum() == 0


@base
@pytest.mark.parametrize("classes", [2, 150])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_single_pixels_huge_logits_and_half_precision_stay_finite(criterion: nn.Module, classes: int,
                                                                  dtype: torch.dtype) -> None:
    logits = (1e4 * torch.randn(1, classes, 1, 1)).to(dtype).requires_grad_()
    found = criterion({"main": logits}, torch.full((1, 1, 1), classes - 1))["main"]
    found.backward()
    assert found.dtype == torch.float32 and found.isfinite() and logits.grad.isfinite().all()


@base
def test_only_main_is_read(criterion: nn.Module) -> None:
    logits, labels = case()
    assert set(criterion({"main": logits, "aux0": logits}, labels)) == {"main"}


@base
def test_logits_larger_than_the_labels_are_refused(criterion: nn.Module) -> None:
    logits, labels = case((2, 5, 24, 16), (12, 16))
    with pytest.raises(ValueError, match="are larger than the labels"):
        criterion({"main": logits}, labels)


@base
def test_another_batch_is_refused(criterion: nn.Module) -> None:
    logits, labels = case()
    with pytest.raises(ValueError, match="do not belong together"):
        criterion({"main": logits[:1]}, labels)


def test_deep_supervision_weighs_each_auxiliary() -> None:
    logits, labels = case()
    small, _ = case((2, 5, 6, 8), seed=1)
    terms = loss.DeepSupervision(loss.CrossEntropy(), aux_weight=0.4)({"main": logits, "aux0": small}, labels)
    assert set(terms) == {"main", "aux0"}
    torch.testing.assert_close(terms["main"], plain(logits, labels))
    torch.testing.assert_close(terms["aux0"], 0.4 * plain(small, labels))


def test_shares_of_a_batch_weighed_by_their_denominators_are_the_whole_batch() -> None:
    logits, labels = case((4, 5, 12, 16))
    criterion = loss.DeepSupervision(loss.CrossEntropy())
    whole = criterion({"main": logits}, labels)["main"]
    parts = [criterion({"main": logits[share]}, labels[share])["main"] * criterion.denominator(labels[share])
             for share in (slice(0, 1), slice(1, 4))]
    torch.testing.assert_close(sum(parts) / criterion.denominator(labels), whole)


def test_ohem_selects_within_a_batch_and_so_has_no_denominator() -> None:
    assert loss.OhemCrossEntropy().denominator(case()[1]) is None


@pytest.mark.parametrize(("options", "message"), [({"thresh": 0.0}, "probability"), ({"min_kept": 0}, "at least 1")])
def test_settings_out_of_range_are_refused(options: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        loss.OhemCrossEntropy(**options)


def test_build_takes_a_share_or_a_count_of_kept_pixels() -> None:
    flags = {"ohem": True, "ohem_thresh": 0.7, "deep_supervision": False, "aux_weight": 1.0, "batch_pixels": 1600}
    assert loss.build(ohem_min_kept=0.0625, **flags).min_kept == 100
    assert loss.build(ohem_min_kept=5000, **flags).min_kept == 5000


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
