"""Two rows of a study against each other: over the seeds, over the images, and in a sentence."""
from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from tools.evidence.studies import Run, Study
from tools.evidence.text import percent, points, table
from utils.statistics import Comparison, paired_test, t_interval

# flags that make no other experiment: where things lie, what is said, how fast it goes
ASIDE = {"exp", "ckpt", "tb_path", "data_root", "packed", "cache_dir", "num_workers", "log_every", "checkpoint_every",
         "keep", "seed", "resume", "print_config", "dump_augmentation_images", "memory_estimate", "timeout",
         "eval_epoch", "eval_every", "eval_late", "eval_images", "eval_weights",
         "evaluateF", "eval_thresholds", "bs_mult_val"}
DOUBT = 0.05                                                # a chance above it is no surprise
# (do the seeds leave no doubt, do the images) -> what that means
VERDICTS = {
    (True, True): "The difference is larger than the noise: neither the seeds nor the images leave the sign open.",
    (True, False): "The seeds agree, but the difference is within the noise of the images: on other images of this "
                   "kind it could have the other sign.",
    (False, True): "The difference is within the noise of the seeds: on these images the two do differ, but other "
                   "seeds could turn the sign.",
    (False, False): "The difference is within the noise, of the seeds and of the images: these runs do not tell the "
                    "two apart.",
}
ALONE = {
    True: "The two differ by more than the noise of the images. One seed does not show how much another would change, "
          "so nothing sure is said about what was varied.",
    False: "The difference is within the noise of the images, and one seed does not show how much another would "
           "change: these runs do not tell the two apart.",
}


def describe(study: Study, a: str, b: str) -> str:
    """Returns the comparison of two labels' runs that share a seed: `a` minus `b`."""
    pairs = study.paired(a, b)
    if not pairs:
        return ""
    ours, theirs = (np.stack([run.matrices for run in runs]) for runs in zip(*pairs, strict=True))
    pooled = paired_test(ours, theirs)
    each = [paired_test(one.matrices, other.matrices) for one, other in pairs]
    rows = [(f"seed {one.seed}", points(found.difference), *_over_images(found))
            for (one, _), found in zip(pairs, each, strict=True)]
    differences = [found.difference for found in each]
    over_seeds = None
    if len(pairs) > 1:
        over_seeds = t_interval(differences)
        deviation = percent(float(np.std(differences, ddof=1)))
        rows.append((f"mean of {len(pairs)} seeds", f"{points(pooled.difference)} ± {deviation}",
                     *_over_images(pooled)))
    return "\n\n".join([
        f"**{study.rows[a]} against {study.rows[b]}** (`{a}` minus `{b}`). {budget(pairs)}",
        table(("", "difference of mIoU, points", "95 % over the images", "p over the images"), rows),
        verdict(differences, over_seeds, pooled)])


def verdict(differences: Sequence[float], over_seeds: tuple[float, float] | None, pooled: Comparison) -> str:
    """Says whether a difference is within the noise.

    Args:
        differences: of each seed.
        over_seeds: the interval over the seeds, None of one seed.
        pooled: all seeds on the same images.
    """
    images = not pooled.low <= 0 <= pooled.high and pooled.p_value < DOUBT
    if over_seeds is None:
        return ALONE[images]
    low, high = over_seeds
    return (f"Over {len(differences)} seeds the mean difference is {points(pooled.difference)} points, Student's 95 % "
            f"interval {points(low)} to {points(high)}. {VERDICTS[not low <= 0 <= high, images]}")


def budget(pairs: Sequence[tuple[Run, Run]]) -> str:
    """Says in which flags the two differ, and whether both saw as many images of the same files."""
    if all(one.scores["snapshot_sha256"] == other.scores["snapshot_sha256"] for one, other in pairs):
        return "The same checkpoints, scored in two ways."
    differing = dict.fromkeys(
        f"`{flag}` {_short(one.args[flag])} against {_short(other.args[flag])}" for one, other in pairs
        for flag in one.args if flag not in ASIDE and flag in other.args and one.args[flag] != other.args[flag])
    said = []
    for ours, theirs in dict.fromkeys((_steps(one), _steps(other)) for one, other in pairs):
        if ours == theirs:
            said.append(f"equal budget, {ours[0]:,} steps of {ours[1]} images")
        else:
            said.append(f"**not at equal budget**, {ours[0]:,} steps of {ours[1]} images against {theirs[0]:,} of "
                        f"{theirs[1]}")
    if any(one.env["data"] != other.env["data"] for one, other in pairs):
        said.append("**not trained on the same files**")
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
