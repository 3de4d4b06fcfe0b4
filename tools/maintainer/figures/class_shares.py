"""How much of CamVid's pixels each class is, and how well each class is found."""
from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tools.maintainer.figures import style
from tools.maintainer.figures.curves import arch_of
from tools.maintainer.figures.sources import studies_with_runs
from tools.maintainer.figures.style import Theme, decoder
from tools.maintainer.results.studies import read_json

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

CLASSES = "camvid_classes.json"
HOW = "make it with `python -m tools.check_dataset --dataset camvid --data_root data/camvid --json {}`"
SPLITS = {"train": ("o", "yellow"), "val": ("D", "purple"), "test": ("s", "sky")}
# the first that has runs
STUDIES = ("camvid_pair", "camvid_recipe")


def draw(sources: Path, look: Theme) -> Figure:
    """Draws the classes' shares in each split and the IoU of a study's rows, the most frequent
    class at the top.
    """
    shares = read_shares(sources / CLASSES)
    study = studies_with_runs(sources, STUDIES)[0]
    names = sorted(shares["train"], key=shares["train"].__getitem__)
    figure, (left, right) = style.new_figure(4.3, ncols=2, sharey=True, gridspec_kw={
        "left": 0.105, "right": 0.985, "top": 0.93, "bottom": 0.175, "wspace": 0.08})
    ends = [[100 * share[name] for share in shares.values()] for name in names]
    left.hlines(
        range(len(names)), [min(each) for each in ends], [max(each) for each in ends],
        color=look.line, linewidth=3,
    )
    for split, share in shares.items():
        marker, hue = SPLITS[split]
        left.scatter(
            [100 * share[name] for name in names], range(len(names)), s=30, marker=marker,
            label=split, color=getattr(look, hue), edgecolors=look.page, linewidths=0.5, zorder=3,
        )
    style.letter(left, "a", "Share of the labelled pixels")
    left.set_xscale("log")
    style.plain_ticks(left, (0.2, 0.5, 1, 2, 5, 10, 20, 40))
    left.set_xlabel("%, logarithmic")
    left.set_yticks(range(len(names)), names)
    style.legend_below(left)
    draw_scores(right, study.labels, names, look)
    style.letter(right, "b", "IoU on test")
    right.set(xlabel="%", xlim=(-2, 100))
    style.legend_below(right)
    for axis in (left, right):
        axis.grid(axis="y", visible=False)
        axis.tick_params(axis="y", length=0)
        axis.spines["left"].set_visible(False)
    return figure


def read_shares(path: Path) -> dict[str, dict[str, float]]:
    """Returns split -> class -> share of the labelled pixels. Raises FileNotFoundError or
    ValueError.
    """
    how = HOW.format(path)
    found = read_json(path, how=how)
    shares = {}
    for split in SPLITS:
        if split not in found["splits"]:
            raise ValueError(f"{path} does not tell of {split}: {how}")
        pixels = {name: found["splits"][split]["class_pixels"][name] for name in found["classes"]}
        shares[split] = {name: count / sum(pixels.values()) for name, count in pixels.items()}
    return shares


def draw_scores(axis: Axes, labels: dict, names: list[str], look: Theme) -> None:
    """A line of dots for each label: small ones are seeds, a large one their mean."""
    apart = np.linspace(0.17, -0.17, len(labels)) if len(labels) > 1 else [0.0]
    for runs, up in zip(labels.values(), apart, strict=True):
        kind = decoder(arch_of(runs))
        color, rows = kind.color(look), np.arange(len(names)) + up
        scores = 100 * np.array(
            [[run.scores["per_class_IoU"][name] or 0.0 for name in names] for run in runs]
        )
        axis.hlines(rows, scores.min(0), scores.max(0), color=color, linewidth=1, alpha=0.6)
        for seed in scores:
            axis.scatter(seed, rows, s=7, color=color, alpha=0.6, linewidths=0)
        axis.scatter(
            scores.mean(0), rows, s=34, color=color, edgecolors=look.page, linewidths=0.6, zorder=3,
            label=f"{kind.title} ({len(runs)} seed{'s' * (len(runs) > 1)})",
        )
