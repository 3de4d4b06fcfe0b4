"""The commands that trained and evaluated a kept run, for the page of results."""
from __future__ import annotations

import json
import re
import shlex
from typing import Any

import eval as evaluation
from tools.maintainer.results.studies import SCORING_SETTINGS, Run
from tools.maintainer.results.text import WIDTH

# settings of an evaluation, other than `SCORING_SETTINGS`, that decide the scores on the page
MORE_SETTINGS = ("mode", "cv_split", "evaluateF", "eval_thresholds", "trimap")


def wrap(command: str) -> str:
    """Returns a command in lines of at most `WIDTH`, each of which starts with a flag."""
    first, *flags = re.split(" (?=--)", command)
    lines = [first]
    for flag in flags:
        # 3: a space before the flag, and a space and a backslash at the end
        if len(lines[-1]) + len(flag) + 3 <= WIDTH:
            lines[-1] += f" {flag}"
        else:
            lines.append(f"    {flag}")
    return " \\\n".join(lines)


def training(run: Run) -> str:
    """Returns the command that trained a run."""
    processes = run.env.get("processes", 1)
    start = ["torchrun", "--nproc_per_node", str(processes)] if processes > 1 else ["python"]
    return shlex.join([*start, *run.env["command"][1:]])


def scoring(run: Run) -> str:
    """Returns the command that evaluated a run."""
    return shlex.join(["python", "eval.py", "--snapshot", run.scores["settings"]["snapshot"],
                       *_flags(run)])


def _flags(run: Run) -> list[str]:
    """Returns the flags of eval.py that decide the scores, other than the snapshot."""
    settings, dataset = run.scores["settings"], run.args["dataset"]
    parsed = vars(evaluation.build_parser().parse_args(["--snapshot", settings["snapshot"]]))
    names = (*SCORING_SETTINGS, *MORE_SETTINGS)
    # in JSON types, as the settings are: tuples become lists
    defaults = json.loads(json.dumps({name: parsed[name] for name in names}))
    # the defaults of these two follow from the checkpoint and the machine
    defaults["weights"] = "ema" if run.args.get("ema_decay") else "raw"
    defaults["precision"] = "fp32" if settings.get("exact") else run.env["precision"]
    words = []
    if settings["dataset"] != dataset and not dataset.endswith(".yaml"):
        words += ["--dataset", settings["dataset"]]
    words += ["--data_root", settings["data_root"], "--split", settings["split"]]
    for name in names:
        value = settings.get(name)
        if value is not None and value != defaults[name]:
            words += _flag(name, value)
    return words


def _flag(name: str, value: Any) -> list[str]:
    """Returns the words of a command line that set a flag of eval.py."""
    if isinstance(value, bool):
        return [f"--{name}" if value else f"--no_{name}"]
    if isinstance(value, list):
        separator = "x" if name == "crop_size" else ","
        return [f"--{name}", separator.join(map(str, value))]
    return [f"--{name}", str(value)]


def is_same_but_seed(run: Run, other: Run) -> bool:
    """Returns whether the commands of two runs differ only in the seed and the name."""
    return _shared_words(run) == _shared_words(other) and _flags(run) == _flags(other)


def _shared_words(run: Run) -> list[str]:
    """Returns the words of a run's command without `--seed`, `--exp` and their values."""
    words = run.env["command"][1:]
    return [word for before, word in zip(["", *words], words, strict=False)
            if not {before, word} & {"--seed", "--exp"}]
