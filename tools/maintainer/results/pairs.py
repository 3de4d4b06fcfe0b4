"""Two rows of a study against each other: over the seeds, over the images, and in a sentence."""
from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from functools import cache
from typing import NamedTuple

import numpy as np

import train
from tools.maintainer.results.studies import Run, Study
from tools.maintainer.results.text import percent, points, table
from utils.evaluation.statistics import Comparison, paired_test, t_interval

# flags that do not change an experiment (folders, output, speed), or only its steps, which the
# remark about the budget states
NEUTRAL_FLAGS = {
    "exp", "ckpt", "tb_path", "data_root", "packed", "cache_dir", "num_workers", "log_every",
    "checkpoint_every", "keep", "seed", "resume", "print_config", "dump_augmentation_images",
    "memory_estimate", "timeout", "eval_epoch", "eval_every", "eval_late", "eval_images",
    "eval_weights", "evaluateF", "eval_thresholds", "bs_mult_val", "max_epoch", "max_iters",
}
# significance level of the permutation test
SIGNIFICANCE = 0.05
# (is the sign certain over the seeds, over the images) -> the conclusion
CONCLUSIONS = {
    (True, True):
        "The difference is larger than the noise: neither the seeds nor the images leave the sign "
        "open.",
    (True, False):
        "The seeds agree, but the difference is within the noise of the images: on other images of "
        "this kind it could have the other sign.",
    (False, True):
        "The difference is within the noise of the seeds: on these images the two do differ, but "
        "other seeds could turn the sign.",
    (False, False):
        "The difference is within the noise, of the seeds and of the images: these runs do not "
        "show which of the two is better.",
}
# a difference of fractions: an interval that holds 0 and is narrower shows that little differs
NARROW = 0.01
# is the sign certain over the images -> the conclusion from a single seed
CONCLUSIONS_OF_ONE_SEED = {
    True:
        "The two differ by more than the noise of the images. One seed does not show how much "
        "another would change, so this does not show that what was varied is the cause.",
    False:
        "The difference is within the noise of the images, and one seed does not show how much "
        "another would change: these runs do not show which of the two is better.",
}


class Outcome(NamedTuple):
    """The comparison of two rows.

    Attributes:
        pairs: their runs, one pair per seed.
        per_seed: the comparison of each pair over the images.
        pooled: the comparison of all pairs over the images.
        over_seeds: Student's interval of the mean difference; None for a single seed.
    """

    pairs: list[tuple[Run, Run]]
    per_seed: list[Comparison]
    pooled: Comparison
    over_seeds: tuple[float, float] | None

    @property
    def is_certain(self) -> tuple[bool, bool]:
        """Whether the sign of the difference is certain over the seeds, and over the images.

        It is certain if the 95 % interval does not contain 0, and over the images also p < 0.05.
        """
        over_seeds = self.over_seeds is not None and not _contains_zero(*self.over_seeds)
        over_images = (not _contains_zero(self.pooled.low, self.pooled.high)
                       and self.pooled.p_value < SIGNIFICANCE)
        return over_seeds, over_images

    @property
    def conclusion(self) -> str:
        """Says whether the difference is within the noise."""
        if self.over_seeds is None:
            return CONCLUSIONS_OF_ONE_SEED[self.is_certain[1]]
        low, high = map(points, self.over_seeds)
        loosely = " (two seeds bound it loosely)" if len(self.pairs) == 2 else ""
        return (
            f"Over {len(self.pairs)} seeds the mean difference is {points(self.pooled.difference)} "
            f"points, Student's 95 % interval {low} to {high}{loosely}. "
            f"{CONCLUSIONS[self.is_certain]}"
        )

    @property
    def finding(self) -> str:
        """Says whether the interval over the seeds decides the comparison, and by what."""
        if self.over_seeds is None:
            return "undecided, one seed"
        low, high = self.over_seeds
        if not _contains_zero(low, high):
            return "the interval excludes zero"
        if high - low < NARROW:
            return "the interval contains zero and is narrower than one point"
        return "undecided, the interval contains zero"


def claim(study: Study, outcome: Outcome) -> str:
    """Returns the sentence about the first compared pair of a study that decides a claim."""
    a, b = (study.rows[label].partition(",")[0] for label in study.compare[0])
    count = len(outcome.pairs)
    text = f"{study.claim}, {a} scores {points(outcome.pooled.difference)} points over {b}"
    if outcome.over_seeds is None:
        return f"{text} with one seed, which decides nothing."
    low, high = map(points, outcome.over_seeds)
    return (f"{text} ({count} seeds, Student's 95 % interval {low} to {high}): "
            f"{outcome.finding}.")


