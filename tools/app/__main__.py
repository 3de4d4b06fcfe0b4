"""Serves a page to try a network on this machine only: `python -m tools.app --snapshot FILE`."""
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
from dataclasses import dataclass
from pathlib import Path

from eval import LoadedModel, load_from_options
from network.checkpoints import snapshot as snapshot_flags
from network.checkpoints.snapshot import DEFAULT_SNAPSHOT, SnapshotOptions
from utils import precision as precision_flags
from utils.backends import runtimes
from utils.backends.runtimes import BackendOptions
from utils.cli import FlagParser, positive_int, positive_number, run_program
from utils.evaluation import inference as inference_flags
from utils.evaluation.inference import InferenceOptions
from utils.packages import require_package
from utils.precision import PrecisionOptions

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
                       help="larger files are refused, in MiB (2^20 bytes)")
    snapshot_flags.add_flags(parser, default=DEFAULT_SNAPSHOT)
    inference_flags.add_flags(parser)
    precision_flags.add_flags(parser, training=False)
    runtimes.add_flags(parser, automatic=True)
    return parser


@dataclass(frozen=True)
class Options:
    """What the page shows; the fields are the flags of the same name.

    Args:
        compare: second snapshot, None for one network.
        dataset: of the classes and colors; None for the snapshot's.
        max_pixels: of a picture.
        max_mb: of a picture's file, in MiB, the unit in which gradio shows it.
    """

    compare: Path | None
    dataset: str | None
    port: int
    max_pixels: int
    max_mb: float
    snapshot: SnapshotOptions
    inference: InferenceOptions
    precision: PrecisionOptions
    backend: BackendOptions

    @classmethod
    def from_args(cls, args: Namespace) -> Options:
        return cls(compare=args.compare, dataset=args.dataset, port=args.port,
                   max_pixels=args.max_pixels, max_mb=args.max_mb,
                   snapshot=SnapshotOptions.from_args(args),
                   inference=InferenceOptions.from_args(args),
                   precision=PrecisionOptions.from_args(args),
                   backend=BackendOptions.from_args(args))


def load(options: Options) -> list[LoadedModel]:
    """Returns the network to show, and the one to compare it with.

    Raises:
        ValueError, OSError: a snapshot or a flag is invalid, or the two have different classes.
    """
    return load_from_options(options.snapshot, options.precision, options.inference,
                             dataset=options.dataset, compare=options.compare,
                             backend=options.backend)


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
        ValueError: gradio is not installed, or cannot be imported.
        OSError: the port is taken.
    """
    with (tempfile.TemporaryDirectory(prefix="sfsegnets_app_") as uploads,
          environment(GRADIO_ANALYTICS_ENABLED="False", HF_HUB_OFFLINE="1",
                      GRADIO_TEMP_DIR=uploads)):
        # The variables are read by gradio, which then asks no other machine for anything.
        require_package("gradio", needed_by="tools.app", extra="app")
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
        ValueError, OSError: a snapshot or a flag is invalid, gradio cannot be imported, or the port
            is taken.
    """
    options = Options.from_args(args)
    max_bytes = int(options.max_mb * 2 ** 20)
    with served(load(options), options.max_pixels, max_bytes, options.port) as address:
        log.info("open %s in a browser; Ctrl-C ends it", address)
        wait()


def main(argv: Sequence[str] | None = None) -> int:
    args = build_parser().parse_args(argv)
    # gradio asks itself over HTTP whether it is there
    logging.getLogger("httpx").setLevel(logging.WARNING)
    return run_program("tools.app", lambda: run(args), extra="app",
                       less_memory=inference_flags.LESS_MEMORY)


if __name__ == "__main__":
    sys.exit(main())
