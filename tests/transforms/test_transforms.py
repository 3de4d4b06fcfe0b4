"""The training transform and its flags."""

import inspect
import pickle

import numpy as np
import pytest

import transforms
from transforms import BilateralBlur, ColorJitter, Compose, GaussianBlur, RandomFlip, RandomScaleCrop
from utils.cli import FlagParser

IMAGE = np.random.default_rng(0).integers(0, 256, (30, 40, 3), dtype=np.uint8)
LABEL = np.arange(1200, dtype=np.uint16).reshape(30, 40).astype(np.uint8)


def parse(*words: str) -> dict:
    parser = FlagParser()
    transforms.add_flags(parser)
    return vars(parser.parse_args(words))


def kinds(transform: Compose) -> list[type]:
    return [type(step) for step in transform.transforms]


def test_the_crop_comes_first() -> None:
    assert kinds(transforms.train_transform((8, 8))) == [RandomScaleCrop, RandomFlip, ColorJitter, GaussianBlur]


def test_each_part_can_be_left_out() -> None:
    assert kinds(transforms.train_transform((8, 8), flip=False, color_aug=0, gblur=False)) == [RandomScaleCrop]


def test_one_generator_gives_one_sample() -> None:
    transform = transforms.train_transform((16, 12))
    ours, theirs = (one(IMAGE, LABEL, (3, 4), np.random.default_rng(9)) for one in (
        transform, pickle.loads(pickle.dumps(transform))))
    assert ours[0].shape == (16, 12, 3)
    assert all((one == other).all() for one, other in zip(ours, theirs, strict=True))
    assert (transform(IMAGE, LABEL, None, np.random.default_rng(10))[0] != ours[0]).any()


def test_only_the_first_transform_sees_the_focus() -> None:
    seen = []

    def spy(image: np.ndarray, label: np.ndarray, focus: object, rng: np.random.Generator) -> tuple:
        seen.append(focus)
        return image, label

    Compose([spy, spy])(IMAGE, LABEL, (3, 4), np.random.default_rng(0))
    assert seen == [(3, 4), None]


def test_every_flag_is_a_keyword_with_the_same_default() -> None:
    flags = parse()
    keywords = inspect.signature(transforms.train_transform).parameters
    assert flags.pop("crop_size") is None                   # the dataset's own
    assert flags.pop("augment_on") == "loader"              # how the result is split afterwards
    assert flags == {name: keywords[name].default for name in flags}


def test_sizes_are_height_then_width_and_switches_have_a_no() -> None:
    flags = parse("--crop_size", "360x480", "--no_flip", "--no_gblur")
    assert (flags["crop_size"], flags["flip"], flags["gblur"]) == ((360, 480), False, False)


def test_a_strong_jitter_stops_at_half_a_turn_of_hue() -> None:
    jitter = transforms.train_transform((8, 8), color_aug=0.9).transforms[2]
    assert isinstance(jitter, ColorJitter)
    assert jitter.hue == 0.5


def test_a_strength_of_its_own_wins_over_the_common_one() -> None:
    jitter = transforms.train_transform((8, 8), color_aug=0.1, saturation=0.0, hue=0.4).transforms[2]
    assert isinstance(jitter, ColorJitter)
    assert (jitter.strengths, jitter.hue) == ((0.1, 0.1, 0.0), 0.4)
    alone = transforms.train_transform((8, 8), color_aug=0, brightness=0.3, gblur=False).transforms[-1]
    assert isinstance(alone, ColorJitter)
    assert (alone.strengths, alone.hue) == ((0.3, 0, 0), 0)


def test_the_bilateral_blur_takes_the_place_of_the_gaussian() -> None:
    assert kinds(transforms.train_transform((8, 8), bblur=True))[-1] is BilateralBlur
    assert kinds(transforms.train_transform((8, 8), gblur=False, bblur=True))[-1] is BilateralBlur


def test_a_probability_above_one_is_refused() -> None:
    with pytest.raises(ValueError, match=r"--gblur_prob 1\.5 is not a probability"):
        transforms.train_transform((8, 8), gblur_prob=1.5)
