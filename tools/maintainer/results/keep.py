"""Copies the small files of a finished run to results/runs/, after checking its scores."""
from __future__ import annotations

import json
import re
import shutil
from collections.abc import Sequence
from datetime import datetime, timezone
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

import datasets
from tools.maintainer.results import studies
from tools.maintainer.results.studies import NAME, Study
from utils.evaluation.scores import SCORES
from utils.files import ROOT, sha256
from utils.report import results
from utils.report.charts import METRICS, read_metrics

RUN = "give the folder of a run of train.py"
WEIGHTS = ("last.pth", "best.pth")
# files that neither training nor evaluation reads: changes of them change no result
HARMLESS = re.compile(r"(results/.*|docs/runs|docs/figures|figs|tests|scripts|tools)/.*"
                      r"|.*\.md|[^/]*\.(cfg|toml|cff)|\.[^/]+")
# operating system and architecture in the text of `platform.platform`
MACHINE = re.compile(r"(\w+)-.*-(x86_64|AMD64|aarch64|arm64)\b.*")
# flag -> (folder, parts): a path outside the checkout is written as the last `parts` parts of the
# path in this folder of the checkout
PORTABLE_FOLDERS = {
    "data_root": ("data", 1), "root": ("data", 1), "packed": ("data", 1), "ckpt": ("logs", 0),
    "resume": ("logs", 1), "snapshot": ("logs", 2), "teacher": ("logs", 2),
    "pretrained": ("pretrained_models", 1), "extra_data": ("data", 2),
}


def keep(run: Path, study: Path, label: str | None = None, evaluation: Path | None = None,
         started: str | None = None, replace: bool = False) -> Path:
    """Copies the files of a run to a study; returns the new folder.

    The files are args.json, env.json, metrics.jsonl, scores.json and per_image.npz.

    Args:
        run: the run's folder.
        study: folder of the study to which the run belongs.
        label: row of the study; by default LABEL, if the run's name is LABEL_sSEED.
        evaluation: output folder of eval.py; required if the run has several.
        started: date or time of the start, if env.json has none; by default the time of args.json.
        replace: whether a run that is kept under this name may be replaced.

    Raises:
        FileNotFoundError: a file is missing.
        FileExistsError: the run is kept already.
        ValueError: the run is unfinished or cannot be reproduced, its evaluation is not a fair
            score, or it does not fit the study.
    """
    question = studies.read_question(study)
    args, env = (studies.read_json(run / name, remedy=RUN) for name in ("args.json", "env.json"))
    folder = study / f"{_label(run, args, question, label)}_s{args['seed']}"
    if folder.exists() and not replace:
        raise FileExistsError(f"{folder} is kept already: give --replace to keep {run} in its "
                              "place, or another --label")
    _refuse_unfinished(run, args)
    _refuse_changed_code(run, env)
    evaluated = results.read(evaluation or _evaluation(run))
    snapshot = _scored(run, args, evaluated)
    env.setdefault("started", started or _time(run / "args.json"))
    # only changes of harmless files are left in it
    env["diff"] = ""
    env["machine"] = MACHINE.sub(r"\1 \2", env.get("machine", ""))
    env["command"] = _portable_command(env["command"])
    args = {flag: _portable(flag, value) for flag, value in args.items()}
    settings = {flag: _portable(flag, value) for flag, value in evaluated.settings.items()}
    settings["snapshot"] = Path(args["ckpt"], args["exp"], snapshot).as_posix()
    scores = {**evaluated.scores, "settings": settings}
    with TemporaryDirectory(dir=study, prefix=".") as beside:
        made = Path(beside, folder.name)
        made.mkdir()
        for name, content in (("args.json", args), ("env.json", env), (SCORES, scores)):
            (made / name).write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
        shutil.copyfile(run / METRICS, made / METRICS)
        np.savez_compressed(made / results.RESULT, **_arrays(evaluated))
        others = [kept for kept in studies.read(study).runs if kept.name != folder.name]
        studies.check_comparable(studies.read_run(made, question.rows), others)
        if folder.exists():
            folder.rename(Path(beside, "replaced"))
        made.rename(folder)
    return folder


def _arrays(evaluated: results.Results) -> dict[str, Any]:
    """Returns what is kept of each image: all but the boundary scores and the calibration."""
    arrays: dict[str, Any] = {
        "names": np.array(evaluated.names), "classes": np.array(evaluated.classes),
        "matrices": evaluated.matrices.astype(np.int32)}
    if evaluated.groups is not None:
        arrays["groups"] = np.array(evaluated.groups)
    if evaluated.border is not None:
        arrays["border"] = evaluated.border.astype(np.int32)
    return arrays


def _label(run: Path, args: dict[str, Any], question: Study, label: str | None) -> str:
    """Returns the row of a run: `label`, or that in the run's name LABEL_sSEED."""
    named = NAME.fullmatch(run.absolute().name)
    if label is None and named is not None and int(named["seed"]) == args["seed"]:
        label = named["label"]
    if label is not None and label in question.rows:
        return label
    if label:
        problem = f"{question.folder / studies.STUDY} has no row {label!r}"
    else:
        problem = f"its name is not LABEL_s{args['seed']}, so it does not tell its row"
    raise ValueError(f"{run}: {problem}: give --label one of: {', '.join(question.rows)}; or add "
                     "the row to the file")


