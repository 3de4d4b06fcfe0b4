"""The page of corruptions: one table and one plot, for one or several networks."""
from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from utils.evaluation.corruptions import KINDS
from utils.evaluation.robustness import Robustness, format_table, read
from utils.files import write_text
from utils.report.page import read_source, read_template
from utils.report.results import Results
from utils.report.tables import percent

log = logging.getLogger("eval")

# colors of the networks' bars, readable on light and dark pages and by color-blind readers
COLORS = ("#2a78d6", "#eb6834", "#1baf7a", "#9b59b6", "#c9a227", "#7f8c8d")
# of the plot, in pixels
LEFT, BARS, BAR, GAP, AXIS = 80, 480, 12, 10, 18
NOTE = ("Each image is corrupted by a generator that depends on its name, the kind and the "
        "severity only, so that all networks see the same images. The kinds are simple models of "
        "weather and cameras: they order networks, and do not predict the score in real weather.")


def write(path: Path, networks: Sequence[Robustness]) -> None:
    """Writes the page.

    Raises:
        ValueError: the networks were scored on different images or severities, or jinja2 is not
            installed.
    """
    check_comparable(networks)
    template = read_template("robustness.html")
    dataset, split, images = networks[0].about
    severities = ", ".join(map(str, networks[0].severities))
    text = template.render(
        title=f"Corruptions of {dataset} {split}",
        summary=f"{images} images, severity {severities} of 5. {_sentence(networks)}",
        note=NOTE,
        networks=[network.title for network in networks],
        rows=rows(networks),
        plot=plot(networks),
        keys=[(network.title, COLORS[index % len(COLORS)])
              for index, network in enumerate(networks)],
        css=read_source("page.css"),
        footer=f"Made by eval.py or python -m tools.report, {time.strftime('%Y-%m-%d')}. This file "
               "needs no others.")
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, text)


def report(evaluated: Results, with_page: bool) -> None:
    """Logs the table of one network, and writes its page if asked to.

    Args:
        evaluated: the clean evaluation.
    """
    network = read(evaluated.folder, evaluated.title)
    log.info("\nmean IoU, and the share of the clean one that is left\n%s\n",
             format_table([network]))
    if with_page:
        path = evaluated.report_folder / "corruptions.html"
        write(path, [network])
        log.info("corruptions in %s", path)


def check_comparable(networks: Sequence[Robustness]) -> None:
    """Raises ValueError if the networks were scored on different images or severities."""
    first = networks[0]
    for other in networks[1:]:
        if other.about != first.about:
            raise ValueError(f"{first.title} was scored on {_about(first)}, but {other.title} on "
                             f"{_about(other)}: score both on the same split.")
        if other.corrupted.keys() != first.corrupted.keys():
            differing = sorted(map(str, other.corrupted.keys() ^ first.corrupted.keys()))
            raise ValueError(f"{first.title} and {other.title} were not scored on the same "
                             f"corruptions ({', '.join(differing[:5])}): run eval.py with the same "
                             "--corruption and --severity on both.")


def _about(network: Robustness) -> str:
    dataset, split, images = network.about
    return f"{images} images of {dataset} {split}"


def _sentence(networks: Sequence[Robustness]) -> str:
    parts = []
    for network in networks:
        average = network.average()
        if average is not None and network.clean:
            parts.append(f"{network.title} keeps {average / network.clean:.0%} of its clean mean "
                         f"IoU of {percent(network.clean, 1)} %.")
    return " ".join(parts)


def rows(networks: Sequence[Robustness]) -> list[dict[str, Any]]:
    """Returns the rows of the table: clean, each kind, each severity if several, and the mean."""
    named = [("clean", [network.clean for network in networks])]
    severities = networks[0].severities
    for kind in networks[0].kinds:
        named.append((kind, [network.mean(kind) for network in networks]))
        of_kind = [found for found in networks[0].corrupted if found.kind == kind]
        if len(severities) > 1:
            named += [(f"{kind}, severity {corruption.severity}",
                       [network.corrupted[corruption] for network in networks])
                      for corruption in of_kind]
    named.append(("mean of the kinds", [network.average() for network in networks]))
    return [{"name": name, "cells": [
        {"value": percent(value, 2), "share": _share(value, network.clean)}
        for value, network in zip(values, networks, strict=True)]} for name, values in named]


def _share(value: float | None, clean: float | None) -> str:
    return f"{value / clean:.0%}" if value is not None and clean else "-"


def plot(networks: Sequence[Robustness]) -> dict[str, Any]:
    """Returns the bars of the plot: for each kind one bar for each network."""
    kinds = [kind for kind in KINDS if kind in networks[0].kinds]
    group = BAR * len(networks) + GAP
    bars, names = [], []
    for index, kind in enumerate(kinds):
        top = index * group
        names.append((kind, top + BAR * len(networks) / 2 + 4))
        for number, network in enumerate(networks):
            value = network.mean(kind)
            share = value / network.clean if value is not None and network.clean else 0.0
            bars.append({"y": top + number * BAR, "width": round(BARS * min(1.0, share), 1),
                         "height": BAR - 2, "color": COLORS[number % len(COLORS)],
                         "title": f"{network.title}, {kind}: {share:.0%}"})
    ticks = [(LEFT + BARS * step / 4, f"{step / 4:.0%}") for step in range(5)]
    return {"width": LEFT + BARS + 20, "height": len(kinds) * group + AXIS, "left": LEFT,
            "bars": bars, "names": names, "ticks": ticks}
