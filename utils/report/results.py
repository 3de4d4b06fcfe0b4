"""What an evaluation left in its folder, image by image, and what can be said about it."""
from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from utils.evaluation.records import RESULT, read_arrays
from utils.evaluation.scores import SCORES
from utils.evaluation.statistics import draws

HOW = "run eval.py on the snapshot first, which leaves them there"


@dataclass(frozen=True)
class Results:
    """One evaluation.

    Attributes:
        scores: the object of `scores.json`.
        names: of the M images.
        matrices: (M, K, K) int64 counts of each image, rows the truth.
        classes: K names.
    """

    folder: Path
    scores: dict[str, Any]
    names: tuple[str, ...]
    matrices: np.ndarray
    classes: tuple[str, ...]

    @property
    def settings(self) -> dict[str, Any]:
        return self.scores["settings"]

    @property
    def run(self) -> Path | None:
        """The run that the evaluation belongs to: the folder above, when it is one."""
        parent = self.folder.absolute().parent
        return parent if (parent / "args.json").is_file() or (parent / "metrics.jsonl").is_file() else None

    def only(self, places: Sequence[int]) -> Results:
        """Returns the part of some images, in that order."""
        return replace(self, names=tuple(self.names[place] for place in places), matrices=self.matrices[list(places)])

    @property
    def title(self) -> str:
        """What the model is called: its run, or the folder of its evaluation."""
        return self.run.name if self.run else self.folder.absolute().name

    @property
    def report_folder(self) -> Path:
        return (self.run or self.folder) / "report"


def find(folder: Path) -> Path:
    """Returns the folder of an evaluation: the one given, or the newest one of the run that is given.

    Raises:
        FileNotFoundError: there is none.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder} is {'no folder' if folder.exists() else 'missing'}: give the folder of a "
                                "run, such as logs/NAME, or of an evaluation, such as logs/NAME/eval_camvid_test")
    if (folder / SCORES).is_file():
        return folder
    found = sorted(folder.glob(f"*/{SCORES}"), key=lambda path: path.stat().st_mtime)
    if not found:
        raise FileNotFoundError(f"{folder} holds no {SCORES}, and no folder in it does: {HOW}")
    return found[-1].parent


def read(folder: Path) -> Results:
    """Reads an evaluation.

    Raises:
        FileNotFoundError: `scores.json` or `per_image.npz` is missing.
        ValueError: one of them is damaged, lacks something, or the two do not fit together.
    """
    missing = [name for name in (SCORES, RESULT) if not (folder / name).is_file()]
    if missing:
        raise FileNotFoundError(f"{folder} holds no {' and no '.join(missing)}: {HOW}")
    kept = read_arrays(folder / RESULT)
    try:
        scores = json.loads((folder / SCORES).read_text())
        names, matrices, classes = kept["names"], kept["matrices"].astype(np.int64), kept["classes"]
        per_class = list(scores["per_class_IoU"])
        settings = scores["settings"]
        dataset, split, arch, sha256 = settings["dataset"], settings["split"], scores["arch"], scores["snapshot_sha256"]
    except (json.JSONDecodeError, KeyError, TypeError) as error:
        raise ValueError(f"{folder}: {SCORES} or {RESULT} is damaged or of another version ({error!r}): "
                         "score the snapshot again with eval.py") from error
    results = Results(folder, scores, tuple(map(str, names)), matrices, tuple(map(str, classes)))
    count = len(results.classes)
    fits = matrices.shape == (len(names), count, count) and per_class == [*results.classes]
    if not (fits and all((dataset, split, arch, sha256))):
        raise ValueError(f"{folder}: {SCORES} and {RESULT} do not fit together ({len(per_class)} classes there, "
                         f"matrices {matrices.shape} for {len(names)} images of {count} classes here): "
                         "score the snapshot again with eval.py")
    if not len(names):
        raise ValueError(f"{folder}: not one image was scored, so there is nothing to show")
    return results


def iou(matrices: np.ndarray) -> np.ndarray:
    """Returns (..., K): the IoU of each class by counts (..., K, K), NaN where it is in neither map."""
    hits = np.diagonal(matrices, axis1=-2, axis2=-1).astype(float)
    return _ratio(hits, matrices.sum(-1) + matrices.sum(-2) - hits)


def accuracy(matrices: np.ndarray) -> np.ndarray:
    """Returns (...): the share of the counted pixels that are right, NaN where none is counted."""
    return _ratio(np.trace(matrices, axis1=-2, axis2=-1).astype(float), matrices.sum((-2, -1)))


def mean(values: np.ndarray) -> np.ndarray:
    """Returns the mean over the last axis of what is not NaN; NaN where nothing is."""
    there = ~np.isnan(values)
    return _ratio(np.where(there, values, 0).sum(-1), there.sum(-1))


def _ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    part = np.asarray(part, float)
    return np.divide(part, whole, out=np.full(part.shape, np.nan), where=np.asarray(whole) > 0)


def grouped(matrices: np.ndarray, groups: Sequence[str]) -> np.ndarray:
    """Returns counts (..., G, G) of groups of classes, in the order of their first class.

    Args:
        groups: one of G names a class.
    """
    names = list(dict.fromkeys(groups))
    member = np.array([[group == name for group in groups] for name in names], np.int64)     # (G, K)
    return member @ matrices @ member.T


def resampled(matrices: np.ndarray, repeats: int = 2000, seed: int = 0) -> dict[str, np.ndarray]:
    """Returns every score on `repeats` draws of the images, those of `utils.evaluation.statistics.bootstrap`.

    Returns:
        score -> (repeats,); "per_class_IoU" -> (repeats, K).
    """
    drawn = draws(len(matrices), repeats, seed)
    hits = drawn @ np.diagonal(matrices, axis1=1, axis2=2).astype(float)         # (repeats, K)
    truth, predicted = (drawn @ matrices.sum(axis).astype(float) for axis in (2, 1))
    per_class = _ratio(hits, truth + predicted - hits)
    pixels = truth.sum(1)
    return {
        "mIoU": mean(per_class),
        "pixel_accuracy": _ratio(hits.sum(1), pixels),
        "mean_accuracy": mean(_ratio(hits, truth)),
        "fwIoU": _ratio((np.nan_to_num(per_class) * truth).sum(1), pixels),
        "per_class_IoU": per_class,
    }


def interval(scores: np.ndarray) -> tuple[float, float] | None:
    """Returns the bounds of the middle 95 % of the draws' scores (repeats,); None when not one draw has the score."""
    scores = scores[~np.isnan(scores)]
    if not len(scores):
        return None
    low, high = np.quantile(scores, [0.025, 0.975])
    return float(low), float(high)
