"""The results of an evaluation, read from its folder, and scores computed from them."""
from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from utils.evaluation.records import RESULT, read_arrays
from utils.evaluation.scores import SCORES
from utils.evaluation.statistics import draws, sum_groups

REMEDY = "run eval.py on the snapshot first, which writes them"


@dataclass(frozen=True)
class Results:
    """One evaluation of M images and K classes.

    Attributes:
        scores: the object of `scores.json`.
        names: of the M images.
        matrices: (M, K, K) int64 counts of each image, rows are labels.
        classes: the K names.
        groups: name of the group of correlated images to which each image belongs; None if they
            are independent.
        border: (M, K, K) int64 counts of the pixels near a class border; None without --trimap.
    """

    folder: Path
    scores: dict[str, Any]
    names: tuple[str, ...]
    matrices: np.ndarray
    classes: tuple[str, ...]
    groups: tuple[str, ...] | None = None
    border: np.ndarray | None = None

    @property
    def settings(self) -> dict[str, Any]:
        return self.scores["settings"]

    @property
    def run(self) -> Path | None:
        """The folder of the run that was evaluated: the parent folder, if it is one."""
        parent = self.folder.absolute().parent
        is_run = (parent / "args.json").is_file() or (parent / "metrics.jsonl").is_file()
        return parent if is_run else None

    def select(self, indices: Sequence[int]) -> Results:
        """Returns the results of some images, in the given order."""
        return replace(
            self, names=tuple(self.names[index] for index in indices),
            matrices=self.matrices[list(indices)],
            groups=tuple(self.groups[index] for index in indices) if self.groups else None,
            border=None if self.border is None else self.border[list(indices)])

    @property
    def title(self) -> str:
        """Name of the model: that of its run, or of the evaluation's folder."""
        return self.run.name if self.run else self.folder.absolute().name

    @property
    def report_folder(self) -> Path:
        return (self.run or self.folder) / "report"


def find(folder: Path) -> Path:
    """Returns the folder of an evaluation: `folder` itself, or the newest one in that of a run.

    Evaluations of all images of a split come before those of the first few (`--max_images`).

    Raises:
        FileNotFoundError: there is none.
    """
    if not folder.is_dir():
        problem = "is not a folder" if folder.exists() else "is missing"
        raise FileNotFoundError(f"{folder} {problem}: give the folder of a run, such as logs/NAME, "
                                "or of an evaluation, such as logs/NAME/eval_camvid_test")
    if (folder / SCORES).is_file():
        return folder
    paths = sorted(folder.glob(f"*/{SCORES}"),
                   key=lambda path: (not _is_partial(path), path.stat().st_mtime))
    if not paths:
        raise FileNotFoundError(f"{folder} holds no {SCORES}, nor does a folder in it: {REMEDY}")
    return paths[-1].parent


def _is_partial(path: Path) -> bool:
    """Returns whether scores are of the first few images of a split; damaged ones count as full."""
    try:
        return json.loads(path.read_text())["settings"].get("max_images") is not None
    # `read` says what is wrong with them
    except (ValueError, KeyError, TypeError, AttributeError):
        return False


def read(folder: Path) -> Results:
    """Reads an evaluation.

    Raises:
        FileNotFoundError: `scores.json` or `per_image.npz` is missing.
        ValueError: one of them is damaged or incomplete, or they do not belong together.
    """
    missing = [name for name in (SCORES, RESULT) if not (folder / name).is_file()]
    if missing:
        raise FileNotFoundError(f"{folder} holds no {' and no '.join(missing)}: {REMEDY}")
    arrays = read_arrays(folder / RESULT)
    try:
        scores = json.loads((folder / SCORES).read_text())
        results = Results(
            folder, scores, tuple(map(str, arrays["names"])), arrays["matrices"].astype(np.int64),
            tuple(map(str, arrays["classes"])),
            tuple(map(str, arrays["groups"])) if "groups" in arrays else None,
            arrays["border"].astype(np.int64) if "border" in arrays else None)
        per_class, settings = list(scores["per_class_IoU"]), scores["settings"]
        required = (settings["dataset"], settings["split"], scores["arch"],
                    scores["snapshot_sha256"])
    except (json.JSONDecodeError, KeyError, TypeError) as error:
        raise ValueError(f"{folder}: {SCORES} or {RESULT} is damaged or of another version "
                         f"({error!r}): score the snapshot again with eval.py") from error
    images, count = len(results.names), len(results.classes)
    fits = (results.matrices.shape == (images, count, count)
            and per_class == [*results.classes] and all(required))
    if not fits:
        raise ValueError(f"{folder}: {SCORES} and {RESULT} do not fit together ({len(per_class)} "
                         f"classes in {SCORES}, matrices {results.matrices.shape} for {images} "
                         f"images of {count} classes in {RESULT}): score the snapshot again with "
                         "eval.py")
    if images == 0:
        raise ValueError(f"{folder}: no image was scored, so there is nothing to show")
    return results


