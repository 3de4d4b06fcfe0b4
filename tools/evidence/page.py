"""The page of all results, docs/results.md: everything on it is computed from what docs/runs/ holds."""
from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

import eval as evaluation
from tools.evidence import pairs
from tools.evidence.studies import Measured, Run, Study
from tools.evidence.text import percent, points, spread, table
from utils.report import results
from utils.statistics import bootstrap

HEAD = """\
# Results

Measured with this code; published numbers stand in [recipes.md](recipes.md). This page is written by
`python -m tools.results` from the small files of every run that [docs/runs](runs/README.md) keeps: change those, not
the page.

How to read it. A mean over several seeds stands with its standard deviation. Two kinds of chance are told apart:

- *Another seed* draws other weights, another order and other crops. Two rows are compared seed by seed, and Student's
  95 % interval of the mean difference says what more seeds could give. With three seeds it is wide.
- *Other images*: 2,000 redrawn sets of the scored images give a 95 % interval. p is the share of 2,000 random exchanges
  of two networks' results, image by image, that give a difference as large. An image is redrawn, or exchanged, for all
  seeds at once. Frames of one video are not independent, so there the true interval is wider and the true p larger.

Nothing is corrected for the number of comparisons in a section. The time of training is that of its steps, on a machine
that did other work besides."""

HOW = ("inference_mode", "crop_size", "sliding_overlap", "scales", "flip", "average", "evaluateF",
       "eval_thresholds")                                   # flags of eval.py that decide what stands here
WIDTH = 120                                                 # of a command's lines
SHOWN = 8                                                   # validations of a run in a table


def write(studies: Iterable[Study]) -> str:
    """Returns the page; studies without runs of their own and without measured tables are left out."""
    sections = [section(study) for study in studies if study.own or study.measured]
    return "\n\n".join([HEAD, *sections]) + "\n"


def section(study: Study) -> str:
    """Returns the part of the page about one study."""
    parts = [f"## {study.title}", study.question.strip(), study.protocol.strip()]
    if study.runs:
        parts += [_scored(study), _scores(study), *(pairs.describe(study, *pair) for pair in study.compare),
                  _classes(study), _boundaries(study), _validations(study), _facts(study), _commands(study)]
    parts += [_measured(one) for one in study.measured]
    return "\n\n".join(filter(None, [*parts, study.limits.strip()]))


def _scored(study: Study) -> str:
    """Says what was scored, and how."""
    said = dict.fromkeys(
        f"`{run.scores['settings']['snapshot'].rsplit('/', 1)[-1]}` "
        f"({'averaged' if run.scores['settings']['weights'] == 'ema' else 'raw'} weights)" for run in study.runs)
    settings = study.runs[0].scores["settings"]
    return (f"Scored: {' or '.join(said)} on the {len(study.runs[0].images)} images of {settings['dataset']} "
            f"`{settings['split']}`, {len(study.runs[0].classes)} classes.")


def _scores(study: Study) -> str:
    rows = []
    for label, runs in study.labels.items():
        low, high = bootstrap(np.stack([run.matrices for run in runs]))
        rows.append((study.rows[label], f"`{label}`", len(runs), spread(run.scores["mIoU"] for run in runs),
                     ", ".join(percent(run.scores["mIoU"]) for run in runs), f"{percent(low)} to {percent(high)}",
                     *(spread(run.scores[name] for run in runs) for name in ("pixel_accuracy", "mean_accuracy",
                                                                             "fwIoU"))))
    return table(("", "label", "seeds", "mIoU, %", "each seed", "95 % over the images", "pixel accuracy, %",
                  "mean accuracy, %", "frequency-weighted IoU, %"), rows)


def _classes(study: Study) -> str:
    """The IoU of each class, and the compared pairs' differences."""
    compared = [(a, b, found) for a, b in study.compare if (found := study.paired(a, b))]
    rows = []
    for place, name in enumerate(study.runs[0].classes):
        values = [spread(run.scores["per_class_IoU"][name] for run in runs) for runs in study.labels.values()]
        differences = [pairs.mean_difference(
            (results.iou(one.matrices.sum(0))[place], results.iou(other.matrices.sum(0))[place])
            for one, other in found) for _, _, found in compared]
        rows.append((name, *values, *map(points, differences)))
    titles = [f"`{a}` - `{b}`" for a, b, _ in compared]
    return table(("IoU of each class, %", *(f"`{label}`" for label in study.labels), *titles), rows)


def _boundaries(study: Study) -> str:
    """The boundary F of the rows that were scored with --evaluateF."""
    rows = []
    for label, runs in study.labels.items():
        found = [run.scores["boundary_F"] for run in runs if "boundary_F" in run.scores]
        rows += [(f"`{label}`", threshold, *(spread(one[threshold][name] for one in found)
                                            for name in ("mean", "mean_present"))) for threshold in (found or [{}])[0]]
    head = ("boundary F", "within this part of the diagonal", "over all classes, %", "over those that are there, %")
    return table(head, rows) if rows else ""


