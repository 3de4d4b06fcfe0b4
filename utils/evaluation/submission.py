"""Label ids for a benchmark's server: official file names in a zip file, checked before upload."""
from __future__ import annotations

import zipfile
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np

# files that are listed for each kind of problem
MAX_LISTED = 5


def official_names(images: Mapping[str, Path]) -> dict[str, str]:
    """Returns the file name of each image's result: the stem of the image file, with .png.

    The servers of Cityscapes, KITTI, BDD100K and ADE20K expect these names. If image files in two
    folders have the same stem, the result keeps the reader's longer name.

    Args:
        images: name -> image file.
    """
    stems = Counter(path.stem for path in images.values())
    return {name: (path.stem if stems[path.stem] == 1 else name) + ".png"
            for name, path in images.items()}


def write_zip(images: Mapping[str, Path], label_ids: Path, out: Path, ids: np.ndarray,
              read_image: Callable[[Path], np.ndarray]) -> int:
    """Writes the zip file, reads it back and checks it.

    Args:
        images: name -> image file, of the whole split.
        label_ids: folder of NAME.png.
        ids: values that a pixel may have: (K,) label ids, or (K, 3) uint8 RGB if labels are colors.
        read_image: reads an image file as (H, W, 3).

    Returns:
        The number of files.

    Raises:
        FileNotFoundError: an image has no label ids.
        ValueError: the server would reject the file, which is then not written.
    """
    names = official_names(images)
    missing = [name for name in names if not (label_ids / f"{name}.png").is_file()]
    if missing:
        raise FileNotFoundError(f"{label_ids} lacks {len(missing)} of {len(names)} images"
                                f"{_listing(missing)}: run eval.py --dump_images on all of them "
                                "first.")
    temporary = out.with_name(out.name + ".tmp")
    try:
        # PNG files do not compress further
        with zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED) as archive:
            for name, official in names.items():
                archive.write(label_ids / f"{name}.png", official)
        sizes = {names[name]: read_image(path).shape[:2] for name, path in images.items()}
        problems = check(temporary, sizes, ids)
        if problems:
            raise ValueError(f"{label_ids} is not a valid submission: {'; '.join(problems)}.")
        temporary.replace(out)
    finally:
        temporary.unlink(missing_ok=True)
    return len(names)


def check(archive: Path, sizes: Mapping[str, tuple[int, ...]], ids: np.ndarray) -> list[str]:
    """Returns the reasons for which a server would reject a zip file; empty if it is valid.

    Number, names, sizes, formats and ids of the files are checked.

    Args:
        sizes: file name -> (height, width).
        ids: see `write_zip`.
    """
    problems: dict[str, list[str]] = defaultdict(list)
    with zipfile.ZipFile(archive) as file:
        names = file.namelist()
        if len(names) != len(sizes):
            problems[f"it contains {len(names)} files, not {len(sizes)}"] = []
        missing = sorted({*sizes} - {*names})
        if missing:
            problems["files are missing"] = missing
        for name in names:
            if name not in sizes:
                problems["files belong to no image"].append(name)
                continue
            problem = _problem(file.read(name), sizes[name], ids)
            if problem is not None:
                kind, detail = problem
                problems[kind].append(name + detail)
    return [kind + _listing(files) for kind, files in problems.items()]


def _problem(data: bytes, size: tuple[int, ...], ids: np.ndarray) -> tuple[str, str] | None:
    """Returns a kind of problem and its detail, None for a valid PNG file.

    Args:
        data: content of the PNG file.
        size: (height, width) of the image.
        ids: see `write_zip`.
    """
    predictions = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    # ids (K,) need maps (H, W), and colors (K, 3) need maps (H, W, 3)
    if (predictions is None or predictions.dtype != ids.dtype
            or predictions.ndim != ids.ndim + 1):
        return "files are not maps of label ids", ""
    if predictions.shape[:2] != size:
        return "files have another size than their image", ""
    unknown = _unknown_ids(predictions, ids)
    if unknown:
        return "files contain ids of no class", f": {unknown[:MAX_LISTED]}"
    return None


def _unknown_ids(predictions: np.ndarray, ids: np.ndarray) -> list[int]:
    """Returns the values that are not in `ids`; colors as 0xRRGGBB."""
    if ids.ndim == 2:
        weights = np.array([1 << 16, 1 << 8, 1])
        # OpenCV decodes to BGR
        predictions, ids = predictions[..., ::-1] @ weights, ids @ weights
    unknown: list[int] = np.unique(predictions[~np.isin(predictions, ids)]).tolist()
    return unknown


def _listing(names: Sequence[str]) -> str:
    """Returns " (A, B, ...)", or "" without names."""
    if not names:
        return ""
    more = ", ..." if len(names) > MAX_LISTED else ""
    return f" ({', '.join(names[:MAX_LISTED])}{more})"
