"""Joint transforms of an image and its label, (image, label, focus, rng) -> (image, label), and their flags."""
from __future__ import annotations

from argparse import ArgumentParser

from transforms.base import Compose, Transform
from transforms.colour import ColorJitter, GaussianBlur
from transforms.geometry import IMAGENET_GREY, RandomFlip, RandomScaleCrop
from utils.flags import add_switch, size

__all__ = ["ColorJitter", "Compose", "GaussianBlur", "RandomFlip", "RandomScaleCrop", "Transform", "add_flags",
           "train_transform"]


def train_transform(crop_size: tuple[int, int], scale_min: float = 0.5, scale_max: float = 2.0, flip: bool = True,
                    color_aug: float = 0.25, gblur: bool = True, gblur_prob: float = 0.5,
                    fill: tuple[int, int, int] = IMAGENET_GREY) -> Compose:
    """Builds the training transform: the crop first, so that colour and blur touch only what is kept.

    Args:
        crop_size: (height, width) in pixels.
        color_aug: strength of the colour jitter; 0 leaves it out. The hue's strength stops at 0.5.
        fill: RGB of padding, in [0, 255].

    Raises:
        ValueError: a value lies outside its range.
    """
    if not 0 <= gblur_prob <= 1:
        raise ValueError(f"--gblur_prob {gblur_prob} is not a probability: give a number from 0 to 1.")
    steps: list[Transform] = [RandomScaleCrop(crop_size, scale_min, scale_max, fill)]
    if flip:
        steps.append(RandomFlip())
    if color_aug:
        steps.append(ColorJitter(color_aug, color_aug, color_aug, min(color_aug, 0.5)))
    if gblur and gblur_prob:
        steps.append(GaussianBlur(gblur_prob))
    return Compose(steps)


def add_flags(parser: ArgumentParser) -> None:
    """Declares the flags of group "Transforms"; their destinations are the keywords of `train_transform`."""
    group = parser.add_argument_group("Transforms")
    group.add_argument("--crop_size", type=size, help="training crop in pixels, N or HEIGHTxWIDTH; when not given, the "
                       "one that DATASETs.md names for the dataset")
    group.add_argument("--scale_min", type=float, default=0.5, help="smallest random scale")
    group.add_argument("--scale_max", type=float, default=2.0, help="largest random scale")
    add_switch(group, "--flip", default=True, help="mirror half of the images left and right")
    group.add_argument("--color_aug", type=float, default=0.25,
                       help="strength of random brightness, contrast, saturation and hue; 0 turns them off")
    add_switch(group, "--gblur", default=True, help="blur some images by a Gaussian")
    group.add_argument("--gblur_prob", type=float, default=0.5, help="share of the images that --gblur blurs")