def _validations(study: Study) -> str:
    """What the runs that were validated on the way scored, at some of the epochs."""
    rows = []
    for run in study.runs:
        history = [(line["epoch"], line["mIoU"]) for line in run.validations if line["mIoU"] is not None]
        if history:
            best = max(history, key=lambda one: one[1])
            step = -(-len(history) // SHOWN)
            some = history[::-step][::-1]                   # the last one is among them
            rows.append((run.name, f"`{run.args['val_split']}`", ", ".join(
                f"{epoch:g}: {percent(value)}" for epoch, value in some), f"{percent(best[1])} after {best[0]:g}"))
    return table(("validated while training", "on", "mIoU, % after epoch", "best"), rows) if rows else ""


def _facts(study: Study) -> str:
    """What each run took, and what it ran on."""
    rows = []
    for run in study.own:
        low, high = bootstrap(run.matrices)
        last = run.logged[-1]
        rows.append((run.name, percent(run.scores["mIoU"]), f"{percent(low)} to {percent(high)}",
                     percent(run.scores["pixel_accuracy"]), f"{last['loss']:.2f}", f"{last['terms']['main']:.2f}",
                     f"{last['step']:,}", f"{last['step'] * run.batch:,}", f"{last['epoch']:.4g}",
                     f"{run.seconds / 3600:.2f} h", run.env["precision"], hardware(run), f"`{run.env['commit'][:7]}`",
                     run.env["started"][:10]))
    head = ("run", "mIoU, %", "95 % over the images", "pixel accuracy, %", "last loss", "of it main", "steps",
            "images seen", "epochs", "training", "precision", "hardware", "commit", "date")
    return "\n".join([table(head, rows), "", software(study.own)])


def hardware(run: Run) -> str:
    """Returns the device, and how much of it a run had."""
    processes = run.env.get("processes", 1)
    threads = f"{run.env['threads']} thread{'s' * (run.env['threads'] > 1)}"
    return f"{run.env['device']}, {threads}" + f", {processes} processes" * (processes > 1)


def software(runs: Sequence[Run]) -> str:
    """Says what the runs ran with, and by which hash the list of their training files is known."""
    with_what = " or ".join(dict.fromkeys(f"Python {run.env['python']}, torch {run.env['torch']}" for run in runs))
    files = dict.fromkeys((run.args["train_split"], run.env["data"]["files"],
                           run.env["data"]["sha256_of_names_and_sizes"][:12]) for run in runs)
    trained_on = "; ".join(f"`{split}`, {count} files (SHA-256 of their names and sizes: `{digest}`)"
                           for split, count, digest in files)
    return f"{with_what}. Trained on {trained_on}."


def _commands(study: Study) -> str:
    """The commands that train and score each row, to be pasted; of the further seeds only what is another."""
    lines = []
    for label, runs in study.labels.items():
        if label in study.borrow:
            continue
        first, *more = runs
        lines += [wrapped(train_command(first)), wrapped(eval_command(first))]
        for run in more:
            same = _shared_words(run) == _shared_words(first) and eval_flags(run) == eval_flags(first)
            lines += ([f"# seed {run.seed}: the same with --seed {run.seed} --exp {run.args['exp']}"] if same
                      else [wrapped(train_command(run)), wrapped(eval_command(run))])
    return "\n".join(["```bash", *dict.fromkeys(lines), "```"])               # one run may be scored in several ways


def wrapped(command: str) -> str:
    """Returns a command over as many lines as it takes, each of which starts with a flag."""
    first, *flags = re.split(" (?=--)", command)
    lines = [first]
    for flag in flags:
        if len(lines[-1]) + len(flag) + 3 <= WIDTH:         # a space, and the mark of a line that goes on
            lines[-1] += f" {flag}"
        else:
            lines.append(f"    {flag}")
    return " \\\n".join(lines)


def train_command(run: Run) -> str:
    """Returns the command that trained a run."""
    processes = run.env.get("processes", 1)
    start = ["torchrun", "--nproc_per_node", str(processes)] if processes > 1 else ["python"]
    return shlex.join([*start, *run.env["command"][1:]])


def eval_command(run: Run) -> str:
    """Returns the command that scored a run."""
    return shlex.join(["python", "eval.py", "--snapshot", run.scores["settings"]["snapshot"], *eval_flags(run)])


def eval_flags(run: Run) -> list[str]:
    """Returns the words of eval.py's command line that decide the scores, those of the snapshot excepted."""
    settings = run.scores["settings"]
    defaults = vars(evaluation.build_parser().parse_args(["--snapshot", settings["snapshot"]]))
    words = ["--data_root", settings["data_root"], "--split", settings["split"]]
    if settings["weights"] == "raw" and run.args.get("ema_decay"):
        words += ["--weights", "raw"]                       # else the averaged ones would be taken
    for name in HOW:
        value = settings.get(name)
        if value is None or value == json.loads(json.dumps(defaults[name])):
            continue
        if isinstance(value, bool):
            words.append(f"--{name}" if value else f"--no_{name}")
        else:
            between = "x" if name == "crop_size" else ","
            words += [f"--{name}", between.join(map(str, value)) if isinstance(value, list) else str(value)]
    return words


def _shared_words(run: Run) -> list[str]:
    """The words of a run's command but for its seed and its name."""
    words = run.env["command"][1:]
    return [word for before, word in zip(["", *words], words, strict=False)
            if not {before, word} & {"--seed", "--exp"}]


def _measured(found: Measured) -> str:
    cells: list[Sequence[Any]] = [["-" if value is None else value for value in row] for row in found.rows]
    commands = "\n".join(["```bash", *found.commands, "```"])
    said = f"{found.hardware}; commit `{found.commit}`, {found.date}."
    return "\n\n".join(filter(None, [f"### {found.title}" if found.title else "", commands,
                                     table(found.columns, cells), f"{found.note.strip()} {said}".strip()]))
