"""The picture of overlays."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from datasets.listing import Sample
from datasets.spec import ClassInfo, DatasetSpec
from tools.check_dataset.sheet import THUMBNAIL, draw_sheet, evenly_chosen, thumbnail

SPEC = DatasetSpec(
    name="tiny",
    title="Tiny",
    classes=(ClassInfo("road", (200, 0, 0)), ClassInfo("car", (0, 0, 200))),
    layouts=(),
    splits={},
    hint="",
)


def samples(count: int) -> list[Sample]:
    return [Sample(str(k), Path(f"{k}.png"), Path(f"{k}_label.png"), SPEC) for k in range(count)]


def test_images_are_spread_evenly_over_and_within_the_splits() -> None:
    chosen = evenly_chosen({"train": samples(9), "empty": [], "val": samples(2)}, 5)
    assert [(split, sample.name) for split, sample in chosen] == [
        ("train", "0"),
        ("train", "4"),
        ("train", "8"),
        ("val", "0"),
        ("val", "1"),
    ]


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        # 3 times larger, and 16 times smaller
        ((80, 160), (240, THUMBNAIL, 3)),
        ((9600, 10), (THUMBNAIL, THUMBNAIL, 3)),
    ],
)
def test_a_thumbnail_has_a_fixed_width_and_at_most_that_height(
    size: tuple[int, int], expected: tuple[int, int, int]
) -> None:
    picture = thumbnail(np.zeros((*size, 3), np.uint8), np.zeros(size, np.uint8), SPEC.palette)
    assert picture.shape == expected


def test_a_sheet_shows_the_colors_of_the_labels(tmp_path: Path) -> None:
    pair = Sample("a", tmp_path / "a.png", tmp_path / "b.png", SPEC)
    label = np.zeros((40, 60), np.uint8)
    label[:, 30:] = 1
    cv2.imwrite(str(pair.image), np.full((40, 60, 3), 100, np.uint8))
    cv2.imwrite(str(pair.label), label)
    sheet = draw_sheet(SPEC, {"train": [pair], "val": [pair]}, 2).astype(int)
    assert sheet.shape[1] > 2 * THUMBNAIL
    reddish = (sheet[..., 0] - sheet[..., 2] > 60).mean()
    bluish = (sheet[..., 2] - sheet[..., 0] > 60).mean()
    assert reddish == pytest.approx(bluish, rel=0.2)
    assert reddish > 0.2


@pytest.mark.parametrize("name", ["caf\udce9", "道路", "a\x01b"])
def test_any_name_is_drawn(tmp_path: Path, name: str) -> None:
    pair = Sample(name, tmp_path / "a.png", tmp_path / "b.png", SPEC)
    cv2.imwrite(str(pair.image), np.full((40, 60, 3), 100, np.uint8))
    cv2.imwrite(str(pair.label), np.zeros((40, 60), np.uint8))
    assert draw_sheet(SPEC, {"train": [pair]}, 1).any()
