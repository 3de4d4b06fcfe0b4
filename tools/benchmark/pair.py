"""An image and its label as large as those of Cityscapes, for measuring without Cityscapes."""
from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from datasets.reader import read_image
from tools.make_streets import draw

# (height, width) of the pair, and of the drawn frame that is enlarged
SIZE, FRAME = (1024, 2048), (512, 1024)
# range of the bytes of a PNG of Cityscapes
MIN_BYTES, MAX_BYTES = 2.0e6, 2.6e6
# step and limit of the noise's sigma, in levels of 255
STEP, MAX_SIGMA = 0.25, 20.0


def cityscapes_sized(picture: Path | None) -> tuple[np.ndarray, np.ndarray]:
    """Returns an image (1024, 2048, 3) uint8 RGB and the label ids (1024, 2048) of a drawn street.

    Gaussian noise is added until the PNG has as many bytes as a frame of Cityscapes.

    Args:
        picture: a frame to enlarge; None enlarges the same street, drawn smaller.

    Raises:
        ValueError: the picture cannot be read, or its PNG has too many bytes even without noise.
    """
    frame = draw(0, 0, FRAME)[0] if picture is None else read_image(picture)
    image = cv2.resize(frame, SIZE[::-1], interpolation=cv2.INTER_LINEAR)
    noise = np.random.default_rng(0).normal(size=image.shape).astype(np.float32)
    for sigma in np.arange(0, MAX_SIGMA, STEP):
        noisy = np.clip(image + sigma * noise, 0, 255).round().astype(np.uint8)
        size = len(cv2.imencode(".png", noisy[..., ::-1])[1])
        if MIN_BYTES <= size <= MAX_BYTES:
            return noisy, draw(0, 0, SIZE)[1]
        if size > MAX_BYTES:
            break
    raise ValueError(f"{picture or 'the drawn street'}: with noise of sigma {sigma:.2f} its PNG "
                     f"has {size:,} bytes, not {MIN_BYTES:,.0f} to {MAX_BYTES:,.0f} as a frame of "
                     "Cityscapes: give another --picture.")


def write_cityscapes(root: Path, image: np.ndarray, label_ids: np.ndarray, count: int) -> None:
    """Writes the pair `count` times as the train split of a Cityscapes."""
    bgr = np.ascontiguousarray(image[..., ::-1])
    for folder, kind, pixels in (("leftImg8bit", "leftImg8bit", bgr),
                                 ("gtFine", "gtFine_labelIds", label_ids)):
        city = root / folder / "train" / "city"
        city.mkdir(parents=True)
        data = cv2.imencode(".png", pixels)[1].tobytes()
        for number in range(count):
            (city / f"city_{number:06d}_000000_{kind}.png").write_bytes(data)
