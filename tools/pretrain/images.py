"""The images of a classifier: crops, and batches with one label per image."""
from __future__ import annotations

import math
from argparse import ArgumentParser, Namespace
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torch.utils.data import Dataset

from datasets import (
    DatasetError,
    EpochPlan,
    EpochSampler,
    SampleDraw,
    default_workers,
    eval_loader,
    read_image,
    train_loader,
)
from datasets.loader import BatchLoader
from datasets.options import BAD_SAMPLE_POLICIES
from tools.pretrain.class_folders import ClassFolders, ImageFile, find_classes
from transforms import ColorJitter, Compose, RandomFlip, Transform
from transforms.base import Focus, Pair
from utils.cli import crop, fraction, int_from_0, number_from_0

# of the images to validate on, timm's usual value
VAL_CROP = 0.875
# of the random crops: width / height, and attempts to find one inside of the image
RATIOS = (3 / 4, 4 / 3)
ATTEMPTS = 10


class RandomResizedCrop:
    """Crops a random rectangle and resizes it (Szegedy et al., arXiv 1409.4842, section 6).

    Its area is uniform in [min_area, 1] of the image's, and the logarithm of its ratio of width to
    height is uniform between those of `RATIOS`. If `ATTEMPTS` rectangles in a row do not fit into
    the image, the largest square in its center is taken.

    Args:
        crop: (height, width) of the result.
        min_area: in (0, 1].
    """

    def __init__(self, crop: tuple[int, int], min_area: float) -> None:
        self.crop = crop
        self.min_area = min_area

    def __call__(self, image: np.ndarray, label: np.ndarray, focus: Focus,
                 rng: np.random.Generator) -> Pair:
        height, width = image.shape[:2]
        for _ in range(ATTEMPTS):
            area = rng.uniform(self.min_area, 1) * height * width
            ratio = math.exp(rng.uniform(math.log(RATIOS[0]), math.log(RATIOS[1])))
            rows, columns = round(math.sqrt(area / ratio)), round(math.sqrt(area * ratio))
            if 0 < rows <= height and 0 < columns <= width:
                top = int(rng.integers(height - rows + 1))
                left = int(rng.integers(width - columns + 1))
                return resized(image[top:top + rows, left:left + columns], self.crop), label
        side = min(height, width)
        return resized(centered(image, (side, side)), self.crop), label


class CenterCrop:
    """Crops the center of an image, `VAL_CROP` of its shorter side, and resizes it.

    Args:
        crop: (height, width) of the result.
    """

    def __init__(self, crop: tuple[int, int]) -> None:
        self.crop = crop

    def __call__(self, image: np.ndarray, label: np.ndarray, focus: Focus,
                 rng: np.random.Generator) -> Pair:
        height, width = image.shape[:2]
        scale = max(self.crop[0] / height, self.crop[1] / width) / VAL_CROP
        rows, columns = (max(1, round(side / scale)) for side in self.crop)
        return resized(centered(image, (rows, columns)), self.crop), label


def resized(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resizes bilinearly, by area averages below half size; `size` is (height, width)."""
    is_small = size[0] < image.shape[0] / 2
    interpolation = cv2.INTER_AREA if is_small else cv2.INTER_LINEAR
    return cv2.resize(image, size[::-1], interpolation=interpolation)


def centered(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Returns the center of an image, (height, width)."""
    top, left = ((whole - part) // 2 for whole, part in zip(image.shape, size, strict=False))
    return image[top:top + size[0], left:left + size[1]]


class ClassImages(Dataset[dict[str, Any]]):
    """Images as label maps of one pixel, which the criteria and the training loop take.

    A sample is `image` uint8 (3, H, W) RGB, `label` int64 (1, 1) and `name`. It depends on
    (seed, epoch, position) alone, see `SampleDraw`.
    """

    def __init__(self, images: Sequence[ImageFile], transform: Transform) -> None:
        self.images = images
        self.transform = transform

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, key: int | SampleDraw) -> dict[str, Any]:
        draw = SampleDraw.of(key)
        file = self.images[draw.index]
        image = read_image(file.path, upright=True)
        label = np.full((1, 1), file.label, np.int64)
        image, label = self.transform(image, label, None, draw.rng())
        return {"image": torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1),
                "label": torch.from_numpy(np.ascontiguousarray(label)), "name": file.name}


