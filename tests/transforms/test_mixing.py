"""CutMix, mosaic and copy-paste: every pixel of image and label comes from one source pixel."""
from __future__ import annotations

import pickle
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

import transforms
from transforms import Compose, CopyPaste, CutMix, Mosaic, RandomFlip, RandomScaleCrop
from transforms.base import Focus, Pair
from transforms.geometry import IMAGENET_GRAY
from utils import IGNORE_LABEL

MIXES = {"cutmix": CutMix, "mosaic": Mosaic, "copy_paste": CopyPaste}
CROP = (13, 17)
GEOMETRY = Compose([RandomScaleCrop(CROP, 1, 1), RandomFlip()])


def label_of(image: np.ndarray) -> np.ndarray:
    """The train id, below 5, that belongs to a pixel of `numbered`."""
    row, column, number = (image[..., channel].astype(int) for channel in range(3))
    return ((7 * row + 3 * column + number) % 5).astype(np.uint8)


def numbered(number: int, height: int = 30, width: int = 41) -> Pair:
    """A pair whose pixels tell where they come from: the row, the column and the image's number."""
    image = np.full((height, width, 3), number, np.uint8)
    image[..., 0], image[..., 1] = np.mgrid[:height, :width]
    return image, label_of(image)


@dataclass(frozen=True)
class Images:
    """Partners: images of number 1 to 9, of a size."""

    size: tuple[int, int] = (30, 41)
    train_id: int | None = 2

    def draw(self, rng: np.random.Generator) -> Pair:
        return numbered(int(rng.integers(1, 10)), *self.size)

    def draw_of_class(self, rng: np.random.Generator) -> tuple[Pair, Focus, int] | None:
        if self.train_id is None:
            return None
        pair = self.draw(rng)
        row, column = rng.choice(np.argwhere(pair[1] == self.train_id)).tolist()
        return pair, (column, row), self.train_id


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def mixed(name: str, seed: int, probability: float = 1.0, **partners: Any) -> Pair:
    """The crop of image 0 with another mixed in."""
    mix = MIXES[name](probability, GEOMETRY, Images(**partners))
    generator = rng(seed)
    return mix(*GEOMETRY(*numbered(0), None, generator), None, generator)


def sources(image: np.ndarray) -> set[int]:
    return set(image[..., 2].ravel().tolist())


@pytest.mark.parametrize("changes", [
    {"cutmix": 1.0}, {"mosaic": 1.0}, {"copy_paste": 1.0},
    {"cutmix": 0.7, "mosaic": 0.7, "copy_paste": 0.7},
], ids=lambda changes: " ".join(changes))
@pytest.mark.parametrize(("size", "partner_size"), [
    ((30, 41), (30, 41)), ((13, 17), (14, 17)), ((7, 41), (30, 9)), ((3, 2), (1, 1)),
], ids=str)
def test_image_and_label_come_from_one_source_pixel(
    changes: dict[str, float], size: tuple[int, int], partner_size: tuple[int, int]
) -> None:
    options = transforms.TransformOptions(CROP, 1, 1, color_aug=0, gblur=False, **changes)
    transform = transforms.build(options)[0]
    assert isinstance(transform, transforms.MixingCompose)
    seen = set()
    for seed in range(12):
        # the train id of a lone pixel (0, 0) of image number n is n % 5
        partners = Images(partner_size, train_id=None if partner_size == (1, 1) else 2)
        image, label = transform.with_partners(partners)(*numbered(0, *size), None, rng(seed))
        assert (image.shape, label.shape) == ((*CROP, 3), CROP)
        kept = label != IGNORE_LABEL
        assert (label[kept] == label_of(image)[kept]).all()
        assert (image[~kept] == IMAGENET_GRAY).all()
        seen |= sources(image)
    assert len(seen) > 3 or partner_size == (1, 1)


@pytest.mark.parametrize("name", MIXES)
def test_a_mix_follows_the_scale_crop_rotation_and_flip_of_each_image(name: str) -> None:
    crops = []

    def recorded(*arguments: Any) -> Pair:
        crops.append(geometry(*arguments))
        return crops[-1]

    geometry = Compose([RandomScaleCrop(CROP, 0.5, 2.0, rotate=20), RandomFlip()])
    for seed in range(10):
        crops.clear()
        generator = rng(seed)
        own = geometry(*numbered(0), None, generator)
        image, label = MIXES[name](1.0, recorded, Images())(*own, None, generator)
        # each pixel is that of one of the crops, at its place, in image and label alike
        matches = [(image == crop[0]).all(2) & (label == crop[1]) for crop in (own, *crops)]
        assert np.logical_or.reduce(matches).all()
        assert len(crops) == (3 if name == "mosaic" else 1)


