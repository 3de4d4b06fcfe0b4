"""A run's folder: created once, described by args.json and env.json."""
from __future__ import annotations

import hashlib
import json
import logging
import os
import platform
import re
import shlex
import shutil
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np
import torch

from utils import distributed
from utils.cli import add_switch, seed
from utils.files import ROOT, commit, git_output, read_record, write_text
from utils.locks import locked
from utils.logs import start_logging
from utils.machine import device_name
from utils.training import checkpoint, run_log
from utils.training.progress import Progress

log = logging.getLogger("train")

# flags of an evaluation script that the prediction of any image needs
PROTOCOL = re.compile(r"--(?:inference_mode|scales) \S+")


def add_flags(parser: ArgumentParser, recipes: Mapping[str, str]) -> None:
    """Declares the flags of `FolderOptions`, and `--recipe` if there are recipes.

    Args:
        recipes: name -> what the recipe is for.
    """
    group = parser.add_argument_group("Run")
    if recipes:
        purposes = "; ".join(f"{name}: {purpose}" for name, purpose in recipes.items())
        group.add_argument("--recipe", choices=tuple(recipes),
                           help="set several defaults at once; --print_config shows which, and "
                                f"flags of the command line win. {purposes}")
    group.add_argument("--exp", help="name of the run's folder (default: DATASET_ARCH)")
    group.add_argument("--ckpt", default="logs", help="folder under which run folders are made")
    group.add_argument("--tb_path", help="folder of the TensorBoard files "
                                         "(default: tb/ in the run's folder)")
    group.add_argument("--resume", metavar="FOLDER",
                       help="folder of a run: go on exactly where it stopped, with its own flags; "
                            "auto: go on if the folder of --ckpt and --exp holds a run, and begin "
                            "it otherwise")
    group.add_argument("--seed", type=seed, default=0,
                       help="of the initial weights, the order of the images and the augmentation")
    add_switch(group, "--test_mode", default=False,
               help="run everything for a few steps and images")
    add_switch(group, "--print_config", default=False,
               help="print each effective value and its origin, then stop")
    add_switch(group, "--dump_augmentation_images", default=False,
               help="write the images of the first steps, as the network sees them, into "
                    "augmented/ of the run's folder")


@dataclass(frozen=True)
class FolderOptions:
    """The fields are the flags of the same name; `folder` is the run's folder."""

    folder: Path
    resume: str | None = None
    tensorboard: Path = Path("tb")
    seed: int = 0
    test_mode: bool = False
    print_config: bool = False
    dump_augmentation_images: bool = False

    @classmethod
    def from_args(cls, args: Namespace) -> FolderOptions:
        folder = Path(args.resume) if args.resume else Path(args.ckpt) / args.exp
        tensorboard = Path(args.tb_path) / args.exp if args.tb_path else folder / "tb"
        return cls(folder=folder, resume=args.resume, tensorboard=tensorboard, seed=args.seed,
                   test_mode=args.test_mode, print_config=args.print_config,
                   dump_augmentation_images=args.dump_augmentation_images)

    def check_free(self) -> None:
        """Raises FileExistsError, in all processes, if a new run would take the folder of another.

        Every process must call this. The folder is that of rank 0, which writes it.
        """
        is_taken = not self.resume and holds_run(self.folder)
        taken_folder = distributed.from_main(self.folder if is_taken else None)
        if taken_folder:
            raise FileExistsError(_taken(taken_folder))


@contextmanager
def claimed(folder: Path) -> Iterator[None]:
    """Creates a run's folder, and keeps other processes from training in it.

    Raises:
        FileExistsError: another process trains in it.
        OSError: the folder cannot be written.
    """
    with _advice(folder):
        folder.mkdir(parents=True, exist_ok=True)
    with locked(folder, f"another process trains in {folder}: wait until it has ended, or choose "
                        "another name with --exp"):
        yield


def open_folder(options: FolderOptions, flags: dict[str, Any], device: torch.device, precision: str,
                data_files: Iterable[Path]) -> None:
    """Creates the folder of a new run, on rank 0, and sends the log of all runs to train.log in it.

    Raises:
        OSError: as `create`.
    """
    if distributed.is_main() and not options.resume:
        if (options.folder / "args.json").exists() and not holds_run(options.folder):
            clear(options.folder)
        create(options.folder, flags, environment(device, precision, data_files))
    distributed.barrier()
    start_logging(options.folder)


def holds_run(folder: Path) -> bool:
    """Returns whether a folder holds a run that has a checkpoint or has logged a step."""
    if not (folder / "args.json").is_file():
        return False
    links = (folder / "last.pth", folder / "best.pth")
    has_checkpoint = any(checkpoint.saved(folder)) or any(link.exists() for link in links)
    return has_checkpoint or run_log.last_step(folder / "metrics.jsonl") > 0


def clear(folder: Path) -> None:
    """Removes what a run that ended before its first step has left; `train.log` stays."""
    log.info("%s held a run that ended before its first step: it is begun anew", folder)
    for name in ("args.json", "env.json", "metrics.jsonl"):
        (folder / name).unlink(missing_ok=True)
    shutil.rmtree(folder / "tb", ignore_errors=True)


def folder_of(path: Path) -> Path:
    """Returns the folder of a run, given the folder, or a file in it that is its newest checkpoint.

    Raises:
        ValueError: the file is another one, from which no run goes on.
    """
    if not path.is_file():
        return path
    folder = path.parent.parent if path.parent.name == "checkpoints" else path.parent
    newest = next(iter(checkpoint.saved(folder)), None)
    if path.name == "last.pth" or path.name == "args.json" or newest in (None, path):
        return folder
    raise ValueError(f"--resume {path}: a run goes on from its newest checkpoint, {newest}: give "
                     f"--resume {folder}. To start a new run from the weights of {path.name}, give "
                     f"--snapshot {path} and another --exp")