@dataclass(frozen=True)
class ImageData:
    """The images of a run; the attributes are those of `datasets.TrainingData`."""

    train_set: ClassImages
    val_set: ClassImages | None
    plan: EpochPlan
    sampler: EpochSampler
    loader: BatchLoader

    def files(self) -> list[Path]:
        return [image.path for image in self.train_set.images]

    def load_validation(self, indices: Sequence[int]) -> Iterable[dict[str, Any]]:
        """Returns batches of one image, of the validation images with these indices."""
        assert self.val_set is not None
        return eval_loader(self.val_set, self.loader.num_workers, indices)


@dataclass(frozen=True)
class ImageOptions:
    """The fields are the flags of the same name, of group "Images".

    Raises:
        DatasetError: a value is out of range.
    """

    data_root: str
    val_fraction: float = 0.1
    crop_size: tuple[int, int] = (224, 224)
    min_area: float = 0.08
    color_jitter: float = 0.4
    on_bad_sample: str = "stop"
    num_workers: int = 0

    @classmethod
    def from_args(cls, args: Namespace) -> ImageOptions:
        return cls(**{field.name: getattr(args, field.name) for field in fields(cls)})

    def __post_init__(self) -> None:
        if not self.data_root:
            raise DatasetError("--data_root is missing: give the folder that holds train/CLASS/ "
                               "and val/CLASS/, or a folder for each class.")
        if not 0 < self.min_area <= 1:
            raise DatasetError(f"--min_area {self.min_area} is out of range: give a fraction of "
                               "the image, above 0.")
        if self.val_fraction == 1:
            raise DatasetError("--val_fraction 1 leaves no image to train on: give less.")

    def find_classes(self, seed: int) -> ClassFolders:
        """Lists the images. Raises DatasetError as `class_folders.find_classes` does."""
        return find_classes(Path(self.data_root), self.val_fraction, seed)

    def build(self, classes: ClassFolders, *, seed: int, batch_size: int, rank: int,
              world_size: int) -> ImageData:
        """Builds the data of a run.

        Args:
            batch_size: images of a step in each process.

        Raises:
            ValueError: there are fewer images than a step takes.
        """
        strength = self.color_jitter
        augment = Compose([RandomResizedCrop(self.crop_size, self.min_area), RandomFlip(),
                           ColorJitter(strength, strength, strength, hue=0.0)])
        train_set = ClassImages(classes.train, augment)
        val_set = None
        if classes.val is not None:
            val_set = ClassImages(classes.val, CenterCrop(self.crop_size))
        plan = EpochPlan(len(train_set), seed)
        sampler = EpochSampler(plan, batch_size, rank, world_size)
        loader = train_loader(train_set, sampler, self.num_workers,
                              skip_bad=self.on_bad_sample == "skip")
        return ImageData(train_set, val_set, plan, sampler, loader)


def add_flags(parser: ArgumentParser) -> None:
    """Declares the flags of `ImageOptions`."""
    default = ImageOptions
    group = parser.add_argument_group("Images")
    group.add_argument("--data_root",
                       help="folder that holds train/CLASS/ and val/CLASS/, or a folder for each "
                            "class")
    group.add_argument("--val_fraction", type=fraction, default=default.val_fraction,
                       help="share of each class that is held out for validation if there is no "
                            "val/; 0 for none")
    group.add_argument("--crop_size", type=crop, default=default.crop_size,
                       help="size of the images in pixels, N or HEIGHTxWIDTH")
    group.add_argument("--min_area", type=fraction, default=default.min_area,
                       help="smallest random crop, as a fraction of the image")
    group.add_argument("--color_jitter", type=number_from_0, default=default.color_jitter,
                       help="strength of random brightness, contrast and saturation; 0 is off")
    group.add_argument("--on_bad_sample", choices=BAD_SAMPLE_POLICIES,
                       default=default.on_bad_sample,
                       help="at a training image that cannot be read: stop the run, or log it and "
                            "use another image")
    group.add_argument("--num_workers", type=int_from_0, default=default_workers(),
                       help="processes that load images, for each process here; 0 loads in the "
                            "process itself")
