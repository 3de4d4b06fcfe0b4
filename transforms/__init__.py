"""Joint transforms of an image and its label: (image, label, focus, rng) -> (image, label)."""
from __future__ import annotations

from transforms.base import Compose, Transform
from transforms.color import BilateralBlur, ColorJitter, GaussianBlur
from transforms.device import GpuColorAugmentation
from transforms.geometry import RandomFlip, RandomScaleCrop
from transforms.mixing import CopyPaste, CutMix, MixingCompose, Mosaic
from transforms.options import TransformOptions, add_flags
from transforms.randaugment import RandAugment

__all__ = ["BilateralBlur", "ColorJitter", "Compose", "CopyPaste", "CutMix", "GaussianBlur",
           "GpuColorAugmentation", "MixingCompose", "Mosaic", "RandAugment", "RandomFlip",
           "RandomScaleCrop", "Transform", "TransformOptions", "add_flags", "build"]


def build(options: TransformOptions) -> tuple[Compose, GpuColorAugmentation | None]:
    """Returns the training transform of the loader, and that of the device or None.

    The crop comes first, so that the others change only the pixels that are kept. With
    `augment_on` "device" the loader only computes the geometry, mixes images and draws the values
    of RandAugment, color and blur for each sample (`GpuColorAugmentation.draw`); otherwise the
    second value is None.
    """
    mixes = options.mixes()
    randaugment, jitter, blur = options.operations(), options.jitter(), options.blur()
    on_device = None
    steps = [*options.geometry(), *mixes]
    if options.augment_on == "device":
        on_device = GpuColorAugmentation(jitter, blur, randaugment)
    else:
        steps += [transform for transform in (randaugment, jitter, blur) if transform is not None]
    transform = MixingCompose(steps, options.pasted_classes) if mixes else Compose(steps)
    return transform, on_device
