"""Checkpoints of a run: a crash at any instant leaves a readable one, and a checksum tells which.
"""
from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from utils import distributed, precision
from utils.files import link_or_copy, sha256, sync, sync_folder, write_text
from utils.training.progress import NotFinite, Progress, finite

FORMAT = "sfsegnets/1"
CHECKSUM_SUFFIX = ".sha256"     # of the small file beside a checkpoint

log = logging.getLogger(__name__)

MAX_REWINDS = 3                 # of a run


def save(folder: Path, state: dict[str, Any], step: int, keep: int) -> Path:
    """Writes `checkpoints/step_<n>.pth`, links `last.pth` to it and removes the oldest checkpoints.

    Args:
        folder: the run's folder.
        keep: how many checkpoints stay, at least 1.

    Raises:
        OSError: the disk is full or not writable. The earlier checkpoints are untouched.
    """
    path = _path(folder, step)
    path.parent.mkdir(parents=True, exist_ok=True)
    # of a process that was killed while it wrote
    for stale in path.parent.glob("*.tmp"):
        stale.unlink()
    temporary = path.with_suffix(".tmp")
    try:
        with temporary.open("wb") as file:
            torch.save(state, file)
            sync(file)
        # Until the checkpoint is replaced, its checksum file lists both the old and the new sum.
        new_sum = sha256(temporary)
        sums = [sha256(path), new_sum] if path.exists() else [new_sum]
        write_text(checksum_file(path), "".join(f"{line}\n" for line in sums))
        temporary.replace(path)
        sync_folder(path.parent)
        write_text(checksum_file(path), f"{new_sum}\n")
        link_or_copy(folder / "last.pth", path)
    except (OSError, RuntimeError) as error:
        # torch's zip writer turns a full disk into a RuntimeError
        temporary.unlink(missing_ok=True)
        raise OSError(f"the checkpoint of step {step} could not be written to {path.parent} "
                      f"({error}): free some space or change the permissions, then go on with "
                      "--resume from the one before") from error
    for old in saved(folder)[keep:]:
        checksum_file(old).unlink(missing_ok=True)
        old.unlink()
    return path


def checksum_file(path: Path) -> Path:
    """Returns the path of a checkpoint's checksum file."""
    return path.with_suffix(path.suffix + CHECKSUM_SUFFIX)


def saved(folder: Path) -> list[Path]:
    """Returns the checkpoints of a run's folder, newest first."""
    paths = (folder / "checkpoints").glob("step_*.pth")
    return sorted(paths, key=step_of, reverse=True)


def step_of(path: Path) -> int:
    """Returns the step of a checkpoint, by its name."""
    return int(path.stem.removeprefix("step_"))


def newest(folder: Path, read: Callable[[Path], dict[str, Any]]) -> dict[str, Any] | None:
    """Reads the newest undamaged checkpoint of a run, with a warning for each damaged one.

    Args:
        folder: the run's folder.
        read: reads a file safely (`network.weights.read`).

    Returns:
        None if the run has no checkpoint yet.

    Raises:
        ValueError: every checkpoint is damaged.
    """
    paths = saved(folder)
    for path in paths:
        if is_whole(path):
            return read(path)
        log.warning("%s is damaged (its checksum differs): falling back to the checkpoint before "
                    "it", path)
    if paths:
        raise ValueError(f"every checkpoint in {folder / 'checkpoints'} is damaged, so the run "
                         "cannot be resumed. Start a new one under another --exp.")
    return None


def is_whole(path: Path) -> bool:
    """Returns whether a checkpoint has the checksum that was written with it."""
    sums = checksum_file(path).read_text().split() if checksum_file(path).is_file() else []
    return sha256(path) in sums


def restore_links(folder: Path, state: dict[str, Any] | None,
                  read: Callable[[Path], dict[str, Any]]) -> None:
    """Makes `last.pth`, `best.pth` and the best score in `state` agree with the checkpoints.

    A run that is killed between a checkpoint and its links leaves links to an earlier step. Every
    process must call this; rank 0 writes.

    Args:
        state: the checkpoint from which the run is resumed, None if it has none yet.
    """
    if state is None:
        return
    if distributed.is_main():
        _link_if_different(folder / "last.pth", _path(folder, state["step"]))
        state["best"] = _restore_best(folder, state, read)
    state["best"] = distributed.from_main(state["best"])