def iou(matrices: np.ndarray) -> np.ndarray:
    """Returns (..., K): IoU of each class from counts (..., K, K), NaN without pixels."""
    intersection = np.diagonal(matrices, axis1=-2, axis2=-1).astype(float)
    return _ratio(intersection, matrices.sum(-1) + matrices.sum(-2) - intersection)


def accuracy(matrices: np.ndarray) -> np.ndarray:
    """Returns (...): pixel accuracy from counts (..., K, K), NaN without pixels."""
    correct = np.trace(matrices, axis1=-2, axis2=-1).astype(float)
    return _ratio(correct, matrices.sum((-2, -1)))


def mean(values: np.ndarray) -> np.ndarray:
    """Returns the mean over the last axis without NaN; NaN if all are."""
    defined = ~np.isnan(values)
    return _ratio(np.where(defined, values, 0).sum(-1), defined.sum(-1))


def _ratio(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    numerator, denominator = np.asarray(numerator, float), np.asarray(denominator)
    return np.divide(numerator, denominator, out=np.full(numerator.shape, np.nan),
                     where=denominator > 0)


def merge_classes(matrices: np.ndarray, groups: Sequence[str]) -> np.ndarray:
    """Merges classes into groups, in the order of their first classes.

    Args:
        matrices: (..., K, K) counts.
        groups: name of the group of each class.

    Returns:
        (..., G, G) counts.
    """
    names = list(dict.fromkeys(groups))
    # (G, K)
    membership = np.array([[group == name for group in groups] for name in names], np.int64)
    return membership @ matrices @ membership.T


def resampled(matrices: np.ndarray, repeats: int = 2000, seed: int = 0,
              groups: Sequence[str] | None = None) -> dict[str, np.ndarray]:
    """Returns every score on bootstrap draws, the same as in `utils.evaluation.statistics`.

    Args:
        matrices: (M, K, K) counts of each image.
        repeats: number B of draws.
        groups: name of the group of each image; whole groups are drawn.

    Returns:
        score -> (B,); "per_class_IoU" -> (B, K).
    """
    matrices = sum_groups(matrices, groups)
    weights = draws(len(matrices), repeats, seed)
    # each (B, K)
    correct = weights @ np.diagonal(matrices, axis1=1, axis2=2).astype(float)
    labeled = weights @ matrices.sum(2).astype(float)
    predicted = weights @ matrices.sum(1).astype(float)
    per_class = _ratio(correct, labeled + predicted - correct)
    pixels = labeled.sum(1)
    return {
        "mIoU": mean(per_class),
        "pixel_accuracy": _ratio(correct.sum(1), pixels),
        "mean_accuracy": mean(_ratio(correct, labeled)),
        "fwIoU": _ratio((np.nan_to_num(per_class) * labeled).sum(1), pixels),
        "per_class_IoU": per_class,
    }


def interval(scores: np.ndarray) -> tuple[float, float] | None:
    """Returns the 2.5 % and 97.5 % quantiles of the scores (B,); None if all are NaN."""
    scores = scores[~np.isnan(scores)]
    if len(scores) == 0:
        return None
    low, high = np.quantile(scores, [0.025, 0.975])
    return float(low), float(high)
