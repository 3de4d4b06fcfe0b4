"""The flags of the training transform, and the transform that they make."""
from __future__ import annotations

import pickle
from argparse import Namespace
from dataclasses import fields
from typing import Any

import numpy as np
import pytest

import transforms
from transforms import (
    BilateralBlur,
    ColorJitter,
    Compose,
    GaussianBlur,
    RandomFlip,
    RandomScaleCrop,
    TransformOptions,
)
from utils.cli import FlagParser

IMAGE = np.random.default_rng(0).integers(0, 256, (30, 40, 3), dtype=np.uint8)
LABEL = np.arange(1200, dtype=np.uint16).reshape(30, 40).astype(np.uint8)


def parse(*words: str) -> Namespace:
    parser = FlagParser()
    transforms.add_flags(parser)
    return parser.parse_args(words)


def build(**changes: Any) -> Compose:
    options = TransformOptions(**{"crop_size": (8, 8), **changes})
    return transforms.build(options)[0]


def types(transform: Compose) -> list[type]:
    return [type(step) for step in transform.transforms]


def test_the_crop_comes_first() -> None:
    assert types(build()) == [RandomScaleCrop, RandomFlip, ColorJitter, GaussianBlur]


def test_each_transform_can_be_left_out() -> None:
    assert types(build(flip=False, color_aug=0, gblur=False)) == [RandomScaleCrop]


def test_one_generator_gives_one_sample() -> None:
    transform = build(crop_size=(16, 12))
    copy = pickle.loads(pickle.dumps(transform))
    image, label = transform(IMAGE, LABEL, (3, 4), np.random.default_rng(9))
    image_of_copy, label_of_copy = copy(IMAGE, LABEL, (3, 4), np.random.default_rng(9))
    assert image.shape == (16, 12, 3)
    assert (image == image_of_copy).all()
    assert (label == label_of_copy).all()
    assert (transform(IMAGE, LABEL, None, np.random.default_rng(10))[0] != image).any()


def test_every_flag_is_a_field_with_the_same_default() -> None:
    args = parse()
    assert args.crop_size is None                           # the dataset's
    assert vars(args).keys() == {field.name for field in fields(TransformOptions)}
    args.crop_size = (8, 8)
    assert TransformOptions.from_args(args) == TransformOptions((8, 8))


def test_sizes_are_height_then_width_and_switches_have_a_no() -> None:
    options = TransformOptions.from_args(parse("--crop_size", "360x480", "--no_flip", "--no_gblur"))
    assert (options.crop_size, options.flip, options.gblur) == ((360, 480), False, False)


def test_a_crop_size_from_a_json_file_becomes_a_tuple() -> None:
    args = parse()
    args.crop_size = [8, 12]
    assert TransformOptions.from_args(args).crop_size == (8, 12)


def test_a_strong_jitter_stops_at_half_a_turn_of_hue() -> None:
    jitter = build(color_aug=0.9).transforms[2]
    assert isinstance(jitter, ColorJitter)
    assert jitter.hue == 0.5


def test_a_given_strength_replaces_the_common_one() -> None:
    jitter = build(color_aug=0.1, saturation=0.0, hue=0.4).transforms[2]
    assert isinstance(jitter, ColorJitter)
    assert (jitter.strengths, jitter.hue) == ((0.1, 0.1, 0.0), 0.4)
    alone = build(color_aug=0, brightness=0.3, gblur=False).transforms[-1]
    assert isinstance(alone, ColorJitter)
    assert (alone.strengths, alone.hue) == ((0.3, 0, 0), 0)


def test_the_bilateral_blur_replaces_the_gaussian() -> None:
    assert types(build(bblur=True))[-1] is BilateralBlur
    assert types(build(gblur=False, bblur=True))[-1] is BilateralBlur


def test_the_bilateral_blur_works_in_the_loader_only() -> None:
    with pytest.raises(ValueError, match=r"--bblur blurs in the loader only.*--augment_on device"):
        TransformOptions((8, 8), bblur=True, augment_on="device")
    # a blur of probability 0 needs no device
    TransformOptions((8, 8), bblur=True, gblur_prob=0.0, augment_on="device")
    assert isinstance(BilateralBlur(), GaussianBlur)


@pytest.mark.parametrize(("changes", "message"), [
    ({"gblur_prob": 1.5}, r"--gblur_prob 1\.5 is not a probability"),
    ({"gblur_prob": 1.5, "gblur": False}, r"--gblur_prob 1\.5 is not a probability"),
    ({"scale_min": 3.0}, "--scale_min <= --scale_max"),
    ({"rotate": 181.0}, "--rotate 181"),
    ({"hue": 0.6}, "hue is at most 0.5"),
    ({"augment_on": "disk"}, "--augment_on disk is unknown: choose loader or device"),
])
def test_a_value_out_of_range_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TransformOptions((8, 8), **changes)
