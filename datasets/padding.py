"""Warns of training crops that are much larger than the images, and so hold mostly padding."""
from __future__ import annotations

from collections.abc import Sequence

from datasets.image_files import image_size
from datasets.listing import Sample, evenly_spaced
from datasets.spec import DatasetError

# images whose sizes are read
CHECKED_IMAGES = 8
# a crop is too large if even the largest image covers less than this share of it
COVERED = 0.5


def describe_padding(samples: Sequence[Sample], crop_size: tuple[int, int], scale: float) -> str:
    """Returns a warning if the images cover less than half of a crop; "" otherwise.

    The sizes of some images are read. Those that cannot be read are left to the loader, which names
    them.

    Args:
        crop_size: (height, width) of the crops in pixels.
        scale: the mean factor by which an image is scaled before it is cropped.
    """
    sizes: list[tuple[int, int]] = []
    for sample in evenly_spaced(samples, CHECKED_IMAGES):
        try:
            sizes.append(image_size(sample.image))
        except DatasetError:
            continue
    if not sizes:
        return ""

    def covered(size: tuple[int, int]) -> float:
        return (min(size[0] * scale, crop_size[0]) * min(size[1] * scale, crop_size[1])
                / (crop_size[0] * crop_size[1]))

    height, width = largest = max(sizes, key=covered)
    if covered(largest) >= COVERED:
        return ""
    return (f"images of {height}x{width} cover {covered(largest):.0%} of a crop of "
            f"{crop_size[0]}x{crop_size[1]} at the mean scale of {scale:g}; the rest is padding, "
            f"which costs as much time. Give --crop_size {height}x{width}, for example")
