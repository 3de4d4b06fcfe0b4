"""The page of all results, results/README.md, computed from the files of results/runs/."""
from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from tools.maintainer.results import borders, commands, pairs
from tools.maintainer.results.studies import Measured, Run, Study
from tools.maintainer.results.text import percent, points, spread, table, tall_table, wrap_prose
from utils.evaluation.statistics import bootstrap
from utils.report import results

HEAD = """\
# Results

Measured with this code. Published numbers stand in [docs/reproduce.md](../docs/reproduce.md). The
page is written by `python -m tools.maintainer.results` from the small files of every run that
[results/runs](runs/README.md) keeps: change those, not the page. Commands are recorded as they were
typed at the commit of the run; files that they name may have moved since.

How to read it. The mean over several seeds is given with its standard deviation. There are two
sources of chance:

- *Another seed* draws other weights, another order and other crops. Two rows are compared seed by
  seed, and Student's 95 % interval of the mean difference says what more seeds could give. With
  three seeds it is wide.
- *Other images*: 2,000 bootstrap samples of the scored images give a 95 % interval. p is the share
  of 2,000 random exchanges of two networks' results, image by image, whose difference is at least
  as large. An image is resampled, or exchanged, for all seeds at once. Frames of one video are
  correlated: where a section names groups of images, whole drives, or blocks of 20 frames, are
  drawn and exchanged.

Nothing is corrected for the number of comparisons in a section. The time of training is that of its
steps, on a machine that did other work too."""

BRIEF_HEAD = """\
## Earlier studies, from random weights

Question, protocol and limits of a study are in the linked file, and the command of each run in its
`env.json` beside it. None of these networks had ImageNet weights, the trainings were short, and of
so many comparisons some differ by chance."""

# pair of labels -> outcome
Outcomes = Mapping[tuple[str, str], pairs.Outcome]
# (is the sign certain over the seeds, over the images) -> whether the two differ
TOLD_APART = {
    (True, True): "yes", (True, False): "for these seeds only",
    (False, True): "on these images only", (False, False): "no",
}
# most validations of a run in a table
SHOWN = 8


def write(studies: Iterable[Study]) -> str:
    """Returns the page, without studies that have neither runs nor measured tables."""
    shown = [(study, pairs.outcomes(study))
             for study in studies if study.own_runs or study.measured]
    whole = [entry for entry in shown if not entry[0].brief]
    sections = [section(study, outcomes) for study, outcomes in whole]
    earlier = brief([entry for entry in shown if entry[0].brief])
    parts = filter(None, [HEAD, in_short(whole), *sections, earlier])
    return wrap_prose("\n\n".join(parts)) + "\n"


def claims(studies: Iterable[Study]) -> str:
    """Returns the sentences of the studies that decide a claim, as the README gives them."""
    sentences = []
    for study in studies:
        outcome = pairs.outcomes(study).get(study.compare[0]) if study.claim else None
        if outcome is not None:
            sentences.append(pairs.claim(study, outcome))
    return " ".join(sentences)


def in_short(shown: Sequence[tuple[Study, Outcomes]]) -> str:
    """Returns the outcomes of all comparisons over several seeds, a row each."""
    sentences = claims(study for study, _ in shown)
    rows = []
    for study, outcomes in shown:
        # as GitHub makes it
        anchor = re.sub(r"[^\w\- ]", "", study.title.lower()).replace(" ", "-")
        rows += [(f"[{study.title}](#{anchor})", f"{study.rows[a]} - {study.rows[b]}",
                  len(outcome.pairs), points(outcome.pooled.difference),
                  f"{points(outcome.over_seeds[0])} to {points(outcome.over_seeds[1])}",
                  TOLD_APART[outcome.is_certain], outcome.finding)
                 for (a, b), outcome in outcomes.items() if outcome.over_seeds]
    note = 'Two seeds bound little, and among so many comparisons a wrong "yes" is to be expected.'
    head = ("", "mIoU of the first minus that of the second", "seeds", "points",
            "95 % over the seeds", "told apart", "finding over the seeds")
    parts = filter(None, ["## In short", sentences, table(head, rows), note])
    return "\n\n".join(parts) if rows else ""