def _restore_best(folder: Path, state: dict[str, Any],
                  read: Callable[[Path], dict[str, Any]]) -> float | None:
    """Links `best.pth` to the best checkpoint left, unless it is as good as the run's best score.

    Args:
        state: the checkpoint from which the run is resumed.

    Returns:
        The mIoU of `best.pth`; None if no checkpoint with a score is left.
    """
    link, best = folder / "best.pth", finite(state["best"])
    linked = _score_of_file(link, read) if link.is_file() else None
    if linked is not None and (best is None or linked >= best):
        return linked
    paths = [path for path in saved(folder) if is_whole(path)]
    scores = {path: score for path in reversed(paths)
              if (score := _score(read(path))) is not None and step_of(path) <= state["step"]}
    # of equal scores the earliest, as during the run
    chosen = max(scores, key=scores.__getitem__, default=None)
    if chosen is None or (linked is not None and linked >= scores[chosen]):
        if best is not None:
            log.warning("the checkpoint with the best mIoU, %.2f %%, is lost: the best from now on "
                        "is %s", 100 * best, "the next" if linked is None else link)
        return linked
    _link_if_different(link, chosen)
    return scores[chosen]


def _score_of_file(path: Path, read: Callable[[Path], dict[str, Any]]) -> float | None:
    """Returns the mIoU of a file that may be damaged, in which case it has none."""
    try:
        return _score(read(path))
    except (ValueError, OSError, RuntimeError) as error:
        log.warning("%s cannot be read (%s)", path, error)
        return None


def _score(state: dict[str, Any]) -> float | None:
    """Returns the mIoU of a checkpoint that was validated at its own step, else None."""
    return finite(state.get("mean_iu")) if state.get("validated") == state["step"] else None


def _link_if_different(link: Path, target: Path) -> None:
    if not link.is_file() or not (link.samefile(target) or sha256(link) == sha256(target)):
        link_or_copy(link, target)


def _path(folder: Path, step: int) -> Path:
    return folder / "checkpoints" / f"step_{step}.pth"


def load_momentum(optimizer: torch.optim.Optimizer, path: str | None,
                  read: Callable[[Any], dict[str, Any]]) -> None:
    """Copies an optimizer's momentum from a checkpoint, but not its learning rates.

    Args:
        read: reads a file safely (`network.weights.read`).

    Raises:
        ValueError: it holds no optimizer, or one of another kind, or of other weights.
    """
    current, stored = optimizer.state_dict(), read(path).get("optimizer")
    if stored is None:
        raise ValueError("--restore_optimizer: the file of --snapshot holds no optimizer. Leave "
                         "the flag out.")

    def describe(groups: list[dict[str, Any]]) -> list[tuple[int, set[str]]]:
        return [(len(group["params"]), set(group)) for group in groups]

    weights = [weight for group in optimizer.param_groups for weight in group["params"]]
    if (describe(current["param_groups"]) != describe(stored["param_groups"])
            or not _fits(stored["state"], weights)):
        raise ValueError("--restore_optimizer: the optimizer of --snapshot is of another kind, or "
                         "has other weights or groups of them. Leave the flag out, or give the "
                         "flags of its run.")
    # an optimizer keeps the given tensors, which are those of the mapped file
    optimizer.load_state_dict({"state": deepcopy(stored["state"]),
                               "param_groups": current["param_groups"]})


def _fits(state: dict[int, dict[str, Any]], weights: Sequence[Tensor]) -> bool:
    """Returns whether each tensor of an optimizer's state is a number or has its weight's shape."""
    return all(not isinstance(value, Tensor) or value.ndim == 0
               or value.shape == weights[index].shape
               for index, values in state.items() for value in values.values())


