"""The page of two models on the same images: `python -m tools.report --compare logs/A logs/B`."""
from __future__ import annotations

import argparse
from pathlib import Path

from tools.report.evaluation import PageOptions, load, load_data
from utils.report import page, results


def add_flags(kinds: argparse._ActionsContainer) -> None:
    """Declares the flag that asks for this report."""
    kinds.add_argument("--compare", nargs=2, type=Path, metavar=("A", "B"),
                       help="write the page of two evaluations of the same images, given like "
                            "FOLDER; the page is report/against_B.html in A's folder")


def run(args: argparse.Namespace) -> str:
    """Writes the page of `--compare`; returns a message. Raises ValueError or OSError."""
    options = PageOptions.from_args(args)
    a, b = (results.read(results.find(folder)) for folder in args.compare)
    data = load_data(a, options.data_root)
    out = options.out or a.report_folder / f"against_{b.title}.html"
    summary = page.compare(out, load(a, data), load(b, data), data, options.max_images)
    return f"A: {a.folder}\nB: {b.folder}\n{summary}\ncomparison in {out}"
