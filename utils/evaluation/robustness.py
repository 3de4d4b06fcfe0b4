"""Scores of one network on a split as it is and corrupted: where they are, and their table."""
from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from utils.evaluation.corruptions import KINDS, Corruption, CorruptionOptions
from utils.evaluation.corruptions.table import SEVERITIES
from utils.evaluation.records import RESULT, RUN, Records, differences
from utils.evaluation.scores import SCORES, ScoreOptions, summarize, write_scores

log = logging.getLogger("eval")

# in the output folder: one evaluation for each corruption
FOLDER = "corruptions"


def folder_of(evaluation: Path, corruption: Corruption | None) -> Path:
    """Returns the output folder of a corruption, below that of the clean evaluation."""
    return evaluation / FOLDER / str(corruption) if corruption else evaluation


def can_skip(records: Records, corruption: CorruptionOptions, scores: ScoreOptions) -> bool:
    """Returns whether corruptions are scored and this evaluation was already; logs if so.

    So an interrupted series goes on, and another kind does not score the clean images again.
    """
    is_wanted = scores.expect is not None or scores.json_file is not None
    if not corruption.kinds or is_wanted or not is_scored(records):
        return False
    log.info("%s: scored already", records.folder)
    return True


def is_scored(records: Records) -> bool:
    """Returns whether the folder holds the finished scores of exactly this evaluation."""
    folder = records.folder
    if not all((folder / name).is_file() for name in (RUN, RESULT, SCORES)):
        return False
    return not differences(Records.open(folder).run, records.run)


def score(records: Records) -> None:
    """Writes the scores of a corruption whose images are all predicted."""
    results = list(records.read().values())
    records.merge_parts(results)
    scores = {**summarize(results, records.run), "arch": records.run["arch"],
              "snapshot_sha256": records.run["snapshot_sha256"], "settings": records.settings}
    write_scores(scores, records.folder / SCORES)


@dataclass(frozen=True)
class Robustness:
    """The mean IoUs, in [0, 1], of one network on one split.

    Attributes:
        title: of the network, such as the name of its run.
        clean: on the images as they are; None if it is undefined.
        corrupted: corruption -> mean IoU.
        about: dataset, split and number of images, which two networks must share.
    """

    title: str
    clean: float | None
    corrupted: Mapping[Corruption, float | None]
    about: tuple[str, str, int]

    def mean(self, kind: str) -> float | None:
        """Returns the mean over the severities of a kind that were scored; None without one."""
        values = [value for corruption, value in self.corrupted.items()
                  if corruption.kind == kind and value is not None]
        return sum(values) / len(values) if values else None

    @property
    def kinds(self) -> list[str]:
        """The kinds that were scored, in the order of the table."""
        return [kind for kind in KINDS if any(kind == found.kind for found in self.corrupted)]

    @property
    def severities(self) -> list[int]:
        """The severities that were scored."""
        return [severity for severity in SEVERITIES
                if any(severity == found.severity for found in self.corrupted)]

    def average(self) -> float | None:
        """Returns the mean over the kinds; None without one."""
        values = [value for kind in self.kinds if (value := self.mean(kind)) is not None]
        return sum(values) / len(values) if values else None


def read(evaluation: Path, title: str) -> Robustness:
    """Reads the scores below the output folder of a clean evaluation.

    Corrupted scores of another checkpoint, or of other images, are left out.

    Raises:
        FileNotFoundError: there are no clean, or no corrupted scores.
        ValueError: a file is damaged.
    """
    clean = _read_scores(evaluation / SCORES)
    corrupted: dict[Corruption, float | None] = {}
    for kind in KINDS:
        for severity in SEVERITIES:
            corruption = Corruption(kind, severity)
            path = folder_of(evaluation, corruption) / SCORES
            if not path.is_file():
                continue
            scores = _read_scores(path)
            same = ("snapshot_sha256", "images")
            if all(scores[name] == clean[name] for name in same):
                corrupted[corruption] = scores["mIoU"]
    if not corrupted:
        raise FileNotFoundError(f"{evaluation} holds no scores of corrupted images of this "
                                "checkpoint: run eval.py --corruptions all on it first.")
    settings = clean["settings"]
    return Robustness(title, clean["mIoU"], corrupted,
                      (settings["dataset"], settings["split"], clean["images"]))


def _read_scores(path: Path) -> dict[str, Any]:
    try:
        scores = json.loads(path.read_text(encoding="utf-8"))
        for name in ("mIoU", "images", "snapshot_sha256", "settings"):
            scores[name]
    except FileNotFoundError as error:
        raise FileNotFoundError(f"{path} is missing: run eval.py on the checkpoint first."
                                ) from error
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is damaged ({error}): evaluate again.") from error
    return scores


def format_table(networks: Sequence[Robustness]) -> str:
    """Returns the mean IoU in % of each kind, and the share of the clean one that is left."""
    kinds = [kind for kind in KINDS if any(kind in network.kinds for network in networks)]
    rows = [("clean", [network.clean for network in networks])]
    rows += [(kind, [network.mean(kind) for network in networks]) for kind in kinds]
    rows.append(("mean of the kinds", [network.average() for network in networks]))
    width = max(len(name) for name, _ in rows)
    lines = []
    if len(networks) > 1:
        lines.append(" " * width + "".join(f"  {network.title[-18:]:>18}" for network in networks))
    for name, values in rows:
        cells = [_cell(value, network.clean) for value, network
                 in zip(values, networks, strict=True)]
        lines.append(f"{name:{width}}" + "".join(f"  {cell:>18}" for cell in cells))
    return "\n".join(lines)


def _cell(value: float | None, clean: float | None) -> str:
    if value is None:
        return "-"
    share = f" ({value / clean:4.0%})" if clean else ""
    return f"{100 * value:.2f} %{share}"
