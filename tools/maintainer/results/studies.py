"""The studies in results/runs/: a question, and the small files of the runs that answer it.

`results/runs/<study>/study.yaml` asks; `results/runs/<study>/<label>_s<seed>/` holds a finished
run: `args.json`, `env.json` and `metrics.jsonl` as train.py wrote them, `scores.json` and
`per_image.npz` as eval.py did. results/runs/README.md says more.
"""
from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from utils.cli import suggest
from utils.files import ROOT
from utils.report import results
from utils.report.charts import read_metrics
from utils.report.results import Results

RUNS = ROOT / "results" / "runs"
STUDY, MEASURED = "study.yaml", "measured.json"
NAME = re.compile(r"(?P<label>[\w.-]+)_s(?P<seed>\d+)")
SCORING_SETTINGS = (
    "weights", "inference_mode", "crop_size", "sliding_overlap", "scales", "flip", "average",
    "precision",
    # settings of eval.py that decide a score
    "exact",
    "deployed",
    "tf32",
)
REMEDY = "results/runs/README.md shows one"
RESTORE = (
    "restore it from git, or keep the run again with `python -m tools.maintainer.results --add RUN`"
)


@dataclass(frozen=True)
class Run:
    """A finished run and its one evaluation.

    Attributes:
        label, seed: which row of its study it belongs to, and the seed it was trained with.
        args, env: the objects of `args.json` and `env.json`.
        metrics: the objects of `metrics.jsonl`, in the order of the steps.
        result: the evaluation.
    """

    folder: Path
    label: str
    seed: int
    args: dict[str, Any] = field(repr=False)
    env: dict[str, Any] = field(repr=False)
    metrics: tuple[dict[str, Any], ...] = field(repr=False)
    result: Results = field(repr=False)

    @property
    def name(self) -> str:
        return self.folder.name

    @property
    def scores(self) -> dict[str, Any]:
        """The object of `scores.json`; its scores are fractions."""
        return self.result.scores

    @property
    def scoring(self) -> dict[str, Any]:
        """How it was scored: the values of `SCORING_SETTINGS` that are not off."""
        settings = self.scores["settings"]
        return {name: settings[name] for name in SCORING_SETTINGS
                if settings.get(name) not in (None, False)}

    def differing_settings(self, other: Run) -> list[str]:
        """The names in `SCORING_SETTINGS` of what was done in another way for the other run."""
        return [name for name in SCORING_SETTINGS
                if self.scoring.get(name) != other.scoring.get(name)]

    @property
    def matrices(self) -> np.ndarray:
        """(M, K, K) int64 counts of each image; rows are labels."""
        return self.result.matrices

    @property
    def images(self) -> tuple[str, ...]:
        """The names of the M images that were scored."""
        return self.result.names

    @property
    def groups(self) -> tuple[str, ...] | None:
        """The group of correlated images to which each image belongs; None without groups."""
        return self.result.groups

    @property
    def classes(self) -> tuple[str, ...]:
        return self.result.classes

    @property
    def logged(self) -> list[dict[str, Any]]:
        """What was logged while it trained, a line each so many steps."""
        return [line for line in self.metrics if line["kind"] == "train"]

    @property
    def validations(self) -> list[dict[str, Any]]:
        return [line for line in self.metrics if line["kind"] == "validation"]

    @property
    def batch(self) -> int:
        """Images a step."""
        if self.args.get("global_batch"):
            return int(self.args["global_batch"])
        # a run of an older version: world size * accumulate * bs_mult
        accumulate, processes = self.args.get("accumulate", 1), self.env.get("processes", 1)
        return int(self.args["bs_mult"] * accumulate * processes)

    @property
    def seconds(self) -> float:
        """Seconds of training, validations and checkpoints left out: from the logged speeds."""
        steps = np.diff([0, *(line["step"] for line in self.logged)])
        return float(sum(self.batch * count / line["images_per_second"]
                         for count, line in zip(steps, self.logged, strict=True)))


@dataclass(frozen=True)
class Measured:
    """A table of what a command measured without leaving a run that could be kept.

    Attributes:
        commands: shell lines.
        rows: a list of texts and numbers each, one a column.
        note: said below the table.
    """

    title: str
    commands: tuple[str, ...]
    columns: tuple[str, ...]
    rows: tuple[tuple[str | float | None, ...], ...]
    commit: str
    hardware: str
    date: str
    note: str = ""


