"""The page of corruptions: `python -m tools.report --corruptions logs/A logs/B`."""
from __future__ import annotations

import argparse
from pathlib import Path

from utils.evaluation import robustness
from utils.files import make_folder
from utils.report import results
from utils.report import robustness as page


def add_flags(kinds: argparse._ActionsContainer) -> None:
    """Declares the flag that asks for this report."""
    kinds.add_argument("--corruptions", nargs="+", type=Path, metavar="FOLDER",
                       help="write the page of one or several networks on corrupted images, after "
                            "eval.py --corruptions all; the page is report/corruptions.html in the "
                            "first one's folder")


def run(args: argparse.Namespace) -> str:
    """Writes the page of `--corruptions`; returns a message. Raises ValueError or OSError."""
    evaluated = [results.read(results.find(folder)) for folder in args.corruptions]
    networks = [robustness.read(network.folder, network.title) for network in evaluated]
    out = args.out or evaluated[0].report_folder / "corruptions.html"
    make_folder(out.parent, "--out")
    page.write(out, networks)
    return f"{robustness.format_table(networks)}\ncorruptions in {out}"
