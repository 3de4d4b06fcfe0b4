"""Where two rows of a study differ: near class borders or away from them, in thin or large classes.

The numbers are those of `eval.py --trimap PIXELS --evaluateF`.
"""
from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from tools.maintainer.results.pairs import Outcome
from tools.maintainer.results.studies import Run, Study
from tools.maintainer.results.text import percent, points, spread, tall_table
from utils.evaluation.statistics import t_interval

# of a run; None where it is undefined
Score = Callable[[Run], "float | None"]


def describe(study: Study, outcomes: Mapping[tuple[str, str], Outcome]) -> str:
    """Returns the table of the rows that were scored with --trimap, or ""."""
    scored = {label: [run for run in runs if "trimap" in run.scores]
              for label, runs in study.labels.items()}
    scored = {label: runs for label, runs in scored.items() if runs}
    if not scored:
        return ""
    first = next(iter(scored.values()))[0]
    scores = _scores(first.scores)
    rows = [(title, *(spread(map(score, runs)) for runs in scored.values()),
             *(_difference(outcome, score) for outcome in outcomes.values()))
            for title, score in scores.items()]
    if outcomes:
        rows.append(("gain at borders minus gain in the interior", *["-"] * len(scored),
                     *(_difference(outcome, _contrast) for outcome in outcomes.values())))
    head = ("%", *(f"`{label}`" for label in scored), *(f"`{a}` - `{b}`" for a, b in outcomes))
    width, share = (first.scores["trimap"][name] for name in ("width", "share"))
    about = (f"**Near class borders.** {percent(share)} % of the pixels are within {width} of a "
             "class border.")
    if outcomes:
        about += " Differences are in points, with Student's 95 % interval over the seeds."
    return f"{about}\n\n{tall_table(head, rows)}"


def _scores(example: Mapping[str, Any]) -> dict[str, Score]:
    """Returns title -> score, for runs that were scored as the example was."""
    trimap, scores = example["trimap"], {"mIoU": _score("mIoU")}
    scores["mIoU near borders"] = _score("trimap", "border", "mIoU")
    scores["mIoU in the interior"] = _score("trimap", "interior", "mIoU")
    for group in ("thin", "large"):
        names = ", ".join(trimap[group]["classes"])
        if names:
            scores[f"mIoU of {group} classes ({names})"] = _score("trimap", group, "mIoU")
    for threshold in example.get("boundary_F", {}):
        scores[f"boundary F within {threshold} of the diagonal"] = _score(
            "boundary_F", threshold, "mean_present")
    return scores


def _score(*path: str) -> Score:
    """Returns the function that looks a score up; None where a run has none."""
    def look_up(run: Run) -> float | None:
        value: Any = run.scores
        for name in path:
            value = (value or {}).get(name)
        return value
    return look_up


def _contrast(run: Run) -> float | None:
    """Returns the score near borders minus that in the interior."""
    near, interior = (run.scores.get("trimap", {}).get(part, {}).get("mIoU")
                      for part in ("border", "interior"))
    return None if near is None or interior is None else near - interior


def _difference(outcome: Outcome, score: Score) -> str:
    """Returns the mean difference of the pairs of runs, and its interval if there are several.

    The number of pairs is named if some have no such score.
    """
    values = [(score(a), score(b)) for a, b in outcome.pairs]
    differences = [a - b for a, b in values if a is not None and b is not None]
    if not differences:
        return "-"
    text = points(float(np.mean(differences)))
    remarks = []
    if len(differences) > 1:
        remarks.append(" to ".join(map(points, t_interval(differences))))
    if len(differences) < len(values):
        remarks.append(f"{len(differences)} of {len(values)} seeds")
    return f"{text} ({'; '.join(remarks)})" if remarks else text
