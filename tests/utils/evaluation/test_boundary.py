from __future__ import annotations

import importlib.util
import json
import math
import time
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from utils.evaluation.boundary import boundary_f, mean_scores


def slow_boundary_f(
    predictions: np.ndarray, labels: np.ndarray, class_id: int, radius: int
) -> float:
    """F of one class by its definition, all pairs of boundary pixels compared."""

    def outline(mask: np.ndarray) -> np.ndarray:
        height, width = mask.shape
        return np.array(
            [
                (y, x)
                for y in range(height)
                for x in range(width)
                if any(
                    mask[y, x] != mask[y + down, x + right]
                    for down, right in ((0, 1), (1, 0), (1, 1))
                    if y + down < height and x + right < width
                )
            ]
        ).reshape(-1, 2)

    def fraction_within(pixels: np.ndarray, targets: np.ndarray) -> float:
        if not len(pixels):
            return 1.0
        if not len(targets):
            return 0.0
        return float((((pixels[:, None] - targets) ** 2).sum(2).min(1) <= radius**2).mean())

    predicted = outline((predictions == class_id) & (labels != 255))
    labeled = outline(labels == class_id)
    if not len(predicted) and not len(labeled):
        return math.nan
    precision, recall = fraction_within(predicted, labeled), fraction_within(labeled, predicted)
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


sides = st.integers(1, 14)


@settings(max_examples=60, deadline=None)
@given(
    size=st.tuples(sides, sides),
    seed=st.integers(0, 10_000),
    noise=st.floats(0, 1),
    thresholds=st.lists(st.sampled_from([0.01, 0.1, 0.2, 0.5]), min_size=1, max_size=3),
)
def test_equals_its_slow_definition(
    size: tuple[int, int], seed: int, noise: float, thresholds: list[float]
) -> None:
    rng = np.random.default_rng(seed)
    labels = (
        rng.choice([0, 1, 2, 255], (4, 4))
        .astype(np.uint8)
        .repeat(4, 0)
        .repeat(4, 1)[: size[0], : size[1]]
    )
    predictions = np.where(
        rng.random(labels.shape) < noise, rng.integers(0, 3, labels.shape), labels % 253
    )
    predictions = predictions.astype(np.uint8)
    scores = boundary_f(predictions, labels, 4, thresholds)
    radii = [math.ceil(threshold * math.hypot(*labels.shape)) for threshold in thresholds]
    expected = [
        [slow_boundary_f(predictions, labels, class_id, radius) for class_id in range(4)]
        for radius in radii
    ]
    np.testing.assert_allclose(scores, expected, atol=1e-12)


def test_equals_the_published_score(parity: Path) -> None:
    case = json.loads((parity / "boundary_f.json").read_text())["a"]
    seed, shape, classes = case["seed"], case["shape"], case["num_classes"]
    blocks = helper(parity / "weights.py").labels
    labels, rng = blocks(seed, shape, classes, 0.0), np.random.default_rng(seed)
    labels[rng.random(shape) < 0.02] = 255
    predictions = np.roll(blocks(seed, shape, classes, 0.0), (2, 3), (1, 2))
    moved = rng.random(shape) < 0.05
    predictions[moved] = rng.integers(0, classes, moved.sum())
    thresholds = [float(threshold) for threshold in case["F"]]
    found = np.stack(
        [
            boundary_f(*maps, classes, thresholds)
            for maps in zip(predictions.astype(np.uint8), labels.astype(np.uint8), strict=True)
        ]
    )
    names = [str(class_id) for class_id in range(classes)]
    means = mean_scores(found, thresholds, names)
    for threshold, expected in case["F"].items():
        assert list(means[f"{float(threshold):g}"]["per_class"].values()) == pytest.approx(
            expected, abs=1e-9
        )


def helper(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("parity_weights", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_an_absent_class_counts_as_1_or_not_at_all() -> None:
    # two images, one threshold, two classes
    scores = np.array([[[0.5, np.nan]], [[0.7, np.nan]]])
    found = mean_scores(scores, [0.005], ["car", "sky"])["0.005"]
    assert found["per_class"] == pytest.approx({"car": 0.6, "sky": 1.0})
    assert (found["mean"], found["mean_present"]) == pytest.approx((0.8, 0.6))
    assert found["per_class_present"]["sky"] is None


def test_maps_of_different_sizes_are_refused() -> None:
    with pytest.raises(
        ValueError, match=r"predictions \(4, 5\) and labels \(5, 4\) must have the same size"
    ):
        boundary_f(np.zeros((4, 5), np.uint8), np.zeros((5, 4), np.uint8), 2)


@pytest.mark.slow
def test_a_full_cityscapes_image_is_scored_in_time() -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 19, (16, 32), np.uint8).repeat(64, 0).repeat(64, 1)
    predictions = np.roll(labels, (3, 5), (0, 1))
    times = []
    for _ in range(3):
        start = time.perf_counter()
        boundary_f(predictions, labels, 19)
        times.append(time.perf_counter() - start)
    # 0.3 s on an idle core
    assert min(times) < 1.5
