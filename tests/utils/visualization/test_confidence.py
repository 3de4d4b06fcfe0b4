from __future__ import annotations

import numpy as np

from utils.visualization import confidence


def test_lightness_grows_with_confidence() -> None:
    ramp = confidence.colors(np.linspace(0, 1, 256)[None])[0].astype(float)
    lightness = ramp @ (0.2126, 0.7152, 0.0722)
    assert lightness[-1] > lightness[0] + 100
    assert (np.diff(lightness) > -2).all()
    assert np.array_equal(confidence.colors(np.array([[-1.0, 2.0]])),
                          confidence.colors(np.array([[0.0, 1.0]])))


def test_the_legend_has_the_colors_of_its_values() -> None:
    rows = confidence.legend()
    assert [text for _, text in rows] == ["0 %", "25 %", "50 %", "75 %", "100 %"]
    assert rows[-1][0] == tuple(confidence.colors(np.ones((1, 1)))[0, 0].tolist())
    bar = confidence.bar(200)
    assert bar.shape == (24, 200, 3)
    assert tuple(bar[0, 0].tolist()) == rows[0][0]


def test_a_sheet_shows_the_image_and_each_map_with_its_mean() -> None:
    image = np.zeros((100, 300, 3), np.uint8)
    values = np.full((50, 150), 0.25, np.float32)
    sheet = confidence.sheet(image, {"probability": values, "margin": values})
    assert sheet.shape[1] > 3 * 300
    found = (sheet == confidence.colors(np.array([[0.25]]))[0, 0]).all(2).sum()
    assert found >= 2 * 100 * 300
    assert confidence.title("margin", values) == "Margin to the second class: mean 25.0 %"
