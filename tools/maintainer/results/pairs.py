"""Two rows of a study against each other: over the seeds, over the images, and in a sentence."""
from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from tools.maintainer.results.studies import Run, Study
from tools.maintainer.results.text import percent, points, table
from utils.evaluation.statistics import Comparison, paired_test, t_interval

# flags that do not change an experiment: folders, output, speed
NEUTRAL_FLAGS = {
    "exp", "ckpt", "tb_path", "data_root", "packed", "cache_dir", "num_workers", "log_every",
    "checkpoint_every", "keep", "seed", "resume", "print_config", "dump_augmentation_images",
    "memory_estimate", "timeout", "eval_epoch", "eval_every", "eval_late", "eval_images",
    "eval_weights", "evaluateF", "eval_thresholds", "bs_mult_val",
}
# a chance above it is no surprise
DOUBT = 0.05
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
        """Whether the seeds, and whether the images, leave no doubt about the sign."""
        seeds = self.over_seeds is not None and not self.over_seeds[0] <= 0 <= self.over_seeds[1]
        return seeds, not self.pooled.low <= 0 <= self.pooled.high and self.pooled.p_value < DOUBT

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


def outcomes(study: Study) -> dict[tuple[str, str], Outcome]:
    """Returns the outcome of every compared pair of labels that share a seed."""
    found = {}
    for a, b in study.compare:
        if pairs := study.paired(a, b):
            ours, theirs = (
                np.stack([run.matrices for run in runs]) for runs in zip(*pairs, strict=True)
            )
            each = [paired_test(one.matrices, other.matrices) for one, other in pairs]
            over_seeds = t_interval([one.difference for one in each]) if len(pairs) > 1 else None
            found[a, b] = Outcome(pairs, each, paired_test(ours, theirs), over_seeds)
    return found


def describe(study: Study, a: str, b: str, found: Outcome) -> str:
    """Returns the comparison of two labels, `a` minus `b`, as tables and a sentence."""
    rows = [(f"seed {one.seed}", points(tested.difference), *_over_images(tested))
            for (one, _), tested in zip(found.pairs, found.per_seed, strict=True)]
    if len(rows) > 1:
        deviation = percent(float(np.std([tested.difference for tested in found.per_seed], ddof=1)))
        rows.append((
            f"mean of {len(rows)} seeds", f"{points(found.pooled.difference)} ± {deviation}",
            *_over_images(found.pooled),
        ))
    return "\n\n".join([
        f"**{study.rows[a]} against {study.rows[b]}** (`{a}` minus `{b}`). {budget(found.pairs)}",
        table(
            ("", "difference of mIoU, points", "95 % over the images", "p over the images"), rows,
        ),
        found.conclusion,
    ])


def budget(pairs: Sequence[tuple[Run, Run]]) -> str:
    """Says in which flags the two differ, and whether both saw as many images of the same files."""
    if all(
        one.scores["snapshot_sha256"] == other.scores["snapshot_sha256"] for one, other in pairs
    ):
        return "The same checkpoints, scored in two ways."
    differing = dict.fromkeys(
        f"`{flag}` {_short(one.args[flag])} against {_short(other.args[flag])}"
        for one, other in pairs
        for flag in one.args
        if flag not in NEUTRAL_FLAGS and flag in other.args and one.args[flag] != other.args[flag]
    )
    said = []
    for ours, theirs in dict.fromkeys((_steps(one), _steps(other)) for one, other in pairs):
        if ours == theirs:
            said.append(f"equal budget, {ours[0]:,} steps of {ours[1]} images")
        else:
            said.append(
                f"**not at equal budget**, {ours[0]:,} steps of {ours[1]} images against "
                f"{theirs[0]:,} of {theirs[1]}"
            )
    if any(one.env["data"] != other.env["data"] for one, other in pairs):
        said.append("**not trained on the same files**")
    scored = dict.fromkeys(
        f"`{name}` {_short(one.scoring.get(name))} against {_short(other.scoring.get(name))}"
        for one, other in pairs
        for name in one.differing_settings(other)
    )
    if scored:
        said.append(f"**not scored alike**, {', '.join(scored)}")
    return f"Flags that differ: {', '.join(differing) or 'none'}; {'; '.join(said)}."


def mean_difference(values: Iterable[tuple[float, float]]) -> float:
    """Returns the mean of the first minus the second; NaN where one is undefined."""
    return float(np.mean([one - other for one, other in values]))


def _steps(run: Run) -> tuple[int, int]:
    """How many steps a run took, and of how many images."""
    return run.logged[-1]["step"], run.batch


def _over_images(found: Comparison) -> tuple[str, str]:
    p = f"{found.p_value:.3f}" if found.p_value >= 0.001 else "< 0.001"
    return f"{points(found.low)} to {points(found.high)}", p


def _short(value: object) -> str:
    """A flag's value as a word."""
    words: dict[object, str] = {True: "on", False: "off", None: "none"}
    return words[value] if value is None or isinstance(value, bool) else str(value)
