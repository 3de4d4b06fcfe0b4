"""Color jitter follows its docstring, blur smooths, and neither touches the label."""
from __future__ import annotations

import numpy as np
import pytest

from transforms import BilateralBlur, ColorJitter, GaussianBlur
from transforms.color import LUMA, color_matrix

IMAGE = np.random.default_rng(0).integers(0, 256, (16, 20, 3), dtype=np.uint8)
LABEL = np.arange(320, dtype=np.uint8).reshape(16, 20) % 19


def apply(matrix: np.ndarray, *color: float) -> np.ndarray:
    return matrix[:, :3] @ color + matrix[:, 3]


def matrix_of(brightness: float, contrast: float, saturation: float, turn: float,
              mean_luma: float) -> np.ndarray:
    return color_matrix(brightness=brightness, contrast=contrast, saturation=saturation, turn=turn,
                        mean_luma=mean_luma)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_neutral_factors_change_nothing() -> None:
    assert np.allclose(matrix_of(1, 1, 1, 0, 77), np.eye(3, 4))
    image, label = ColorJitter(0, 0, 0, 0)(IMAGE, LABEL, None, rng())
    assert (image == IMAGE).all()
    assert label is LABEL


def test_brightness_multiplies() -> None:
    assert apply(matrix_of(1.2, 1, 1, 0, 77), 10, 20, 30) == pytest.approx([12, 24, 36])


def test_contrast_spreads_about_the_mean_luma() -> None:
    # 1.5 * 10 - 0.5 * 50 = -10, 1.5 * 50 - 25 = 50, 1.5 * 90 - 25 = 110
    assert apply(matrix_of(1, 1.5, 1, 0, 50), 10, 50, 90) == pytest.approx([-10, 50, 110])


def test_contrast_comes_after_brightness() -> None:
    # brightness 2: 10 -> 20, mean 50 -> 100; contrast 0.5: 0.5 * 20 + 0.5 * 100 = 60
    assert apply(matrix_of(2, 0.5, 1, 0, 50), 10, 10, 10) == pytest.approx([60, 60, 60])


def test_no_saturation_leaves_luma() -> None:
    # 0.299 * 100 + 0.587 * 50 + 0.114 * 200 = 82.05
    assert apply(matrix_of(1, 1, 0, 0, 0), 100, 50, 200) == pytest.approx([82.05] * 3)


@pytest.mark.parametrize("turn", [-0.25, 0.1, 0.5])
def test_a_turn_of_hue_keeps_luma_and_greys(turn: float) -> None:
    matrix = matrix_of(1, 1, 1, turn, 0)
    assert LUMA @ apply(matrix, 100, 50, 200) == pytest.approx(82.05)
    assert apply(matrix, 60, 60, 60) == pytest.approx([60, 60, 60], abs=0.05)
    assert np.abs(apply(matrix, 100, 50, 200) - (100, 50, 200)).max() > 10


def test_a_full_turn_of_hue_is_none() -> None:
    assert np.allclose(matrix_of(1, 1, 1, 1, 0), np.eye(3, 4))


def test_jitter_clips_and_keeps_the_label() -> None:
    image, label = ColorJitter()(IMAGE, LABEL, None, rng(1))
    assert (image.shape, image.dtype) == (IMAGE.shape, np.uint8)
    assert (image != IMAGE).mean() > 0.5
    assert label is LABEL


def test_blur_smooths_with_its_probability() -> None:
    roughness = [
        np.abs(
            np.diff(GaussianBlur(0.5)(IMAGE, LABEL, None, rng(seed))[0].astype(int), axis=1)
        ).mean()
        for seed in range(60)
    ]
    original = np.abs(np.diff(IMAGE.astype(int), axis=1)).mean()
    assert 15 < sum(one == original for one in roughness) < 45
    assert max(roughness) == original
    assert min(roughness) < 0.6 * original


def test_blur_of_probability_zero_changes_nothing() -> None:
    assert (GaussianBlur(0.0)(IMAGE, LABEL, None, rng())[0] == IMAGE).all()


def test_the_bilateral_blur_keeps_edges_and_smooths_the_rest() -> None:
    noise = rng().normal(0, 4, (32, 32, 3))
    image = np.clip(np.where(np.arange(32)[:, None] < 16, 40, 210) + noise, 0, 255).astype(np.uint8)
    bilateral, gaussian = (
        blur.blurred(image, 1.3).astype(int) for blur in (BilateralBlur(), GaussianBlur())
    )
    step = [abs(one[:, 16].mean() - one[:, 15].mean()) for one in (bilateral, gaussian)]
    assert step[0] > 160 > 130 > step[1]
    assert bilateral[:, :12].std() < 0.6 * image[:, :12].std()


@pytest.mark.parametrize("strengths", [(-0.1, 0, 0, 0), (0, 0, 0, 0.6)])
def test_strengths_outside_their_range_are_refused(strengths: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match=r"hue is at most 0\.5 \(--color_aug\)"):
        ColorJitter(*strengths)
