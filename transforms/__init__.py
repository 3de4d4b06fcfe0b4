"""Joint transforms of an image and its label, (image, label, focus, rng) -> (image, label), and their flags."""
from __future__ import annotations

from argparse import ArgumentParser

from transforms.base import Compose, Transform
from transforms.color import BilateralBlur, ColorJitter, GaussianBlur
from transforms.device import GpuColorAugmentation, split_for_device
from transforms.geometry import IMAGENET_GRAY, RandomFlip, RandomScaleCrop
from utils.cli import add_switch, size

__all__ = ["BilateralBlur", "ColorJitter", "Compose", "GpuColorAugmentation", "GaussianBlur", "RandomFlip", "RandomScaleCrop",
           "Transform", "add_flags", "split_for_device", "train_transform"]


def train_transform(crop_size: tuple[int, int], scale_min: float = 0.5, scale_max: float = 2.0, rotate: float = 0.0,
                    flip: bool = True, color_aug: float = 0.25, brightness: float | None = None,
                    contrast: float | None = None, saturation: float | None = None, hue: float | None = None,
                    gblur: bool = True, bblur: bool = False, gblur_prob: float = 0.5,
                    fill: tuple[int, int, int] = IMAGENET_GRAY) -> Compose:
    """Builds the training transform: the crop first, so that color and blur touch only what is kept.

    Args:
        crop_size: (height, width) in pixels.
        rotate: largest angle in degrees.
        color_aug: strength of the color jitter where none of its own is given; 0 leaves it out. As the hue's strength
            it stops at 0.5.
        bblur: blurs by a bilateral filter instead of a Gaussian.
        fill: RGB of padding, in [0, 255].

    Raises:
        ValueError: a value lies outside its range.
    """
    steps: list[Transform] = [RandomScaleCrop(crop_size, scale_min, scale_max, fill, rotate)]
    if flip:
        steps.append(RandomFlip())
    own = (brightness, contrast, saturation, hue)
    strengths = [common if one is None else one for one, common in zip(own, (*[color_aug] * 3, min(color_aug, 0.5)),
                                                                       strict=True)]
    if any(strengths):
        steps.append(ColorJitter(*strengths))
    blur = (BilateralBlur if bblur else GaussianBlur)(gblur_prob)
    if (gblur or bblur) and gblur_prob:
        steps.append(blur)
    return Compose(steps)


def add_flags(parser: ArgumentParser) -> None:
    """Declares the flags of group "Transforms"; but for `augment_on` they are the keywords of `train_transform`."""
    group = parser.add_argument_group("Transforms")
    group.add_argument("--crop_size", type=size, help="training crop in pixels, N or HEIGHTxWIDTH; when not given, the "
                       "one that DATASETs.md names for the dataset")
    group.add_argument("--scale_min", type=float, default=0.5, help="smallest random scale")
    group.add_argument("--scale_max", type=float, default=2.0, help="largest random scale")
    group.add_argument("--rotate", type=float, default=0.0, metavar="DEGREES",
                       help="largest random rotation; 0 is none")
    add_switch(group, "--flip", default=True, help="mirror half of the images left and right")
    group.add_argument("--color_aug", type=float, default=0.25,
                       help="strength of random brightness, contrast, saturation and hue; 0 turns them off")
    for name in ("brightness", "contrast", "saturation"):
        group.add_argument(f"--{name}", type=float, help=f"strength of random {name}, instead of --color_aug's")
    group.add_argument("--hue", type=float, help="strength of random hue in turns, 0 to 0.5, instead of --color_aug's")
    add_switch(group, "--gblur", default=True, help="blur some images by a Gaussian")
    add_switch(group, "--bblur", default=False, help="blur by an edge-keeping bilateral filter instead of a Gaussian")
    group.add_argument("--gblur_prob", type=float, default=0.5, help="share of the images that are blurred")
    group.add_argument("--augment_on", choices=("loader", "device"), default="loader", help="where color and Gaussian "
                       "blur are computed: in the loader's processes, or batched on the training device")
