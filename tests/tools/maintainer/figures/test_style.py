from __future__ import annotations

import numpy as np
import pytest

from tools.maintainer.figures import style


@pytest.mark.parametrize(("arch", "title"), [
    ("sfnet_lite_resnet18", "SFNet-Lite"), ("sfnet_dfnetv1", "SFNet"), ("fpn_stdc1", "FPN"),
    ("pspnet_resnet50", "other"),
])
def test_an_architecture_is_drawn_as_its_decoder(arch: str, title: str) -> None:
    assert style.decoder(arch).title == title


def test_ticks_outside_of_a_logarithmic_axis_are_left_out() -> None:
    pytest.importorskip("matplotlib")
    _, axis = style.new_figure(2)
    axis.set_xscale("log")
    axis.set_xlim(0.5, 20)
    style.plain_ticks(axis, (0.2, 1, 5, 20, 50))
    assert [label.get_text() for label in axis.get_xticklabels()] == ["1", "5", "20"]


def test_both_themes_can_be_read() -> None:
    for theme in style.THEMES:
        channels = [[int(color[i : i + 2], 16) for i in (1, 3, 5)]
                    for color in (theme.page, theme.ink)]
        assert abs(sum(channels[0]) - sum(channels[1])) > 3 * 128


def test_rounded_colors_keep_the_page_and_move_by_half_a_step() -> None:
    pixels = np.arange(256, dtype=np.uint8)[:, None, None].repeat(3, 2)
    pixels = np.concatenate([np.full((1, 1, 3), (13, 17, 23), np.uint8), pixels])
    rounded = style.rounded(pixels)
    assert rounded[0, 0].tolist() == [13, 17, 23]
    assert np.abs(rounded.astype(int) - pixels).max() == style.COLOR_STEP / 2
    assert len(np.unique(rounded[:, 0, 0])) == 256 / style.COLOR_STEP
