"""The commands that trained and scored a kept run, as they are pasted."""
from __future__ import annotations

import json
import re
import shlex

import eval as evaluation
from tools.maintainer.results.studies import SCORING_SETTINGS, Run
from tools.maintainer.results.text import WIDTH

# settings of an evaluation, other than `SCORING_SETTINGS`, that decide the scores on the page
MORE_SETTINGS = ("mode", "cv_split", "evaluateF", "eval_thresholds")


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
    """Returns the command that scored a run."""
    return shlex.join(["python", "eval.py", "--snapshot", run.scores["settings"]["snapshot"],
                       *_flags(run)])


def _flags(run: Run) -> list[str]:
    """Returns the flags of eval.py that decide the scores, other than the snapshot."""
    settings = run.scores["settings"]
    defaults = vars(evaluation.build_parser().parse_args(["--snapshot", settings["snapshot"]]))
    other = settings["dataset"] != run.args["dataset"] and not run.args["dataset"].endswith(".yaml")
    words = ["--dataset", settings["dataset"]] if other else []
    words += ["--data_root", settings["data_root"], "--split", settings["split"]]
    usual = {"weights": "ema" if run.args.get("ema_decay") else "raw",
             "precision": "fp32" if settings.get("exact") else run.env["precision"]}
    for name in (*SCORING_SETTINGS, *MORE_SETTINGS):
        value = settings.get(name)
        if value is None or value == usual.get(name, json.loads(json.dumps(defaults[name]))):
            continue
        if isinstance(value, bool):
            words.append(f"--{name}" if value else f"--no_{name}")
        else:
            between = "x" if name == "crop_size" else ","
            words += [f"--{name}",
                      between.join(map(str, value)) if isinstance(value, list) else str(value)]
    return words


def is_same_but_seed(run: Run, other: Run) -> bool:
    """Whether the commands of two runs differ in the seed and the name alone."""
    return _shared_words(run) == _shared_words(other) and _flags(run) == _flags(other)


def _shared_words(run: Run) -> list[str]:
    """The words of a run's command but for its seed and its name."""
    words = run.env["command"][1:]
    return [word for before, word in zip(["", *words], words, strict=False)
            if not {before, word} & {"--seed", "--exp"}]
