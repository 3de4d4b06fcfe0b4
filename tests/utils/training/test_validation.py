"""Which weights and images are validated during training."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from torch import nn

from utils.evaluation.evaluator import Prediction
from utils.training.signals import Interrupts
from utils.training.validation import Validator, draw, evenly_spaced, select_weights
from utils.visualization import label_maps

RAW, EMA = nn.Identity(), nn.Identity()


@pytest.mark.parametrize(
    ("choice", "selected"),
    [("auto", ["ema"]), ("raw", ["raw"]), ("ema", ["ema"]), ("both", ["raw", "ema"])],
)
def test_weights_are_selected_by_name(choice: str, selected: list[str]) -> None:
    assert list(select_weights(choice, {"raw": RAW, "ema": EMA})) == selected


def test_without_averaged_weights_auto_takes_the_raw_ones_and_ema_is_refused() -> None:
    assert list(select_weights("auto", {"raw": RAW})) == ["raw"]
    with pytest.raises(ValueError, match="--eval_weights both needs averaged weights"):
        select_weights("both", {"raw": RAW})


def test_a_few_images_are_spread_over_the_split() -> None:
    assert evenly_spaced(10, 4) == [0, 2, 5, 7]  # i * 10 // 4
    assert evenly_spaced(3, 8) == [0, 1, 2]
    assert evenly_spaced(3, None) == [0, 1, 2]


def test_a_validation_does_not_search_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its images may all have other sizes."""
    searching: list[bool] = []
    monkeypatch.setattr(torch.backends.cudnn, "benchmark", True)
    monkeypatch.setattr(Validator, "_evaluate", lambda self, weights, predictor, interrupts:
                        searching.append(torch.backends.cudnn.benchmark))
    validator = Validator.__new__(Validator)
    vars(validator).update(nets={"raw": nn.Identity()}, syncbn=True, device=torch.device("cpu"),
                           precision="fp32", mean=(0.5,) * 3, std=(0.5,) * 3, channels_last=True)
    validator.evaluate(Interrupts())
    assert searching == [False] and torch.backends.cudnn.benchmark


@pytest.mark.parametrize(
    ("height", "width", "shown"), [(1024, 2048, (320, 640)), (30, 40, (30, 40))]
)
def test_pictures_for_tensorboard_are_small(height: int, width: int, shown: tuple[int, int],
                                            monkeypatch: pytest.MonkeyPatch) -> None:
    titles: list[str] = []
    arrange = label_maps.panels

    def panels(titled: Sequence[tuple[str, np.ndarray]], columns: int) -> np.ndarray:
        titles.extend(title for title, _ in titled)
        return arrange(titled, columns)

    monkeypatch.setattr(label_maps, "panels", panels)
    image = torch.randint(0, 256, (3, height, width), dtype=torch.uint8)
    labels = torch.randint(0, 2, (height, width), dtype=torch.uint8)
    palette = np.array([[0, 0, 0], [255, 255, 255]], np.uint8)
    flows = {"fam": torch.randn(1, 2, height // 4, width // 4)}
    picture = draw(Prediction("a", image, labels, labels, 0), flows, palette)
    # two rows of three pictures, their titles and gaps
    assert 2 * shown[0] < picture.shape[0] < 2 * shown[0] + 130
    assert 3 * shown[1] < picture.shape[1] < 3 * shown[1] + 60
    assert titles[:3] == ["image", "labels", "predictions"] and "stride 4" in titles[3]