def brief(shown: Sequence[tuple[Study, Outcomes]]) -> str:
    """Returns the table of the studies that have no section of their own."""
    rows = []
    for study, outcomes in shown:
        title = f"[{study.title}](runs/{study.name}/study.yaml)"
        for label, runs in study.labels.items():
            differences = [
                f"{_difference(outcome)} than `{b}`"
                for (a, b), outcome in outcomes.items() if a == label]
            rows.append((title, study.rows[label], f"`{label}`",
                         spread(run.scores["mIoU"] for run in runs),
                         ", ".join(percent(run.scores["mIoU"]) for run in runs),
                         "; ".join(differences) or "-"))
    head = ("study", "row", "label", "mIoU, %", "each seed",
            "points more (Student's 95 % interval over the seeds)")
    return f"{BRIEF_HEAD}\n\n{table(head, rows)}" if rows else ""


def _difference(outcome: pairs.Outcome) -> str:
    text = points(outcome.pooled.difference)
    if outcome.over_seeds is None:
        return text
    return f"{text} ({points(outcome.over_seeds[0])} to {points(outcome.over_seeds[1])})"


def section(study: Study, outcomes: Outcomes) -> str:
    """Returns the part of the page about one study."""
    parts = [f"## {study.title}", study.question.strip(), study.protocol.strip()]
    if study.runs:
        parts += [_scored(study), _scores(study),
                  *(pairs.describe(study, *labels, outcome)
                    for labels, outcome in outcomes.items()),
                  _classes(study, outcomes), borders.describe(study, outcomes),
                  _boundaries(study), _validations(study), _facts(study),
                  _commands(study)]
    parts += [_measured(measured) for measured in study.measured]
    return "\n\n".join(filter(None, [*parts, study.limits.strip()]))


def _scored(study: Study) -> str:
    """Says what was scored, and how."""
    snapshots = dict.fromkeys(
        f"`{run.scores['settings']['snapshot'].rsplit('/', 1)[-1]}` "
        f"({'averaged' if run.scores['settings']['weights'] == 'ema' else 'raw'} weights)"
        for run in study.runs)
    settings = study.runs[0].scores["settings"]
    groups = next((run.groups for run in study.runs if run.groups), None)
    correlated = f", in {len(set(groups))} groups of correlated images" if groups else ""
    return (f"Scored: {' or '.join(snapshots)} on the {len(study.runs[0].images)} images of "
            f"{settings['dataset']} `{settings['split']}`{correlated}, "
            f"{len(study.runs[0].classes)} classes.")


def _scores(study: Study) -> str:
    rows = []
    for label, runs in study.labels.items():
        groups = next((run.groups for run in runs if run.groups), None)
        low, high = bootstrap(np.stack([run.matrices for run in runs]), groups=groups)
        rows.append((study.rows[label], f"`{label}`", len(runs),
                     spread(run.scores["mIoU"] for run in runs),
                     ", ".join(percent(run.scores["mIoU"]) for run in runs),
                     f"{percent(low)} to {percent(high)}",
                     *(spread(run.scores[name] for run in runs)
                       for name in ("pixel_accuracy", "mean_accuracy", "fwIoU"))))
    return table(("", "label", "seeds", "mIoU, %", "each seed", "95 % over the images",
                  "pixel accuracy, %", "mean accuracy, %", "frequency-weighted IoU, %"),
                 rows)


def _classes(study: Study, outcomes: Outcomes) -> str:
    """The IoU of each class, and the compared pairs' differences."""
    rows = []
    for index, name in enumerate(study.runs[0].classes):
        values = [spread(run.scores["per_class_IoU"][name] for run in runs)
                  for runs in study.labels.values()]
        differences = [pairs.mean_difference(
            (results.iou(run_a.matrices.sum(0))[index], results.iou(run_b.matrices.sum(0))[index])
            for run_a, run_b in outcome.pairs) for outcome in outcomes.values()]
        rows.append((name, *values, *map(points, differences)))
    titles = [f"`{a}` - `{b}`" for a, b in outcomes]
    head = ("IoU of each class, %", *(f"`{label}`" for label in study.labels), *titles)
    return tall_table(head, rows)


