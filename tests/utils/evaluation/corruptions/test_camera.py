from __future__ import annotations

import numpy as np
import pytest

from utils.evaluation.corruptions import camera


@pytest.mark.parametrize(("length", "degrees"), [(5, 0), (5, 90), (9, 30), (0.2, 45)])
def test_a_line_kernel_is_symmetric_and_keeps_the_brightness(length: float,
                                                             degrees: float) -> None:
    kernel = camera.line_kernel(length, degrees)
    assert kernel.sum() == pytest.approx(1) and kernel.shape[0] % 2 == 1
    assert np.allclose(kernel, kernel[::-1, ::-1], atol=0.1)
    if degrees == 0:
        assert (kernel[kernel.shape[0] // 2] > 0).all() and (kernel > 0).sum() == kernel.shape[0]


def test_blur_leaves_a_flat_image_as_it_is() -> None:
    flat = np.full((100, 80, 3), 77, np.uint8)
    rng = np.random.default_rng(0)
    for severity in (1, 5):
        assert (camera.motion(flat, severity, rng) == 77).all()
        assert (camera.defocus(flat, severity, rng) == 77).all()
        assert (camera.contrast(flat, severity, rng) == 77).all()


def test_noise_has_its_level() -> None:
    flat = np.full((200, 200, 3), 128, np.uint8)
    noisy = camera.noise(flat, 1, np.random.default_rng(0)).astype(float)
    # 4 % of 255
    assert noisy.std() == pytest.approx(10.2, rel=0.03)
    assert noisy.mean() == pytest.approx(128, abs=0.3)


def test_contrast_keeps_the_mean_and_scales_the_differences() -> None:
    image = np.zeros((10, 10, 3), np.uint8)
    image[:5] = 200
    # severity 5 leaves a tenth: 100 - 10 and 100 + 10
    assert np.unique(camera.contrast(image, 5, np.random.default_rng(0))).tolist() == [90, 110]