@dataclass(frozen=True)
class Study:
    """What was question, and what was found.

    Attributes:
        title: heading of its section.
        place: sections stand in this order.
        question, protocol, limits: Markdown: what is asked, how it was done, what the answer can
            and cannot show.
        rows: label -> what the row is, in the order of the table.
        compare: pairs of labels; the first's scores minus the second's are tested.
        borrow: label -> the study beside this one that keeps the runs of that row.
        claim: where the first compared pair decides a claim, such as "On CamVid test"; the README
            gives its outcome. "" for a study that decides none.
        brief: the study is shown by rows of one table with others, and not by a section.
        runs: in the order of the rows and of the seeds.
    """

    folder: Path
    title: str
    place: int
    question: str
    protocol: str = ""
    limits: str = ""
    rows: Mapping[str, str] = field(default_factory=dict)
    compare: tuple[tuple[str, str], ...] = ()
    borrow: Mapping[str, str] = field(default_factory=dict)
    claim: str = ""
    brief: bool = False
    runs: tuple[Run, ...] = ()
    measured: tuple[Measured, ...] = ()

    @property
    def name(self) -> str:
        return self.folder.name

    @property
    def own_runs(self) -> tuple[Run, ...]:
        """The runs that are not borrowed from another study, which shows what they took."""
        return tuple(run for run in self.runs if run.label not in self.borrow)

    @property
    def trainings(self) -> tuple[Run, ...]:
        """One of the own runs for each checkpoint: it may be scored in several ways."""
        return tuple({run.scores["snapshot_sha256"]: run
                      for run in reversed(self.own_runs)}.values())[::-1]

    @cached_property
    def labels(self) -> dict[str, tuple[Run, ...]]:
        """The rows that have runs: label -> its runs."""
        runs_of_label = {label: tuple(run for run in self.runs if run.label == label)
                         for label in self.rows}
        return {label: runs for label, runs in runs_of_label.items() if runs}

    def paired(self, a: str, b: str) -> list[tuple[Run, Run]]:
        """Returns the runs of two labels that were trained with the same seed."""
        runs_of_b = {run.seed: run for run in self.labels.get(b, ())}
        return [(run, runs_of_b[run.seed])
                for run in self.labels.get(a, ()) if run.seed in runs_of_b]


# the entries of study.yaml
QUESTION_ENTRIES = {entry.name for entry in fields(Study)} - {"folder", "runs", "measured"}
ENTRY_TYPES = {
    "title": str, "place": int, "question": str, "protocol": str, "limits": str, "rows": dict,
    "compare": list, "borrow": dict, "claim": str, "brief": bool,
}
# of each table of measured.json
TABLE_ENTRIES = {entry.name for entry in fields(Measured)}


def read_all(folder: Path = RUNS) -> list[Study]:
    """Reads every study, in the order of their places; those without runs and measured tables too.

    Raises:
        FileNotFoundError: no study is there.
        ValueError: see `read`.
    """
    studies = [read(path.parent) for path in sorted(folder.glob(f"*/{STUDY}"))]
    if not studies:
        raise FileNotFoundError(f"{folder} holds no study (no */{STUDY}): {REMEDY}")
    return sorted(studies, key=lambda study: (study.place, study.name))


def read(folder: Path) -> Study:
    """Reads a study and its runs.

    Raises:
        FileNotFoundError: the folder holds no `study.yaml`, or a run lacks a file.
        ValueError: a file is damaged, or the study, its runs and their evaluations do not fit
            together.
    """
    question = read_question(folder)
    kept = [*folder.glob("*/args.json")]
    for label, other in question.borrow.items():
        if not (folder.parent / other / STUDY).is_file():
            raise ValueError(
                f"{folder / STUDY} borrows {label!r} from {other!r}, and there is no study of that "
                f"name beside it; {REMEDY}"
            )
        kept += folder.parent.glob(f"{other}/{label}_s*/args.json")
    runs = [read_run(path.parent, question.rows) for path in kept]
    for run in runs:
        check_comparable(run, runs)
    order = {label: position for position, label in enumerate(question.rows)}
    runs.sort(key=lambda run: (order[run.label], run.seed))
    return replace(question, runs=tuple(runs), measured=_read_measured(folder / MEASURED))


def read_question(folder: Path) -> Study:
    """Reads study.yaml, without the runs. Raises FileNotFoundError or ValueError as `read` does."""
    path = folder / STUDY
    if not path.is_file():
        raise FileNotFoundError(
            f"{folder} holds no {STUDY}, so it is no study: write one ({REMEDY})"
        )
    try:
        content = dict(yaml.safe_load(path.read_text(encoding="utf-8")))
    except (yaml.YAMLError, TypeError, ValueError) as error:
        raise ValueError(f"{path} is no YAML mapping ({error}): {REMEDY}") from error
    # an entry left blank
    content = {name: value for name, value in content.items() if value is not None}
    _check_entries(path, content)
    rows = content.get("rows", {})
    compare = tuple(tuple(pair) for pair in content.get("compare", ()))
    _check_labels(path, rows, compare, content.get("borrow", ()))
    return Study(**{**content, "folder": folder, "rows": rows, "compare": compare})


