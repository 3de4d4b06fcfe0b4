from __future__ import annotations

import datasets
from tools.maintainer.figures import sfnets


def test_the_scene_shows_the_colors_of_cityscapes_as_its_prediction() -> None:
    image, prediction = sfnets.scene()
    assert image.shape == prediction.shape == (*sfnets.SCENE, 3)
    spec = datasets.spec("cityscapes")
    shown = {tuple(color) for color in prediction.reshape(-1, 3).tolist()}
    assert shown == {tuple(spec.palette[spec.names.index(name)].tolist()) for name in sfnets.PAINT}


def test_the_flow_is_strongest_along_its_curve() -> None:
    colors = sfnets.flow_tile((0.4, 0.0), 0.5)
    assert colors.shape == (150, 300, 3)
    # the color of a short vector is near white, that of a long one is full
    assert colors[0, 0].min() > colors.min() + 50