def test_cutmix_replaces_a_rectangle_of_a_uniform_share() -> None:
    shares = []
    for seed in range(300):
        image, _ = mixed("cutmix", seed)
        other = image[..., 2] > 0
        rows, columns = np.flatnonzero(other.any(1)), np.flatnonzero(other.any(0))
        # a rectangle: as many pixels as its sides make
        assert other.sum() == len(rows) * len(columns)
        assert len(sources(image)) <= 2
        shares.append(other.mean())
    assert 0.45 < np.mean(shares) < 0.55 and min(shares) < 0.05 and max(shares) > 0.95
    # of the values uniform in [0, 1], a quarter is below 1/4
    assert 0.18 < np.mean(np.array(shares) < 0.25) < 0.32


def test_a_mosaic_joins_four_parts_one_of_which_is_the_samples() -> None:
    corners, meetings = set(), set()
    for seed in range(200):
        parts = mixed("mosaic", seed)[0][..., 2]
        own = np.argwhere(parts == 0)
        top, left, bottom, right = *own.min(0), *own.max(0) + 1
        assert (parts[top:bottom, left:right] == 0).all()
        corners.add((top == 0, left == 0))
        meetings.add(bottom if top == 0 else top)
    assert corners == {(True, True), (True, False), (False, True), (False, False)}
    # 13 rows meet between round(3.25) and round(9.75)
    assert meetings == set(range(3, 11))


def test_copy_paste_takes_the_pixels_of_a_class_and_no_others() -> None:
    for seed in range(20):
        generator = rng(seed)
        before = GEOMETRY(*numbered(0), None, generator)
        image, label = CopyPaste(1.0, GEOMETRY, Images(train_id=4))(*before, None, generator)
        pasted = image[..., 2] > 0
        assert pasted.any() and (label[pasted] == 4).all()
        assert (image[~pasted] == before[0][~pasted]).all()
        assert (label[~pasted] == before[1][~pasted]).all()


def test_a_class_that_no_other_image_holds_is_not_pasted() -> None:
    image, _ = mixed("copy_paste", 0, train_id=None)
    assert sources(image) == {0}


@pytest.mark.parametrize("name", MIXES)
def test_the_crop_and_the_partner_are_left_as_they_were(name: str) -> None:
    image, label = numbered(0, *CROP)
    image.flags.writeable = label.flags.writeable = False
    changed, _ = MIXES[name](1.0, GEOMETRY, Images())(image, label, None, rng())
    assert sources(changed) > {0}


@pytest.mark.parametrize("name", MIXES)
def test_as_many_crops_are_mixed_as_the_probability_says(name: str) -> None:
    changed = [sources(mixed(name, seed, probability=0.3)[0]) != {0} for seed in range(300)]
    assert 0.2 < np.mean(changed) < 0.4


@pytest.mark.parametrize("name", MIXES)
def test_one_generator_gives_one_mix(name: str) -> None:
    mix = MIXES[name](1.0, GEOMETRY, Images())
    image, label = mix(*numbered(0, *CROP), None, rng(3))
    again, label_again = pickle.loads(pickle.dumps(mix))(*numbered(0, *CROP), None, rng(3))
    assert (image == again).all() and (label == label_again).all()


def test_without_a_mix_no_random_number_is_drawn() -> None:
    options = transforms.TransformOptions(CROP)
    assert type(transforms.build(options)[0]) is Compose
    assert options.mixes() == [] and options.operations() is None


def test_without_partners_the_way_to_them_is_named() -> None:
    with pytest.raises(ValueError, match=r"--cutmix has no other images.*datasets\.add_partners"):
        CutMix(1.0, GEOMETRY)(*numbered(0, *CROP), None, rng())


@pytest.mark.parametrize("name", MIXES)
@pytest.mark.parametrize("probability", [-0.1, 1.1, float("nan")])
def test_what_is_no_probability_is_refused(name: str, probability: float) -> None:
    with pytest.raises(ValueError, match=rf"--{name} {probability} is not a probability: give a"):
        transforms.TransformOptions(CROP, **{name: probability})