def _boundaries(study: Study) -> str:
    """The boundary F of the rows that `borders.describe` does not give."""
    rows = []
    for label, runs in study.labels.items():
        scores_of_runs = [run.scores["boundary_F"] for run in runs
                          if "boundary_F" in run.scores and "trimap" not in run.scores]
        rows += [(f"`{label}`", threshold,
                  *(spread(scores[threshold][name]
                           for scores in scores_of_runs if threshold in scores)
                    for name in ("mean", "mean_present")))
                 for threshold in dict.fromkeys(threshold for scores in scores_of_runs
                                                for threshold in scores)]
    head = ("boundary F", "within this part of the diagonal", "over all classes, %",
            "over those that are there, %")
    return table(head, rows) if rows else ""


def _validations(study: Study) -> str:
    """What the runs that were validated on the way scored, at some of the epochs."""
    rows = []
    for run in study.runs:
        history = [(line["epoch"], line["mIoU"])
                   for line in run.validations if line["mIoU"] is not None]
        if history:
            best = max(history, key=lambda entry: entry[1])
            step = math.ceil(len(history) / SHOWN)
            # counted from the end, so that the last validation is shown
            selected = history[::-step][::-1]
            rows.append((run.name, f"`{run.args['val_split']}`",
                         ", ".join(f"{epoch:g}: {percent(value)}" for epoch, value in selected),
                         f"{percent(best[1])} after {best[0]:g}"))
    return table(("validated while training", "on", "mIoU, % after epoch", "best"),
                 rows) if rows else ""


def _facts(study: Study) -> str:
    """What each run took, and what it ran on."""
    rows = []
    for run in study.trainings:
        last = run.logged[-1]
        rows.append((run.name, f"{last['loss']:.2f}", f"{last['terms']['main']:.2f}",
                     f"{last['step']:,}", f"{last['step'] * run.batch:,}", f"{last['epoch']:.4g}",
                     f"{run.seconds / 3600:.2f} h", run.env["precision"], hardware(run),
                     f"`{run.env['commit'][:7]}`", run.env["started"][:10]))
    head = ("run", "last loss", "of it main", "steps",
            "images seen", "epochs", "training", "precision", "hardware", "commit", "date")
    return "\n".join([table(head, rows), "", software(study.own_runs)])


def hardware(run: Run) -> str:
    """Returns the device, and how much of it a run had."""
    processes = run.env.get("processes", 1)
    threads = run.env["threads"]
    text = f"{run.env['device']}, {threads} {'thread' if threads == 1 else 'threads'}"
    if processes > 1:
        text += f", {processes} processes"
    return text


def software(runs: Sequence[Run]) -> str:
    """Says what the runs ran with, and by which hash the list of their training files is known."""
    with_what = " or ".join(dict.fromkeys(f"Python {run.env['python']}, torch {run.env['torch']}"
                                          for run in runs))
    files = dict.fromkeys((run.args["train_split"], run.env["data"]["files"],
                           run.env["data"]["sha256_of_names_and_sizes"][:12]) for run in runs)
    trained_on = "; ".join(
        f"`{split}`, {count} files (SHA-256 of their names and sizes: `{digest}`)"
        for split, count, digest in files)
    return f"{with_what}. Trained on {trained_on}."


def _commands(study: Study) -> str:
    """Returns the commands that train and score each row; of further seeds, the changed flags."""
    lines = []
    for label, runs in study.labels.items():
        if label in study.borrow:
            continue
        first, *more = runs
        lines += [commands.wrap(commands.training(first)), commands.wrap(commands.scoring(first))]
        for run in more:
            same = commands.is_same_but_seed(run, first)
            if same:
                lines.append(f"# seed {run.seed}: the same with --seed {run.seed} "
                             f"--exp {run.args['exp']}")
            else:
                lines += [commands.wrap(commands.training(run)),
                          commands.wrap(commands.scoring(run))]
    # one run may be scored in several ways
    return "\n".join(["```bash", *dict.fromkeys(lines), "```"])


def _measured(measured: Measured) -> str:
    cells: list[Sequence[Any]] = [["-" if value is None else value for value in row]
                                  for row in measured.rows]
    # continued lines are joined, and the commands are wrapped anew
    lines = re.sub(r" \\\n *", " ", "\n".join(measured.commands)).split("\n")
    shown = "\n".join(["```bash", *map(commands.wrap, lines), "```"])
    origin = f"{measured.hardware}; commit `{measured.commit}`, {measured.date}."
    return "\n\n".join(filter(None,
                              [f"### {measured.title}" if measured.title else "", shown,
                               table(measured.columns, cells),
                               f"{measured.note.strip()} {origin}".strip()]))
