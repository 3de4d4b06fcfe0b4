"""Serves a page to try a network on, to this machine only: `python -m tools.app --snapshot
FILE`.
"""
from __future__ import annotations

import logging
import os
import signal
import sys
import tempfile
import threading
from argparse import Namespace
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from eval import LoadedModel, load_predictor
from network.checkpoints import snapshot
from utils import precision
from utils.cli import FlagParser, positive_int, positive_number, run_program
from utils.evaluation import inference
from utils.logs import start_logging

log = logging.getLogger("app")


def build_parser() -> FlagParser:
    parser = FlagParser(prog="python -m tools.app",
                        description="Try a trained network, or compare two, in the browser.")
    group = parser.add_argument_group("Page")
    group.add_argument("--compare", type=Path, metavar="FILE",
                       help="a second snapshot, of the same classes")
    group.add_argument("--dataset", help="classes and colors; default: the snapshot's")
    group.add_argument("--port", type=positive_int, default=7860,
                       help="of the page, which this machine alone can open")
    group.add_argument("--max_pixels", type=positive_int, default=16_000_000,
                       help="larger pictures are refused")
    group.add_argument("--max_mb", type=positive_number, default=20,
                       help="larger files are refused, in 10^6 bytes")
    snapshot.add_flags(parser)
    inference.add_flags(parser)
    precision.add_flags(parser, training=False)
    return parser


def load(args: Namespace) -> list[LoadedModel]:
    """Returns the network to show, and the one to compare it with.

    Raises:
        ValueError, OSError: a snapshot or a flag is invalid, or the two have different classes.
    """
    device = precision.default_device()
    options: dict[str, Any] = {
        "weights": args.weights, "device": device, "precision": precision.start(args, device),
        "channels_last": args.channels_last,
        "inference": inference.InferenceOptions.from_args(args), "compile": args.compile,
    }
    models = [load_predictor(args.snapshot, arch=args.arch, dataset=args.dataset, **options)]
    if args.compare:
        models.append(load_predictor(args.compare, dataset=models[0].spec, **options))
    return models


@contextmanager
def environment(**variables: str) -> Iterator[None]:
    """Sets environment variables of this process in a `with` block."""
    before = dict(os.environ)
    os.environ.update(variables)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


@contextmanager
def served(models: list[LoadedModel], max_pixels: int, max_bytes: int, port: int) -> Iterator[str]:
    """Serves the page in a `with` block and yields its address; uploads are deleted at the end.

    Raises:
        ImportError: gradio is not installed.
        OSError: the port is taken.
    """
    with (tempfile.TemporaryDirectory(prefix="sfsegnets_app_") as uploads,
          environment(GRADIO_ANALYTICS_ENABLED="False", HF_HUB_OFFLINE="1",
                      GRADIO_TEMP_DIR=uploads)):
        # The variables are read by gradio, which then asks no other machine for anything.
        from tools.app import page
        blocks = page.build(models, max_pixels)
        try:
            yield page.launch(blocks, port, max_bytes)
        finally:
            blocks.close(verbose=False)


def wait() -> None:
    """Waits for SIGINT (Ctrl-C) or SIGTERM."""
    before = {number: signal.signal(number, signal.default_int_handler)
              for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        with suppress(KeyboardInterrupt):
            threading.Event().wait()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def run(args: Namespace) -> None:
    """Serves the page until a signal ends it.

    Raises:
        ImportError: gradio is not installed.
        ValueError, OSError: a snapshot or a flag is invalid, or the port is taken.
    """
    max_bytes = int(args.max_mb * 1e6)
    with served(load(args), args.max_pixels, max_bytes, args.port) as address:
        log.info("open %s in a browser; Ctrl-C ends it", address)
        wait()


def main(argv: Sequence[str] | None = None) -> int:
    args = build_parser().parse_args(argv)
    start_logging()
    # gradio asks itself over HTTP whether it is there
    logging.getLogger("httpx").setLevel(logging.WARNING)
    return run_program("tools.app", lambda: run(args), extra="app")


if __name__ == "__main__":
    sys.exit(main())