def create(folder: Path, args: dict[str, Any], environment: dict[str, Any]) -> None:
    """Creates the run's folder with `args.json` (the effective flags) and `env.json`.

    Raises:
        FileExistsError: the folder already holds a run.
        OSError: the folder cannot be written.
    """
    if (folder / "args.json").exists():
        raise FileExistsError(_taken(folder))
    with _advice(folder):
        folder.mkdir(parents=True, exist_ok=True)
        write_text(folder / "env.json", json.dumps(environment, indent=2) + "\n")
        write_text(folder / "args.json", json.dumps(args, indent=2) + "\n")


@contextmanager
def _advice(folder: Path) -> Iterator[None]:
    """Adds to an OSError what to do about a folder that cannot be written."""
    try:
        yield
    except OSError as error:
        raise OSError(f"the run's folder {folder} cannot be written ({error}): choose another "
                      "place with --ckpt, or change the permissions") from error


def _taken(folder: Path) -> str:
    return (f"{folder} already holds a run: go on with it by --resume {folder}, or choose another "
            "name with --exp")


def read_args(folder: Path) -> dict[str, Any]:
    """Returns the effective flags of the run in a folder.

    Raises:
        FileNotFoundError: the folder holds no run.
        ValueError: the file is damaged.
    """
    path = folder / "args.json"
    if not path.is_file():
        raise FileNotFoundError(f"--resume {folder}: no run is there (it has no args.json). Give "
                                "the folder of a run, for example logs/NAME, or --resume auto "
                                "with --exp NAME, which begins the run if there is none.")
    try:
        flags: dict[str, Any] = json.loads(path.read_text())
    except ValueError as error:
        raise ValueError(f"{path}, the flags of the run, is damaged ({error}): write the "
                         'dictionary torch.load(CHECKPOINT)["args"] into it as JSON, or start a '
                         "new run under another --exp") from error
    return flags


def log_stop(reason: Exception, progress: Progress, folder: Path,
             program: str = "train.py") -> None:
    """Logs where a run stopped and how it goes on.

    Args:
        program: what follows `python` in the command.
    """
    log.info("%s: saved at step %d. Go on with: python %s --resume %s", reason, progress.step,
             program, shlex.quote(str(folder)))


def log_replaced(images: int) -> None:
    """Warns of images that could not be read, if there were any."""
    if images:
        log.warning("Images that could not be used, each replaced by another: %d (--on_bad_sample "
                    "skip).", images)


def log_closing_summary(options: FolderOptions, progress: Progress, data_flags: list[str],
                        skipped: int) -> None:
    """Logs where the files of a finished run are, and the commands that use them.

    Args:
        data_flags: the flags of eval.py that name the data.
        skipped: how many images could not be read.
    """
    log_replaced(skipped)
    folder, best = options.folder, progress.best
    last, events = shlex.quote(str(folder / "last.pth")), shlex.quote(str(options.tensorboard))
    data, protocol = shlex.join(data_flags), "".join(f"{flag} " for flag in protocol_of(folder))
    score = "" if best is None else f", best mIoU {100 * best:.2f} % in {folder / 'best.pth'}"
    log.info("Done: %d steps%s.", progress.step, score)
    log.info("  weights      %s", folder / "last.pth")
    log.info("  metrics      %s; curves: tensorboard --logdir %s", folder / "metrics.jsonl", events)
    log.info("  score        python eval.py --snapshot %s %s%s", last, protocol, data)
    log.info("  your images  python -m tools.demo --snapshot %s %s--input FOLDER --out FOLDER",
             last, protocol)


def protocol_of(folder: Path) -> list[str]:
    """Returns how the evaluation script of a run's launcher predicts: flags of eval.py and others.

    Networks that were trained on upsampled images, for example, need them in an evaluation too.

    Returns:
        Flags with their values; none for a run that no launcher of `scripts/train` began.
    """
    launcher = read_record(folder / "env.json").get("launcher")
    script = ROOT / "scripts/eval" / f"eval_{(launcher or '').removeprefix('train_')}.sh"
    return PROTOCOL.findall(script.read_text()) if script.is_file() else []


def environment(device: torch.device, precision: str,
                data_files: Iterable[Path]) -> dict[str, Any]:
    """Returns what a result depends on besides the flags: code, versions, machine and data files.
    """
    return {
        "commit": commit(),
        "diff": git_output("diff", "HEAD"),
        "command": [sys.executable, *sys.argv],
        "started": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "machine": platform.platform(),
        "threads": torch.get_num_threads(),
        "cores": os.cpu_count(),
        "device": device_name(device),
        "precision": precision,
        "processes": distributed.world_size(),
        # workers that torchrun restarts resume the run if this is their own torchrun
        "torchrun": os.environ.get("TORCHELASTIC_RUN_ID"),
        # the name of a script in scripts/train, which sets it
        "launcher": os.environ.get("SFSEGNETS_LAUNCHER"),
        "data": _hash_of_names_and_sizes(data_files),
    }


def _hash_of_names_and_sizes(files: Iterable[Path]) -> dict[str, Any]:
    """Returns a count and a hash over the names and sizes of the files, without reading them."""
    digest, count = hashlib.sha256(), 0
    for path in files:
        # a name may have bytes that are not UTF-8
        digest.update(os.fsencode(f"{path.name} {path.stat().st_size}\n"))
        count += 1
    return {"files": count, "sha256_of_names_and_sizes": digest.hexdigest()}
