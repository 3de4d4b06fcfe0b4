"""Label ids as a benchmark's server wants them: official names, one zip file, checked before it is handed in."""
from __future__ import annotations

import zipfile
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np

SHOWN = 5                                                   # problems of one kind that are named


def official_names(images: Mapping[str, Path]) -> dict[str, str]:
    """Returns for each image's name the file name of its result: the image file's own, as PNG.

    The servers of Cityscapes, KITTI, BDD100K and ADE20K all name results so. Where two folders hold image files of one
    name, the reader's longer name stays.
    """
    stems = Counter(path.stem for path in images.values())
    return {name: (path.stem if stems[path.stem] == 1 else name) + ".png" for name, path in images.items()}


def pack(images: Mapping[str, Path], label_ids: Path, out: Path, ids: np.ndarray,
         read_image: Callable[[Path], np.ndarray]) -> int:
    """Writes the zip file, reads it back and checks it; returns how many files it holds.

    Args:
        images: name -> image file, of the whole split.
        label_ids: folder of NAME.png.
        ids: what a pixel may hold: (K,) label ids, or (K, 3) uint8 RGB where labels are colors.
        read_image: gives (H, W, 3).

    Raises:
        FileNotFoundError: an image has no label ids.
        ValueError: the server would refuse the file; the message says why. It is then not written.
    """
    names = official_names(images)
    missing = [name for name in names if not (label_ids / f"{name}.png").is_file()]
    if missing:
        raise FileNotFoundError(f"{label_ids} lacks {len(missing)} of {len(names)} images{_some(missing)}: run eval.py "
                                "--dump_images on all of them first.")
    beside = out.with_name(out.name + ".tmp")
    try:
        with zipfile.ZipFile(beside, "w", zipfile.ZIP_STORED) as archive:       # PNG files do not shrink further
            for name, official in names.items():
                archive.write(label_ids / f"{name}.png", official)
        sizes = {names[name]: read_image(path).shape[:2] for name, path in images.items()}
        problems = check(beside, sizes, ids)
        if problems:
            raise ValueError(f"{label_ids} is no valid submission: {'; '.join(problems)}.")
        beside.replace(out)
    finally:
        beside.unlink(missing_ok=True)
    return len(names)


def check(archive: Path, sizes: Mapping[str, tuple[int, ...]], ids: np.ndarray) -> list[str]:
    """Returns what a server would find wrong with a zip file: count, names, sizes, kinds of files, ids.

    Args:
        sizes: file name -> (height, width).
        ids: see `pack`.
    """
    problems: dict[str, list[str]] = {}
    with zipfile.ZipFile(archive) as file:
        found = file.namelist()
        if len(found) != len(sizes):
            problems[f"it holds {len(found)} files, not {len(sizes)}"] = []
        for name in sorted({*sizes} - {*found}):
            problems.setdefault("files are missing", []).append(name)
        for name in found:
            labels = cv2.imdecode(np.frombuffer(file.read(name), np.uint8), cv2.IMREAD_UNCHANGED)
            if name not in sizes:
                problems.setdefault("files belong to no image", []).append(name)
            elif labels is None or labels.dtype != ids.dtype or labels.ndim != ids.ndim + 1:
                problems.setdefault("files are no maps of label ids", []).append(name)
            elif labels.shape[:2] != sizes[name]:
                problems.setdefault("files have another size than their image", []).append(name)
            elif strangers := _strangers(labels, ids):
                problems.setdefault("files hold ids of no class", []).append(f"{name}: {strangers[:SHOWN]}")
    return [kind + _some(names) for kind, names in problems.items()]


def _strangers(labels: np.ndarray, ids: np.ndarray) -> list[int]:
    """Returns the values that are none of the ids; colors as 0xRRGGBB."""
    if ids.ndim == 2:
        place = np.array([1 << 16, 1 << 8, 1])
        labels, ids = labels[..., ::-1] @ place, ids @ place                    # OpenCV decodes to BGR
    strangers: list[int] = np.unique(labels[~np.isin(labels, ids)]).tolist()
    return strangers


def _some(names: Sequence[str]) -> str:
    return f" ({', '.join(names[:SHOWN])}{', ...' if len(names) > SHOWN else ''})" if names else ""