class Checkpoints:
    """Saves and restores everything that a run consists of.

    Args:
        folder: the run's folder.
        nets: "raw" -> the network, and "ema" -> its average if there is one.
        parts: name -> part with `state_dict` and `load_state_dict`, such as the optimizer.
        arch: name of the architecture.
        spec: the dataset's `name`, `names`, `num_classes` and `description`.
        flags: the effective flags.
        mean, std: of RGB in [0, 1], of the network's input.
        weights: reads and loads networks (`network.weights`).
        steps_per_epoch: of this run.
        sources: what is recorded of further training images.
    """

    def __init__(self, folder: Path, nets: dict[str, nn.Module], parts: dict[str, Any], *,
                 arch: str, spec: Any, flags: dict[str, Any], mean: Sequence[float],
                 std: Sequence[float], weights: Any, device: torch.device,
                 steps_per_epoch: int, sources: Sequence[dict[str, Any]] = ()) -> None:
        self.folder = folder
        self.net = nets["raw"]
        self.ema = nets.get("ema")
        self.parts = parts
        self.header = {"format": FORMAT, "arch": arch, "num_classes": spec.num_classes,
                       "dataset": flags.get("dataset", spec.name),
                       "description": spec.description,
                       "classes": list(spec.names), "args": flags,
                       "mean": tuple(mean), "std": tuple(std)}
        self.keep = flags["keep"]
        self.weights = weights
        self.device = device
        self.steps_per_epoch = steps_per_epoch
        self.sources = list(sources)

    def save(self, progress: Progress) -> None:
        """Writes a checkpoint on rank 0, and links `best.pth` to it if its mIoU is the best.

        No process returns before the files are complete.
        """
        is_best = progress.update_best()
        state = self.state(progress)
        if distributed.is_main():
            path = save(self.folder, state, progress.step, self.keep)
            if is_best:
                link_or_copy(self.folder / "best.pth", path)
        distributed.barrier()

    def state(self, progress: Progress) -> dict[str, Any]:
        """Returns the content of a checkpoint; every process must call it."""
        epoch, position = divmod(progress.step, self.steps_per_epoch)
        published = self.weights.published_state_dict
        return {
            **self.header,
            "state_dict": published(self.net),
            "ema": published(self.ema) if self.ema else None,
            **{name: part.state_dict() for name, part in self.parts.items()},
            "sampler": {"epoch": epoch, "step": position,
                        "steps_per_epoch": self.steps_per_epoch, "sources": self.sources},
            "rng": distributed.gather(precision.generators(self.device)),
            "epoch": epoch,
            **progress.state_dict(),
        }

    def start(self, state: dict[str, Any] | None, *, momentum_of: str | None = None) -> Progress:
        """Restores a checkpoint if there is one; returns how far the run has come.

        Args:
            momentum_of: the checkpoint from which a new run takes its optimizer's momentum.
        """
        if state is not None:
            return self.restore(state)
        if momentum_of is not None:
            load_momentum(self.parts["optimizer"], momentum_of, self.weights.read)
        return Progress()

    def restore(self, state: dict[str, Any]) -> Progress:
        """Loads a checkpoint into the run; returns how far it had come.

        Raises:
            ValueError: an epoch has another length than when the run began.
        """
        # older checkpoints do not say it
        steps = state.get("sampler", {}).get("steps_per_epoch", self.steps_per_epoch)
        if steps != self.steps_per_epoch:
            raise ValueError(f"an epoch has {self.steps_per_epoch} steps, and {steps} when the run "
                             f"in {self.folder} began: restore the images that it began with, also "
                             "those of --extra_data, or start a new run under another --exp.")
        self.weights.load(self.net, state)
        if self.ema:
            self.weights.load(self.ema, state, ema=True)
        for name, part in self.parts.items():
            # an optimizer keeps the given tensors, which are those of the mapped file
            part.load_state_dict(deepcopy(state[name]))
        rank, world_size = distributed.rank(), distributed.world_size()
        if not precision.restore_generators(state["rng"], self.device, rank=rank,
                                            world_size=world_size):
            log.warning("the checkpoint of step %d is from %d process(es), and %d go on: the "
                        "images of each step stay the same, but not every bit", state["step"],
                        len(state["rng"]), world_size)
        return Progress.from_state(state)

    def rewind(self, error: NotFinite, progress: Progress, on_nan: str) -> Progress:
        """Goes back to the newest checkpoint after a loss that is not finite.

        Returns:
            The progress of that checkpoint, which leaves the bad step out when it comes again.

        Raises:
            NotFinite: the error itself, without `--on_nan rewind`, after too many rewinds, or
                where no checkpoint is older than the bad step.
        """
        can_rewind = on_nan == "rewind" and len(progress.skipped_steps) < MAX_REWINDS
        state = newest(self.folder, self.weights.read) if can_rewind else None
        if state is None or error.step <= state["step"]:
            raise error
        log.warning("%s. Going back to step %d; step %d will be left out", error, state["step"],
                    error.step)
        restore_links(self.folder, state, self.weights.read)
        restored = self.restore(state)
        restored.skipped_steps = [*progress.skipped_steps, error.step]
        return restored
