"""Joint transforms of an image and its label: (image, label, focus, rng) -> (image, label)."""
from __future__ import annotations

from transforms.base import Compose, Transform
from transforms.color import BilateralBlur, ColorJitter, GaussianBlur
from transforms.device import GpuColorAugmentation
from transforms.geometry import RandomFlip, RandomScaleCrop
from transforms.options import TransformOptions, add_flags

__all__ = ["BilateralBlur", "ColorJitter", "Compose", "GaussianBlur", "GpuColorAugmentation",
           "RandomFlip", "RandomScaleCrop", "Transform", "TransformOptions", "add_flags", "build"]


def build(options: TransformOptions) -> tuple[Compose, GpuColorAugmentation | None]:
    """Returns the training transform of the loader, and that of the device or None.

    The crop comes first, so that color and blur change only the pixels that are kept. With
    `augment_on` "device" the loader only computes the geometry and draws the values of color and
    blur for each sample (`GpuColorAugmentation.draw`); otherwise the second value is None.
    """
    geometry, jitter, blur = options.geometry(), options.jitter(), options.blur()
    if options.augment_on == "device":
        return Compose(geometry), GpuColorAugmentation(jitter, blur)
    colors = [transform for transform in (jitter, blur) if transform is not None]
    return Compose([*geometry, *colors]), None