def outcomes(study: Study) -> dict[tuple[str, str], Outcome]:
    """Returns the outcome of each compared pair of labels that share a seed."""
    outcome_of = {}
    for a, b in study.compare:
        pairs = study.paired(a, b)
        if not pairs:
            continue
        # an evaluation of an older version has no groups
        groups = next((run.groups for pair in pairs for run in pair if run.groups), None)
        per_seed = [paired_test(run_a.matrices, run_b.matrices, groups=groups)
                    for run_a, run_b in pairs]
        matrices_a = np.stack([run_a.matrices for run_a, _ in pairs])
        matrices_b = np.stack([run_b.matrices for _, run_b in pairs])
        over_seeds = None
        if len(pairs) > 1:
            over_seeds = t_interval([comparison.difference for comparison in per_seed])
        pooled = paired_test(matrices_a, matrices_b, groups=groups)
        outcome_of[a, b] = Outcome(pairs, per_seed, pooled, over_seeds)
    return outcome_of


def describe(study: Study, a: str, b: str, outcome: Outcome) -> str:
    """Returns the comparison of two labels, `a` minus `b`, as tables and a sentence."""
    rows = [(f"seed {run.seed}", points(tested.difference), *_over_images(tested))
            for (run, _), tested in zip(outcome.pairs, outcome.per_seed, strict=True)]
    if len(rows) > 1:
        deviation = percent(float(np.std([tested.difference for tested in outcome.per_seed],
                                         ddof=1)))
        rows.append((f"mean of {len(rows)} seeds",
                     f"{points(outcome.pooled.difference)} ± {deviation}",
                     *_over_images(outcome.pooled)))
    return "\n\n".join([
        f"**{study.rows[a]} against {study.rows[b]}** (`{a}` minus `{b}`). {budget(outcome.pairs)}",
        table(
            ("", "difference of mIoU, points", "95 % over the images", "p over the images"), rows,
        ),
        outcome.conclusion,
    ])


def budget(pairs: Sequence[tuple[Run, Run]]) -> str:
    """Names the flags in which two rows differ, and tells whether their training is comparable."""
    if all(a.scores["snapshot_sha256"] == b.scores["snapshot_sha256"] for a, b in pairs):
        return "The same checkpoints, scored in two ways."
    flags = dict.fromkeys(
        f"`{flag}` {_short(first)} against {_short(second)}"
        for a, b in pairs
        for flag, (first, second) in _differing_flags(a, b).items()
    )
    remarks = [*dict.fromkeys(_budget_remark(a, b) for a, b in pairs)]
    if any(a.env["data"] != b.env["data"] for a, b in pairs):
        remarks.append("**not trained on the same files**")
    settings = dict.fromkeys(
        f"`{name}` {_short(a.scoring.get(name))} against {_short(b.scoring.get(name))}"
        for a, b in pairs
        for name in a.differing_settings(b)
    )
    if settings:
        remarks.append(f"**not scored alike**, {', '.join(settings)}")
    return f"Flags that differ: {', '.join(flags) or 'none'}; {'; '.join(remarks)}."


def _differing_flags(a: Run, b: Run) -> dict[str, tuple[object, object]]:
    """Returns the values of the flags in which two runs differ.

    A flag that is younger than one of the runs had its default there; one that train.py no longer
    has is compared only if both runs have it.
    """
    first, second = {**_default_flags(), **a.args}, {**_default_flags(), **b.args}
    return {
        flag: (first[flag], second[flag])
        for flag in dict.fromkeys([*a.args, *b.args])
        if flag not in NEUTRAL_FLAGS and flag in first and flag in second
        and first[flag] != second[flag]
    }


@cache
def _default_flags() -> dict[str, object]:
    """Returns the defaults of train.py in JSON types, as the flags of kept runs are."""
    defaults: dict[str, object] = json.loads(
        json.dumps(vars(train.build_parser().parse_args([])), default=str))
    return defaults


def _budget_remark(a: Run, b: Run) -> str:
    steps_a, steps_b = a.logged[-1]["step"], b.logged[-1]["step"]
    if (steps_a, a.batch) == (steps_b, b.batch):
        return f"equal budget, {steps_a:,} steps of {a.batch} images"
    return (
        f"**not at equal budget**, {steps_a:,} steps of {a.batch} images against {steps_b:,} of "
        f"{b.batch}"
    )


def _contains_zero(low: float, high: float) -> bool:
    return low <= 0 <= high


def mean_difference(values: Iterable[tuple[float, float]]) -> float:
    """Returns the mean of the first minus the second; NaN where one is undefined."""
    return float(np.mean([first - second for first, second in values]))


def _over_images(comparison: Comparison) -> tuple[str, str]:
    p = f"{comparison.p_value:.3f}" if comparison.p_value >= 0.001 else "< 0.001"
    return f"{points(comparison.low)} to {points(comparison.high)}", p


def _short(value: object) -> str:
    """A flag's value as a word."""
    words: dict[object, str] = {True: "on", False: "off", None: "none"}
    return words[value] if value is None or isinstance(value, bool) else str(value)
