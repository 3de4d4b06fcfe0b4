"""The command: measures part after part, and writes what it has after each."""
from __future__ import annotations

import json
import sys
import time
from argparse import Namespace
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from tools.benchmark.machine import page, parts, recipes, stages
from tools.benchmark.machine.plan import Plan, plan_for
from tools.benchmark.machine.worker import Part, Row, Worker
from utils.cli import FlagParser, add_switch
from utils.files import commit, write_text
from utils.precision import default_device

PARTS: dict[str, Part] = {**parts.PARTS, "stages": stages.stages, "recipes": recipes.recipes}


def add_flags(parser: FlagParser) -> None:
    add_switch(parser, "--quick", default=False,
               help="about 4 minutes on a GPU, in place of 8; a CPU always has a reduced form")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS), metavar="PART",
                        help=f"what is measured: {', '.join(PARTS)}")
    parser.add_argument("--out", type=Path, metavar="PAGE.md",
                        help="write a Markdown page, after each part")
    parser.add_argument("--json", type=Path, metavar="FILE",
                        help="write every measurement to this file, after each part")


@dataclass(frozen=True)
class Options:
    """What is measured; the fields are the flags of the same name."""

    quick: bool
    parts: list[str]
    out: Path | None
    json: Path | None

    @classmethod
    def from_args(cls, args: Namespace) -> Options:
        return cls(args.quick, args.parts, args.out, args.json)


def run(args: Namespace) -> None:
    """Measures, and prints or writes the page. Raises OSError if a file cannot be written."""
    options = Options.from_args(args)
    plan = plan_for(default_device(), options.quick)
    result = measure(options, plan)
    if not options.out:
        print(page.page(result))


def measure(options: Options, plan: Plan) -> dict[str, Any]:
    """Measures the parts in the order of `PARTS`; see `page.page` for the result."""
    result: dict[str, Any] = {
        "command": " ".join(["python -m tools.benchmark", *sys.argv[1:]]), "commit": commit(),
        "started": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "plan": asdict(plan), "parts": {}}
    # a file that cannot be written is known before anything is measured
    write(result, options)
    worker = Worker(PARTS, plan)
    try:
        for part in (name for name in PARTS if name in options.parts):
            began = time.monotonic()
            rows: list[Row] = []
            result["parts"][part] = {"seconds": 0.0, "rows": rows}
            print(f"== {part}, at most {plan.limits[part]:g} s", file=sys.stderr, flush=True)
            for row in worker.measure(part, plan.limits[part]):
                rows.append(row)
                print(f"   {line(row)}", file=sys.stderr, flush=True)
            result["parts"][part]["seconds"] = round(time.monotonic() - began, 1)
            write(result, options)
    finally:
        worker.close()
    return result


def line(row: Row) -> str:
    """Returns a row on one line."""
    return ", ".join(f"{name} {value:.4g}" if isinstance(value, float) else f"{name} {value}"
                     for name, value in row.items())


def write(result: dict[str, Any], options: Options) -> None:
    """Writes the files that the flags name."""
    if options.json:
        write_text(options.json, json.dumps(result, indent=2) + "\n")
    if options.out:
        write_text(options.out, page.page(result))
