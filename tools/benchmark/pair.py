"""A pair as large as those of Cityscapes, in its layout, for measuring where there is no
Cityscapes.
"""
from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from datasets.reader import read_image
from tools.make_streets import draw

SIZE, FRAME = (1024, 2048), (512, 1024)
# bytes of its PNG: so many have the frames of Cityscapes
LEAST, MOST = 2.0e6, 2.6e6
# of the noise's sigma, in levels of 255
STEP, STRONGEST = 0.25, 20.0


def cityscapes_sized(picture: Path | None) -> tuple[np.ndarray, np.ndarray]:
    """Returns an image (1024, 2048, 3) uint8 RGB and the label ids (1024, 2048) of a drawn street.

    Args:
        picture: a frame to enlarge; the same street, drawn smaller, when None. Gaussian noise is
            added, as little as it takes for the PNG to have the bytes of a Cityscapes frame.

    Raises:
        ValueError: the picture cannot be read, or its PNG has too many bytes even without noise.
    """
    frame = draw(0, 0, FRAME)[0] if picture is None else read_image(picture)
    image = cv2.resize(frame, SIZE[::-1], interpolation=cv2.INTER_LINEAR)
    noise = np.random.default_rng(0).normal(size=image.shape).astype(np.float32)
    for sigma in np.arange(0, STRONGEST, STEP):
        noisy = np.clip(image + sigma * noise, 0, 255).round().astype(np.uint8)
        size = len(cv2.imencode(".png", noisy[..., ::-1])[1])
        if LEAST <= size <= MOST:
            return noisy, draw(0, 0, SIZE)[1]
        if size > MOST:
            break
    raise ValueError(
        f"{picture or 'the drawn street'}: with noise of sigma {sigma:.2f} its PNG has {size:,} "
        f"bytes, not {LEAST:,.0f} to {MOST:,.0f} as a frame of Cityscapes: give another --picture."
    )


def write_cityscapes(root: Path, image: np.ndarray, label_ids: np.ndarray, count: int) -> None:
    """Writes the pair `count` times as the train split of a Cityscapes."""
    for folder, kind, pixels in (("leftImg8bit", "leftImg8bit",
                                  np.ascontiguousarray(image[..., ::-1])),
                                 ("gtFine", "gtFine_labelIds", label_ids)):
        city = root / folder / "train" / "city"
        city.mkdir(parents=True)
        data = cv2.imencode(".png", pixels)[1].tobytes()
        for number in range(count):
            (city / f"city_{number:06d}_000000_{kind}.png").write_bytes(data)
