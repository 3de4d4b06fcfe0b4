"""The measurements as a Markdown page."""
from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tools.benchmark.infer import PLAIN
from tools.benchmark.machine.recipes import hours
from tools.benchmark.machine.worker import Row
from utils.machine import GB

TERA = 1e12
Result = dict[str, Any]


def page(result: Result) -> str:
    """Returns the page of what is measured so far.

    Args:
        result: "command", "commit", "started" and "parts" (name -> {"seconds", "rows"}).
    """
    sections = [machine(result), rates(result), training(result), recipes(result),
                inference(result), stages(result), agreement(result), loading(result),
                problems(result)]
    return "\n\n".join(section for section in sections if section) + "\n"


def rows_of(result: Result, part: str) -> list[Row]:
    """Returns the rows of a part that were measured."""
    rows = result["parts"].get(part, {}).get("rows", [])
    return [row for row in rows if "error" not in row]


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def section(title: str, note: str, head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Returns a section with a table; empty without rows."""
    return f"## {title}\n\n{note}\n\n{table(head, rows)}" if rows else ""


def machine(result: Result) -> str:
    facts = rows_of(result, "machine")
    lines = [f"- {name.replace('_', ' ')}: {value}"
             for name, value in (facts[0] if facts else {}).items()]
    seconds = sum(part["seconds"] for part in result["parts"].values())
    return "\n".join([
        "# What this machine does", "",
        f"Measured by `{result['command']}` in {seconds:.0f} s, commit {result['commit']}, "
        f"{result['started']}.", "", *lines])


def rates(result: Result) -> str:
    rows = []
    for row in rows_of(result, "rates"):
        if row["measure"] == "product":
            rows.append([f"product of {row['side']}x{row['side']}, {row['arithmetic']}",
                         f"{row['per_second'] / TERA:.2f} TFLOP/s"])
        else:
            rows.append([row["measure"], f"{row['per_second'] / GB:.1f} GB/s"])
    return section("Rates", "The fastest of some blocks; a multiplication and an addition are two "
                            "operations.", ["measure", "rate"], rows)


def training(result: Result) -> str:
    computed = {(row["run"], row["arithmetic"], row["images"]): row["peak_memory"]
                for row in rows_of(result, "memory")}
    rows = []
    for row in rows_of(result, "training"):
        peak = computed.get((row["run"], row["arithmetic"], row["images"]))
        rows.append([
            f"`{row['run']}`", row["arithmetic"], str(row["images"]),
            "x".join(map(str, row["crop"])), f"{row['images_per_second']:.1f}",
            f"{1000 * row['seconds']:.0f}", f"{row['peak_memory'] / GB:.2f}",
            "-" if peak is None else f"{peak / GB:.2f}"])
    return section(
        "Training", "Steps of the launchers, from images on the device to updated weights. "
        "*Peak*: the memory of the timed steps, after the search for kernels: tensors and the "
        "workspaces of the chosen kernels; on a CPU, of the whole process. *Tensors*: what "
        "`tools.benchmark memory` computes for a GPU.",
        ["launcher", "arithmetic", "images", "crop", "images/s", "ms a step", "peak, GB",
         "tensors, GB"], rows)


def recipes(result: Result) -> str:
    results = hours(rows_of(result, "recipes"), rows_of(result, "training"))
    rows = [[f"`{row.run}`", f"{'about ' if row.is_estimated else ''}{row.one_gpu:.1f}",
             f"{'about ' if row.is_estimated else ''}{row.eight_gpus:.1f}"] for row in results]
    arithmetic = results[0].arithmetic if results else ""
    return section(
        "Hours of each Cityscapes launcher", f"In {arithmetic}, without validation and the waiting "
        "for data. *About*: computed by operations from the nearest network that was timed. Eight "
        "GPUs: eight times this one with the images that one of them has, if that was timed, the "
        "exchange of gradients not counted.", ["launcher", "here", "on 8 such GPUs"], rows)


def inference(result: Result) -> str:
    peaks = {row["arithmetic"]: row["per_second"] for row in rows_of(result, "rates")
             if row["measure"] == "product"}
    rows, seen = [], set()
    for row in rows_of(result, "inference"):
        key = (row["run"], row["batch"], row["setting"])
        if key in seen:
            continue
        seen.add(key)
        rate = row["operations"] * row["images_per_second"]
        peak = peaks.get(row["precision"])
        rows.append([
            f"`{row['network']}`", str(row["batch"]), row["setting"], f"{row['p50_ms']:.2f}",
            f"{row['p99_ms']:.2f}", f"{row['images_per_second']:.1f}", f"{row['times_plain']:.2f}",
            f"{rate / peak:.0%}" if peak else "-", f"{row['equal_labels']:.2%}"])
    return section(
        "Inference", "Images on the device to labels at their size, random weights. *Times*: of "
        f"`{PLAIN}`, eager float32 of the same round. *Rate*: operations of convolutions and "
        "products a second, as a share of the rate above. *Equal*: labels that are those of "
        f"`{PLAIN}`.",
        ["network", "batch", "setting", "p50, ms", "p99, ms", "images/s", "times", "rate",
         "equal"], rows)


def stages(result: Result) -> str:
    rows = [[f"`{row['arch']}`", row["arithmetic"], row["stage"], f"{1000 * row['seconds']:.2f}",
             f"{1000 * row['limit']:.2f}", f"{row['limit'] / row['seconds']:.0%}"]
            for row in rows_of(result, "stages")]
    return section(
        "Where the time of a prediction goes", "One image in eager mode, each operation timed. "
        "*Limit*: operations of convolutions and products over the rate of products, and of other "
        "stages the bytes that their operations read and write over the rate of copies, both "
        "measured beside the stages. Small maps stay in the caches, which are faster than copies.",
        ["network", "arithmetic", "stage", "ms", "limit, ms", "limit / ms"], rows)


def agreement(result: Result) -> str:
    rows = [[f"`{row['run']}`", row["arithmetic"], f"{row['loss']:.1e}", f"{row['gradient']:.1e}"]
            for row in rows_of(result, "agreement")]
    return section("Agreement with float32", "Relative difference of the loss, and of the gradient "
                   "of all weights, in the first step from random weights.",
                   ["launcher", "arithmetic", "loss", "gradient"], rows)


def loading(result: Result) -> str:
    rows = [[row["source"], str(row["workers"]), f"{row['images_per_second']:.1f}"]
            for row in rows_of(result, "loading")]
    consumed = max((row["images_per_second"] for row in rows_of(result, "training")), default=0.0)
    return section("Loading", f"Drawn images. The fastest training above takes {consumed:.1f} "
                   "images a second.", ["source", "workers", "images/s"], rows)


def problems(result: Result) -> str:
    """Lists what could not be measured, and why."""
    lines = []
    for part, measured in result["parts"].items():
        for row in measured["rows"]:
            if "error" in row:
                about = [str(value) for name, value in row.items() if name != "error"]
                lines.append(f"- {part}{' ' if about else ''}{', '.join(about)}: {row['error']}")
    return "\n".join(["## Not measured", "", *lines]) if lines else ""