def _refuse_unfinished(run: Path, args: dict[str, Any]) -> None:
    """Raises ValueError if the run has not done all its steps, or was a test (`--test_mode`)."""
    lines = [line for line in read_metrics(run) if line["kind"] == "train"]
    if not lines:
        raise ValueError(f"{run} has not logged a step yet: keep it when it has finished")
    step, epoch = lines[-1]["step"], lines[-1]["epoch"]
    total = args["max_iters"] or round(args["max_epoch"] * step / epoch)
    if args.get("test_mode"):
        raise ValueError(f"{run} was run with --test_mode, so it is not a result: train without "
                         "that flag")
    if step < total:
        raise ValueError(f"{run} has done {step} of {total} steps: finish it with `python train.py "
                         f"--resume {run}`, then evaluate it again")


def _refuse_changed_code(run: Path, env: dict[str, Any]) -> None:
    """Raises ValueError if the code of the run is not that of a commit."""
    if not env.get("commit"):
        raise ValueError(f"{run / 'env.json'} names no commit (the code was not in a git "
                         "checkout), so the run cannot be reproduced: train from a checkout")
    names = re.findall(r'^diff --git "?a/(.+?)"? "?b/', env.get("diff") or "", re.MULTILINE)
    changed = [name for name in names if not HARMLESS.fullmatch(name)]
    if changed:
        raise ValueError(f"{run / 'env.json'}: {', '.join(changed)} differed from commit "
                         f"{env['commit'][:7]}, so the run cannot be reproduced: commit the change "
                         "and train again")


def _evaluation(run: Path) -> Path:
    """Returns the folder of the run's only evaluation."""
    folders = sorted(path.parent for path in run.glob(f"*/{SCORES}"))
    if not folders:
        raise FileNotFoundError(f"{run} is not evaluated (it holds no */{SCORES}): run `python "
                                f"eval.py --snapshot {run / WEIGHTS[0]} --data_root DIR --split "
                                "SPLIT` first")
    if len(folders) > 1:
        names = ", ".join(path.name for path in folders)
        raise ValueError(f"{run} is evaluated {len(folders)} times ({names}): choose a folder with "
                         "--evaluation")
    return folders[0]


def _scored(run: Path, args: dict[str, Any], evaluated: results.Results) -> str:
    """Returns which of the run's `WEIGHTS` were evaluated.

    Raises:
        ValueError: other weights were evaluated, or not all images, or images on which the network
            was trained or chosen.
    """
    scored = evaluated.scores["snapshot_sha256"]
    present = tuple(name for name in WEIGHTS if (run / name).is_file())
    snapshot = next((name for name in present if sha256(run / name) == scored), None)
    if snapshot is None:
        problem = f"that is not {present}" if present else f"there is neither of {WEIGHTS}"
        raise ValueError(f"{evaluated.folder / SCORES} is of a snapshot with SHA-256 "
                         f"{scored[:12]}..., and in {run} {problem}: evaluate a snapshot of the "
                         f"run with `python eval.py --snapshot {run / WEIGHTS[0]} ...`")
    if evaluated.settings.get("max_images") is not None:
        raise ValueError(f"{evaluated.folder / SCORES} holds the first "
                         f"{evaluated.settings['max_images']} images only: evaluate again without "
                         "--max_images")
    spec, split = datasets.spec(args["dataset"]), evaluated.settings["split"]
    # the network has not seen the images of another dataset
    if evaluated.settings["dataset"] == spec.name:
        used = {"trained": args["train_split"]}
        if snapshot != WEIGHTS[0] and args["val_split"] != "none":
            used["chosen"] = args["val_split"]
        for use, name in used.items():
            parts = spec.splits[datasets.split_name(spec, name, fold=args.get("cv", 0))]
            if set(parts) & set(spec.splits[split]):
                raise ValueError(f"{evaluated.folder / SCORES} is the score of {snapshot} on "
                                 f"{split}, which shares images with {name}, on which it was "
                                 f"{use}: evaluate it on other images")
    return snapshot


def _portable_command(words: Sequence[str]) -> list[str]:
    """Returns the command as it is typed in the checkout, without paths of the run's machine."""
    portable = ["python", Path(words[1]).name]
    for before, word in pairwise(words[1:]):
        flag, equals, value = word.partition("=")
        if not word.startswith("--"):
            portable.append(str(_portable(before, word)))
        elif equals:
            portable.append(f"{flag}={_portable(flag, value)}")
        else:
            portable.append(word)
    return portable


def _portable(flag: str, value: Any) -> Any:
    """Returns a flag's value, with a path outside the checkout replaced by one inside."""
    if isinstance(value, dict):
        return {name: _portable(name, part) for name, part in value.items()}
    if isinstance(value, list):
        return [_portable(flag, part) for part in value]
    if not isinstance(value, str):
        return value
    path = Path(value)
    if not value.startswith(("/", "~")) and ".." not in path.parts:
        return value
    if path.is_relative_to(ROOT):
        return path.relative_to(ROOT).as_posix()
    folder, parts = PORTABLE_FOLDERS.get(flag.removeprefix("--"), ("", 1))
    return Path(folder, *path.parts[len(path.parts) - parts:]).as_posix()


def _time(path: Path) -> str:
    """Returns the time of the file's last change, ISO format in UTC."""
    return datetime.fromtimestamp(path.stat().st_mtime, timezone.utc).isoformat(timespec="seconds")
