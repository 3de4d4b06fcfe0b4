"""Checkpoints that a crash at any instant leaves readable: written beside, synced, renamed, and checked by checksum."""
from __future__ import annotations

import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from utils.files import link_or_copy, sha256, sync_folder, write_text

FORMAT = "sfsegnets/1"
SUFFIX = ".sha256"                                          # the checksum stands in a small file beside the checkpoint

log = logging.getLogger(__name__)


def save(folder: Path, payload: dict[str, Any], step: int, keep: int) -> Path:
    """Writes `checkpoints/step_<n>.pth` under a run's folder, points `last.pth` at it and removes the oldest.

    Args:
        keep: how many steps' files stay, at least 1.

    Raises:
        OSError: the disk is full or not writable; what was there before is untouched, and the message says so.
    """
    path = folder / "checkpoints" / f"step_{step}.pth"
    path.parent.mkdir(parents=True, exist_ok=True)
    for stale in path.parent.glob("*.tmp"):                 # of a process that was killed while it wrote
        stale.unlink()
    beside = path.with_suffix(".tmp")
    try:
        with beside.open("wb") as file:
            torch.save(payload, file)
            file.flush()
            os.fsync(file.fileno())
        checksum, digest = path.with_suffix(path.suffix + SUFFIX), sha256(beside)
        # Until the step's file is replaced both are right: of the one that is there, and of the one that comes.
        before = f"{sha256(path)}\n" if path.exists() else ""
        write_text(checksum, f"{before}{digest}\n")
        beside.replace(path)
        sync_folder(path.parent)
        write_text(checksum, f"{digest}\n")
        link_or_copy(folder / "last.pth", path)
    except (OSError, RuntimeError) as error:                # torch's zip writer turns a full disk into a RuntimeError
        beside.unlink(missing_ok=True)
        raise OSError(f"the checkpoint of step {step} could not be written to {path.parent} ({error}): free some "
                      "space or mend the permissions, then go on with --resume from the one before") from error
    for old in saved(folder)[keep:]:
        old.with_suffix(old.suffix + SUFFIX).unlink(missing_ok=True)
        old.unlink()
    return path


def saved(folder: Path) -> list[Path]:
    """Returns the step checkpoints of a run's folder, newest first."""
    return sorted((folder / "checkpoints").glob("step_*.pth"), key=lambda path: int(path.stem[5:]), reverse=True)


def newest(folder: Path, read: Callable[[Path], dict[str, Any]]) -> dict[str, Any] | None:
    """Reads the newest checkpoint that is whole, warning of each that is not; None where there never was one.

    Args:
        read: the safe reader (`network.checkpoints.weights.read`).

    Raises:
        ValueError: there are checkpoints, but all are damaged.
    """
    paths = saved(folder)
    for path in paths:
        checksum = path.with_suffix(path.suffix + SUFFIX)
        if not checksum.is_file() or sha256(path) not in checksum.read_text().split():
            log.warning("%s is damaged (its checksum differs): falling back to the checkpoint before it", path)
            continue
        return read(path)
    if paths:
        raise ValueError(f"every checkpoint in {folder / 'checkpoints'} is damaged: nothing is left to resume from. "
                         "Start anew under another --exp.")
    return None