def _check_entries(path: Path, content: Mapping[str, Any]) -> None:
    """Raises ValueError if an entry of a study is unknown, missing or of another type."""
    for name in sorted(set(content) - QUESTION_ENTRIES):
        raise ValueError(
            f"{path}: unknown entry {name!r}{suggest(name, QUESTION_ENTRIES)}; {REMEDY}"
        )
    for name in sorted({"title", "place", "question"} - set(content)):
        raise ValueError(f"{path}: the entry {name!r} is missing; {REMEDY}")
    for name, kind in ENTRY_TYPES.items():
        value = content.get(name, kind())
        if not isinstance(value, kind):
            raise ValueError(
                f"{path}: {name!r} is a {type(value).__name__}, not a {kind.__name__}; {REMEDY}"
            )


def _check_labels(path: Path, rows: Mapping[str, str], compare: Sequence[Sequence[str]],
                  borrow: Iterable[str]) -> None:
    """Raises ValueError if labels are compared or borrowed that are no rows."""
    message = f"{path}: compare takes pairs of labels, and borrow labels, that stand in rows"
    for label in (*(label for pair in compare for label in pair), *borrow):
        if label not in rows:
            raise ValueError(f"{message}, and {label!r} does not{suggest(label, rows)}")
    if any(len(pair) != 2 for pair in compare):
        raise ValueError(message)


def read_run(folder: Path, rows: Mapping[str, str]) -> Run:
    """Reads a run of a study with these rows.

    Raises:
        FileNotFoundError, ValueError: as `read` does.
    """
    named = NAME.fullmatch(folder.name)
    if named is None or named["label"] not in rows:
        label = named["label"] if named else folder.name
        raise ValueError(
            f"{folder}: a run is called LABEL_sSEED, with a label of the study's rows"
            f"{suggest(label, rows)}: rename it, or add the row to {folder.parent / STUDY}"
        )
    args, env = (read_json(folder / name) for name in ("args.json", "env.json"))
    metrics, result = tuple(read_metrics(folder)), results.read(folder)
    if args.get("seed") != int(named["seed"]):
        raise ValueError(f"{folder}: its args.json says seed {args.get('seed')}: rename the folder")
    run = Run(folder, named["label"], int(named["seed"]), args, env, metrics, result)
    if not run.logged:
        raise ValueError(
            f"{folder / 'metrics.jsonl'} has no line of training: keep the run again with "
            "`python -m tools.maintainer.results --add`"
        )
    return run


def check_comparable(run: Run, others: Sequence[Run]) -> None:
    """Raises ValueError if a run cannot be compared with others.

    All runs need the same images and classes, and those of a row the same settings.
    """
    for other in others:
        if run.label == other.label and (differing := sorted(run.differing_settings(other))):
            raise ValueError(
                f"{run.folder} and {other.folder} are seeds of one row and were scored with other "
                f"--{', --'.join(differing)}: score both alike, or give each way a row of its own"
            )
        if (run.images, run.classes) != (other.images, other.classes):
            raise ValueError(
                f"{run.folder} and {other.folder} were scored on other images or classes "
                f"({len(run.images)} images of {len(run.classes)} classes; {len(other.images)} of "
                f"{len(other.classes)}): score both alike, or keep them in two studies"
            )


def _read_measured(path: Path) -> tuple[Measured, ...]:
    if not path.is_file():
        return ()
    tables = []
    for number, entry in enumerate(read_json(path, list, REMEDY), start=1):
        # the note is optional
        wrong = (TABLE_ENTRIES ^ set(entry)) - {"note"}
        if wrong:
            raise ValueError(f"{path}, table {number}: the entries {sorted(wrong)} are missing or "
                             f"unknown; {REMEDY}")
        if any(len(row) != len(entry["columns"]) for row in entry["rows"]):
            raise ValueError(f"{path}, table {number}: a row has more or fewer values than there "
                             f"are columns; {REMEDY}")
        tables.append(Measured(**{**entry, "commands": tuple(entry["commands"]),
                                  "columns": tuple(entry["columns"]),
                                  "rows": tuple(map(tuple, entry["rows"]))}))
    return tuple(tables)


def read_json(path: Path, kind: type = dict, remedy: str = RESTORE) -> Any:
    """Reads a file that holds an object, or a list.

    Args:
        remedy: how to obtain the file, for the message if it is missing or damaged.

    Raises:
        FileNotFoundError: it is missing.
        ValueError: it is damaged, or holds something else.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing: {remedy}")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise ValueError(f"{path} is damaged ({error}): {remedy}") from error
    if not isinstance(content, kind):
        raise ValueError(
            f"{path} holds a {type(content).__name__}, not a {kind.__name__}: {remedy}"
        )
    return content
