"""A run's folder: made once, described by args.json and env.json."""
from __future__ import annotations

import hashlib
import json
import os
import platform
import shlex
import sys
from argparse import ArgumentParser
from collections.abc import Iterable
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np
import torch

from utils.cli import add_switch
from utils.distributed import world_size
from utils.files import commit, git_output, write_text


def add_flags(parser: ArgumentParser, recipes: Iterable[str]) -> None:
    """Declares which run it is and where it lies."""
    group = parser.add_argument_group("Run")
    group.add_argument("--recipe", choices=tuple(recipes), help="a family of defaults (docs/training.md)")
    group.add_argument("--exp", help="name of the run's folder (default: DATASET_ARCH)")
    group.add_argument("--ckpt", default="logs", help="folder under which run folders are made")
    group.add_argument("--tb_path", help="folder of the TensorBoard files (default: tb/ in the run's folder)")
    group.add_argument("--resume", help="folder of a run: go on exactly where it stopped, with its own flags")
    group.add_argument("--seed", type=int, default=0, help="of the weights, the order and the augmentation")
    add_switch(group, "--test_mode", default=False, help="run everything for a few steps and images")
    add_switch(group, "--print_config", default=False, help="print each effective value and its origin, then stop")


def create(folder: Path, args: dict[str, Any], environment: dict[str, Any]) -> None:
    """Makes the run's folder with `args.json` (the effective flags) and `env.json`.

    Raises:
        FileExistsError: a run is there already.
        OSError: the folder cannot be written.
    """
    if (folder / "args.json").exists():
        raise FileExistsError(f"{folder} already holds a run: go on with it by --resume {folder}, or name another "
                              "with --exp")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_text(folder / "env.json", json.dumps(environment, indent=2) + "\n")
        write_text(folder / "args.json", json.dumps(args, indent=2) + "\n")
    except OSError as error:
        raise OSError(f"the run's folder {folder} cannot be written ({error}): name another place with --ckpt, or mend "
                      "the permissions or the disk") from error


def read_args(folder: Path) -> dict[str, Any]:
    """Returns the effective flags of the run in a folder.

    Raises:
        FileNotFoundError: the folder holds no run.
    """
    path = folder / "args.json"
    if not path.is_file():
        raise FileNotFoundError(f"--resume {folder}: no run is there (it has no args.json). Give the folder of a run, "
                                "for example logs/NAME.")
    return json.loads(path.read_text())


def closing_summary(folder: Path, step: int, best: float | None, metrics: Path, board: Path, data: str) -> list[str]:
    """Returns the lines that tell, at the end of a run, where everything is and how to go on.

    Args:
        best: the best mIoU in [0, 1], None where nothing was scored.
        metrics, board: the metrics' file and the folder of TensorBoard's.
        data: the flags of eval.py that name the data.
    """
    last, events = shlex.quote(str(folder / "last.pth")), shlex.quote(str(board))
    score = "" if best is None else f", best mIoU {100 * best:.2f} % in {folder / 'best.pth'}"
    return [f"Done: {step} steps{score}.",
            f"  weights      {folder / 'last.pth'}",
            f"  metrics      {metrics}; curves: tensorboard --logdir {events}",
            f"  score        python eval.py --snapshot {last} {data}",
            f"  your images  python -m tools.demo --snapshot {last} --input FOLDER --out FOLDER"]


def environment(device: torch.device, precision: str, data_files: Iterable[Path]) -> dict[str, Any]:
    """Returns what a number depends on besides the flags: code, versions, machine, and which data files there were."""
    return {
        "commit": commit(),
        "diff": git_output("diff", "HEAD"),
        "command": [sys.executable, *sys.argv],
        "started": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "python": platform.python_version(), "torch": torch.__version__, "numpy": np.__version__,
        "machine": platform.platform(), "threads": torch.get_num_threads(), "cores": os.cpu_count(),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else _processor(),
        "precision": precision, "processes": world_size(),
        "torchrun": os.environ.get("TORCHELASTIC_RUN_ID"),              # whose restarted workers may go on with the run
        "data": _listing_hash(data_files),
    }


def _processor() -> str:
    listing = Path("/proc/cpuinfo")
    lines = listing.read_text().splitlines() if listing.is_file() else []
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")),
                platform.processor())


def _listing_hash(files: Iterable[Path]) -> dict[str, Any]:
    """A count and a hash over the names and sizes of the files, without reading them."""
    digest, count = hashlib.sha256(), 0
    for path in files:
        digest.update(f"{path.name} {path.stat().st_size}\n".encode())
        count += 1
    return {"files": count, "sha256_of_names_and_sizes": digest.hexdigest()}
