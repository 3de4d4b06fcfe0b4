"""Draws figures of the documents: `python -m tools.maintainer.figures [NAME ...]`.

Each is drawn for light and for dark pages, `figs/NAME.png` and `figs/NAME_dark.png`, out of
`results/figures/` and `results/runs/`; no dataset and no weights are needed.
"""
from __future__ import annotations

import logging
import sys
from argparse import Namespace
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tools.maintainer.figures import class_uniform, flow, schedules, sfnet_res, sfnets, style
from tools.maintainer.figures.style import Theme
from utils.cli import REFUSED, FlagParser, run_program, suggest
from utils.files import ROOT

if TYPE_CHECKING:
    from matplotlib.figure import Figure

log = logging.getLogger("figures")

# name -> (folder of the sources, theme) -> figure; raises FileNotFoundError or ValueError naming
# what it lacks
FIGURES: dict[str, Callable[[Path, Theme], Figure]] = {
    "sfnet_res": sfnet_res.draw, "sfnets": sfnets.draw, "flow": flow.draw,
    "class_uniform": class_uniform.draw, "schedules": schedules.draw,
}


def build_parser() -> FlagParser:
    parser = FlagParser(prog="python -m tools.maintainer.figures",
                        description="Draw the documents' figures, each for light and dark pages.")
    parser.add_argument("names", nargs="*", metavar="NAME", default=list(FIGURES),
                        help=f"figures to draw; some of: {', '.join(FIGURES)}")
    parser.add_argument("--out", type=Path, default=Path("figs"), help="folder of the pictures")
    parser.add_argument(
        "--sources", type=Path, default=ROOT / "results" / "figures",
        help="what they are drawn from; the studies' runs lie in the folder `runs` beside it",
    )
    group = parser.add_argument_group(
        "What the figure `flow` is drawn from, written anew in place of drawing"
    )
    group.add_argument("--record", type=Path, metavar="SNAPSHOT", help="a trained SFNet")
    group.add_argument("--image", type=Path, metavar="FILE",
                       help="a drawn scene; it is committed with the record")
    return parser


def draw(names: Sequence[str], sources: Path, out: Path) -> list[str]:
    """Draws figures; returns an error message for each that could not be drawn.

    Raises:
        ImportError: matplotlib is not installed.
        OSError: a file cannot be written.
    """
    import matplotlib

    failures = []
    for name in names:
        try:
            for theme in style.THEMES:
                with matplotlib.rc_context(theme.settings()):
                    style.write(FIGURES[name](sources, theme), out / f"{name}{theme.suffix}.png")
        except (FileNotFoundError, ValueError) as error:
            failures.append(f"{name}: {error}")
        else:
            print(f"{out / name}.png and {name}{style.DARK.suffix}.png")
    return failures


def run(args: Namespace) -> int:
    """Records or draws; returns 0, or 2 if a figure could not be drawn.

    Raises:
        ImportError: matplotlib is not installed.
        ValueError, OSError: a flag is invalid, or a file cannot be read or written.
    """
    if (args.record is None) != (args.image is None):
        raise ValueError("--record SNAPSHOT and --image FILE go together")
    if args.record:
        print(flow.record(args.record, args.image, args.sources))
        return 0
    unknown = [name for name in args.names if name not in FIGURES]
    if unknown:
        raise ValueError(f"there is no figure {unknown[0]!r}{suggest(unknown[0], FIGURES)} "
                         f"All: {', '.join(FIGURES)}")
    failures = draw(args.names, args.sources, args.out)
    for failure in failures:
        log.error("tools.maintainer.figures: error: %s", failure)
    return REFUSED if failures else 0


def main(argv: Sequence[str] | None = None) -> int:
    args = build_parser().parse_args(argv)
    return run_program("tools.maintainer.figures", lambda: run(args), extra="report")


if __name__ == "__main__":
    sys.exit(main())
