"""Scale, crop and flip: image and label stay on each other, and only the label tells padding."""
from __future__ import annotations

import pickle

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from transforms import RandomFlip, RandomScaleCrop
from utils import IGNORE_LABEL

FILL = (124, 116, 104)


def ramp(height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """An image whose channels are its rows and columns, and a label that is its column."""
    rows, columns = np.mgrid[:height, :width].astype(np.uint8)
    return np.dstack([rows, columns, rows]), columns.copy()


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


@given(
    seed=st.integers(0, 2**31),
    scale=st.floats(0.4, 2.5),
    height=st.integers(1, 60),
    width=st.integers(1, 60),
)
@settings(max_examples=150, deadline=None)
def test_image_and_label_stay_on_each_other(
    seed: int, scale: float, height: int, width: int
) -> None:
    image, label = RandomScaleCrop((24, 32), scale, scale)(*ramp(height, width), None, rng(seed))
    assert (image.shape, label.shape) == ((24, 32, 3), (24, 32))
    kept = label != IGNORE_LABEL
    assert kept.any()
    # Nearest and bilinear differ by at most half a source pixel, by area at most one more; 1 of
    # rounding.
    allowed = 1.5 if scale >= 0.5 else 2.5
    assert np.abs(image[..., 1].astype(int) - label)[kept].max() <= allowed
    assert (image[~kept] == FILL).all()


def test_scale_one_copies_a_window_of_the_source() -> None:
    source, labels = ramp(40, 50)
    image, label = RandomScaleCrop((24, 32), 1, 1)(source, labels, None, rng(1))
    top, left = image[0, 0, :2]
    assert (image == source[top : top + 24, left : left + 32]).all()
    assert (label == labels[top : top + 24, left : left + 32]).all()


def test_scale_two_shows_half_as_much_at_twice_the_size() -> None:
    image, _ = RandomScaleCrop((24, 32), 2, 2)(*ramp(40, 50), None, rng(2))
    assert abs(int(image[-1, 0, 0]) - int(image[0, 0, 0]) - 11.5) <= 1
    assert abs(int(image[0, -1, 1]) - int(image[0, 0, 1]) - 15.5) <= 1


def test_a_source_larger_by_the_scale_is_resized_whole() -> None:
    image, label = RandomScaleCrop((20, 30), 0.5, 0.5)(*ramp(40, 60), None, rng(3))
    # Each output pixel is the mean of 2x2 source pixels: columns 0, 1 -> 0.5, then 2.5, ...; OpenCV
    # rounds halves up.
    assert image[7, :4, 1].tolist() in ([1, 3, 5, 7], [0, 2, 4, 6])
    assert (np.diff(label[0].astype(int)) == 2).all()


def test_a_crop_larger_than_the_image_is_padded_with_fill_and_ignored() -> None:
    image, label = RandomScaleCrop((24, 32), 1, 1, fill=(1, 2, 3))(*ramp(10, 12), None, rng(4))
    inside = label != IGNORE_LABEL
    assert inside.sum() == 10 * 12
    assert (image[~inside] == (1, 2, 3)).all()
    assert sorted(np.unique(image[inside][:, 0])) == list(range(10))


def test_a_small_image_may_lie_anywhere_in_its_crop() -> None:
    crop = RandomScaleCrop((8, 8), 1, 1)
    places = {
        tuple(np.argwhere(crop(*ramp(6, 6), None, rng(seed))[1] != IGNORE_LABEL)[0])
        for seed in range(100)
    }
    assert places == {(top, left) for top in range(3) for left in range(3)}


def test_every_window_of_the_image_is_drawn() -> None:
    crop = RandomScaleCrop((6, 6), 1, 1)
    corners = {tuple(crop(*ramp(8, 9), None, rng(seed))[0][0, 0, :2]) for seed in range(200)}
    assert corners == {(top, left) for top in range(3) for left in range(4)}


@given(
    seed=st.integers(0, 2**31), scale=st.floats(0.5, 2), x=st.integers(0, 49), y=st.integers(0, 39)
)
@settings(max_examples=150, deadline=None)
def test_a_crop_contains_its_focus(seed: int, scale: float, x: int, y: int) -> None:
    image, label = RandomScaleCrop((24, 32), scale, scale)(*ramp(40, 50), (x, y), rng(seed))
    rows, columns = (image[..., channel][label != IGNORE_LABEL].astype(int) for channel in (0, 1))
    # At half size the outermost pixel is a mean of two, so the focus may be half a pixel outside
    # the values shown.
    assert rows.min() - 1 <= y <= rows.max() + 1
    assert columns.min() - 1 <= x <= columns.max() + 1


def test_at_scale_one_the_focus_itself_is_in_the_crop() -> None:
    crop = RandomScaleCrop((7, 5), 1, 1)
    for seed in range(200):
        x, y = int(rng(seed).integers(50)), int(rng(seed + 1).integers(40))
        image, _ = crop(*ramp(40, 50), (x, y), rng(seed))
        assert ((image[..., 0] == y) & (image[..., 1] == x)).any()


def test_the_source_is_left_as_it_was() -> None:
    image, label = ramp(30, 30)
    for array in (image, label):
        array.flags.writeable = False                       # as a read-only memory map is
    cropped, cropped_label = RandomScaleCrop((30, 30), 1, 1)(image, label, None, rng())
    assert cropped.flags.writeable
    assert cropped_label.flags.writeable
    assert not np.shares_memory(cropped, image)


def test_flipping_twice_is_the_identity() -> None:
    flip, (image, label) = RandomFlip(1.0), ramp(5, 7)
    once = flip(image, label, None, rng())
    assert (once[0][:, ::-1] == image).all()
    assert (once[1][:, ::-1] == label).all()
    twice = flip(*once, None, rng())
    assert (twice[0] == image).all()
    assert (twice[1] == label).all()


def test_half_of_the_images_are_flipped() -> None:
    image, label = ramp(2, 3)
    flipped = [RandomFlip()(image, label, None, rng(seed))[1][0, 0] == 2 for seed in range(400)]
    assert 0.4 < np.mean(flipped) < 0.6


def test_a_crop_survives_pickling() -> None:
    crop = RandomScaleCrop((9, 8))
    ours, theirs = (
        one(*ramp(40, 50), None, rng(5)) for one in (crop, pickle.loads(pickle.dumps(crop)))
    )
    assert (ours[0] == theirs[0]).all()


@given(seed=st.integers(0, 2**31), x=st.integers(2, 47), y=st.integers(2, 37))
@settings(max_examples=100, deadline=None)
def test_a_turned_crop_still_contains_its_focus_and_its_label_lies_on_the_image(
    seed: int, x: int, y: int
) -> None:
    image, label = RandomScaleCrop((24, 32), 0.7, 1.5, FILL, rotate=180)(
        *ramp(40, 50), (x, y), rng(seed)
    )
    kept = label != IGNORE_LABEL
    distance = np.hypot(image[..., 0].astype(int) - y, image[..., 1].astype(int) - x)
    assert distance[kept].min() <= 1.5
    inside = cv2.erode(kept.astype(np.uint8), np.ones((5, 5), np.uint8), borderValue=0).astype(bool)
    # at the border the fill mixes in
    assert np.abs(image[..., 1].astype(int) - label)[inside].max(initial=0) <= 2
    outside = cv2.erode((~kept).astype(np.uint8), np.ones((5, 5), np.uint8), borderValue=0).astype(
        bool
    )
    assert (image[outside] == FILL).all()


def test_turning_is_about_the_center_by_the_drawn_angle() -> None:
    class Chance:
        """Draws scale 1, the only place, and 90 degrees."""

        def uniform(self, low: float, high: float) -> float:
            return high

        def integers(self, low: int, high: int) -> int:
            return low

    source, labels = ramp(21, 21)
    image, label = RandomScaleCrop((21, 21), 1, 1, rotate=90)(source, labels, None, Chance())
    assert (image == np.rot90(source)).all() or (image == np.rot90(source, -1)).all()
    assert (label == image[..., 1]).all()


def test_without_turning_the_same_chance_gives_the_same_crop() -> None:
    still, turned = (RandomScaleCrop((24, 32), rotate=degrees)(*ramp(60, 70), None, rng(8))
                     for degrees in (0, 1e-6))
    kept = (still[1] != IGNORE_LABEL) & (turned[1] != IGNORE_LABEL)
    assert kept.mean() > 0.9
    assert np.abs(still[0].astype(int) - turned[0])[kept].max() <= 1


def test_an_angle_out_of_range_is_refused() -> None:
    with pytest.raises(ValueError, match=r"--rotate -3 is out of range"):
        RandomScaleCrop((4, 4), rotate=-3)


@pytest.mark.parametrize(("scale_min", "scale_max"), [(2.0, 0.5), (0.0, 1.0), (-1.0, 1.0)])
def test_scales_that_are_no_range_are_refused(scale_min: float, scale_max: float) -> None:
    with pytest.raises(ValueError, match="give 0 < --scale_min <= --scale_max"):
        RandomScaleCrop((4, 4), scale_min, scale_max)
