from __future__ import annotations

import numpy as np
import pytest

from utils.report import gallery


@pytest.mark.parametrize("count", [1, 2, 7, 10, 50])
def test_images_are_chosen_once_from_both_ends_and_from_between(count: int) -> None:
    ranking = np.random.default_rng(1).permutation(30).astype(float)
    ranking[4] = np.nan
    choices = gallery.choose(ranking, count, ("low", "high", "other"))
    indices = [choice.index for choice in choices]
    assert len(indices) == len(set(indices)) == min(count, 29)
    assert 4 not in indices
    low, high, other = ([ranking[choice.index] for choice in choices if choice.group == group]
                        for group in ("low", "high", "other"))
    assert low == sorted(low) and high == sorted(high, reverse=True)
    assert max(low, default=0) < min([*high, *other], default=99)
    assert max(other, default=0) < min(high, default=99)


def test_layers_shrink_until_they_fit() -> None:
    widths = []

    def layers(width: int) -> dict[str, str]:
        widths.append(width)
        return {"a": "x" * (width * 500)}

    assert len(gallery._shrink_to_fit(layers)["a"]) <= gallery.MAX_BYTES < widths[-2] * 500
    assert widths == list(gallery.WIDTHS[:len(widths)])


def test_a_page_of_fifty_noisy_large_images_stays_under_20_megabytes() -> None:
    """Noise is the worst case for compression; the smallest width must still fit."""
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (512, 1024, 3), np.uint8)
    ids = rng.integers(0, 19, (512, 1024), np.uint8)
    palette = np.zeros((256, 3), np.uint8)
    layers = gallery._shrink_to_fit(
        lambda width: gallery._single_layers(image, ids, ids, {}, palette, width))
    size = sum(map(len, layers.values())) + len(gallery._thumbnail(image))
    assert 50 * size < 20e6
