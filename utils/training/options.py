"""Where each flag's value comes from: the default, a recipe, the resumed run, or the command line.
"""
from __future__ import annotations

import os
from argparse import Namespace
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_type_hints

from utils import distributed, precision
from utils.cli import FlagParser
from utils.files import read_record
from utils.precision import PrecisionOptions
from utils.training import batching, intervals, recovery, run_folder, tracking, validation
from utils.training.batching import BatchingOptions
from utils.training.intervals import IntervalOptions
from utils.training.recipes import PURPOSES, RECIPES
from utils.training.recovery import StepOptions
from utils.training.run_folder import FolderOptions
from utils.training.tracking import TrackingOptions
from utils.training.unused_flags import check_used
from utils.training.validation import ValidationOptions

DERIVED = "derived from the others"
# the flags that --help shows; --help all shows every flag
COMMON_FLAGS = ("dataset", "data_root", "arch", "recipe", "pretrained", "snapshot", "crop_size",
                "global_batch", "bs_mult", "lr", "max_epoch", "precision", "exp", "resume")

Flags = dict[str, Any]          # effective values by destination
Recipe = Mapping[str, Any]      # flag -> value, or a function of the flags so far

# for messages: how to go on after a signal, and what to do if the memory is too small
RESUME_HINT = "a run that has begun goes on from its last checkpoint with --resume"
LESS_MEMORY = ("--bs_mult 1 --accumulate N (N forward passes a step keep the global batch), "
               "a smaller --crop_size, --precision bf16, --recompute, or a smaller --teacher")

# flag of the reference implementation -> its successor
RETIRED = {
    "--local_rank": "torchrun, which tells each process its rank",
    "--local-rank": "torchrun, which tells each process its rank",
    "--start_epoch": "--resume logs/NAME",
    "--trunk": "--arch",
    "--tb_tag": "--exp",
    "--dataset_dir": "--data_root",
    "--hardnm": "--ohem",
    "--pre_size": "--crop_size with --scale_min and --scale_max",
    "--batch_size": "--bs_mult",
    "--epochs": "--max_epoch",
    "--amsgrad": "--adam",
    "--crop_nopad": "--crop_size (a smaller image is padded and the padding ignored)",
}
# the flags that --resume may change; any other would make it another run
RESUMABLE_FLAGS = {
    "resume", "num_workers", "val_split", "log_every", "eval_epoch", "eval_every", "eval_late",
    "checkpoint_every", "keep", "data_root", "extra_data", "packed", "on_bad_sample", "cache_dir",
    "dump_augmentation_images", "test_mode", "print_config", "timeout", "on_nan", "recompute",
    "eval_weights", "eval_images", "memory_estimate", "bs_mult_val", "evaluateF",
    "eval_thresholds", "track", "out", "teacher",
}
# the flags in which the processes of a run may differ
PER_HOST_FLAGS = {"data_root", "num_workers", "ckpt", "tb_path", "packed", "cache_dir", "teacher"}


@dataclass(frozen=True)
class RunOptions:
    """The options of `utils` for a run; train.py adds those of the other packages.

    Each field but `flags` is a dataclass of options that reads its own flags.

    Args:
        flags: the effective flags, as args.json and checkpoints hold them.
    """

    flags: Flags
    run: FolderOptions
    precision: PrecisionOptions
    step: StepOptions
    batching: BatchingOptions
    intervals: IntervalOptions
    validation: ValidationOptions
    tracking: TrackingOptions

    @classmethod
    def from_args(cls, args: Namespace) -> Any:
        """Reads each field from its flags; raises ValueError if a flag is out of range."""
        kinds = get_type_hints(cls)
        del kinds["flags"]
        parts = {name: kind.from_args(args) for name, kind in kinds.items()}
        return cls(flags=vars(args), **parts)

    def check_machine(self) -> None:
        """Raises ValueError or OSError if the device or the run's folder cannot be used."""
        self.run.check_free()
        self.precision.apply(precision.default_device(), one_size=True)


def add_flags(parser: FlagParser, scenes: bool = True) -> None:
    """Declares the flags of `RunOptions`.

    Args:
        scenes: False for a training without label maps, which has no recipes and no boundaries.
    """
    for module in (precision, recovery, batching, intervals, tracking):
        module.add_flags(parser)
    validation.add_flags(parser, scenes)
    run_folder.add_flags(parser, PURPOSES if scenes else {})


def resolve_flags(parser: FlagParser, argv: Sequence[str] | None,
                  default_name: Callable[[Flags], str],
                  derive: Callable[[Namespace], None] = lambda args: None,
                  ) -> tuple[Namespace, dict[str, str]]:
    """Reads a command line; returns the effective flags and the origin of each.

    A worker that torchrun restarts resumes the run that the same torchrun began.

    Args:
        default_name: the run's name, given the flags so far, without `--exp`.
        derive: sets the flags that depend on others, in place.

    Raises:
        ValueError: the command line would change what a resumed run must keep, or has a flag that
            would be ignored.
        OSError: the run to resume does not exist.
    """
    args, given = parser.parse_args(argv), parser.given(argv)
    defaults = vars(parser.parse_args([]))
    values, origins = dict(defaults), dict.fromkeys(defaults, "default")
    recipe = RECIPES[args.recipe] if getattr(args, "recipe", None) else {}
    values |= given
    for name, value in recipe.items():
        values[name] = value(values) if callable(value) else value
        origins[name] = f"recipe {args.recipe}"
    values |= given
    if not values["exp"]:
        values["exp"], origins["exp"] = default_name(values), DERIVED
    folder = _run_to_resume(args.resume, Path(values["ckpt"]) / values["exp"])
    values["resume"] = None
    if folder:
        values |= _resumed_flags(folder, given, recipe)
        values["resume"] = str(folder)
        origins = dict.fromkeys(values, "run")
    args = Namespace(**values)
    derive(args)
    origins |= {name: DERIVED for name, value in vars(args).items()
                if value != values.get(name)}
    check_used(vars(args), given)
    return args, origins | dict.fromkeys(given, "command line")


def format_flags(args: Namespace, origins: Mapping[str, str]) -> str:
    """Returns one line for each flag: its name, its effective value and its origin."""
    return "\n".join(f"{name:20} {value!s:28} {origins.get(name, 'default')}"
                     for name, value in sorted(vars(args).items()))


def set_batch_sizes(args: Namespace) -> None:
    """Sets the batch sizes that are not given from the others, in place."""
    vars(args).update(vars(BatchingOptions.from_args(args).sizes))


def check_same_run(flags: Flags, step: int) -> None:
    """Compares the flags of all processes, except those that are each host's.

    Args:
        step: of the checkpoint from which this process resumes, or 0.

    Raises:
        ValueError: they differ.
    """
    shared = {name: value for name, value in flags.items() if name not in PER_HOST_FLAGS}
    distributed.check_same({**shared, "resume": f"{flags['resume']} (step {step})"})


def _run_to_resume(resume: str | None, folder: Path) -> Path | None:
    """Returns the folder of the run to go on with, or None to begin a run.

    Args:
        resume: the flag: a folder, a checkpoint in it, "auto", or None.
        folder: of the run by `--ckpt` and `--exp`.
    """
    if resume == "auto":
        return folder if run_folder.holds_run(folder) else None
    return run_folder.folder_of(Path(resume)) if resume else _run_of_this_torchrun(folder)


def _resumed_flags(run: Path, given: Flags, recipe: Recipe) -> Flags:
    """Returns the flags of a run, with those of the command line that may change."""
    # JSON has no tuples
    stored = {name: tuple(value) if isinstance(value, list) else value
              for name, value in run_folder.read_args(run).items()}
    for name, value in given.items():
        if name in RESUMABLE_FLAGS or stored.get(name) == value:
            continue
        if name == "recipe" and _has_values_of(stored, recipe, given):
            continue
        raise ValueError(f"--{name} {value} would change the run {run}, which has "
                         f"{stored.get(name)}: leave it out, or start a new run under another "
                         f"--exp{_way_on(name, run)}")
    return stored | {name: value for name, value in given.items() if name in RESUMABLE_FLAGS}


def _way_on(flag: str, run: Path) -> str:
    """Returns how to train for longer: the schedule of a run depends on its length."""
    if flag not in ("max_iters", "max_epoch"):
        return ""
    return (". The learning rate of a run falls over its whole length, so a longer one is a new "
            f"run: --snapshot {run / 'last.pth'} --restore_optimizer --exp NAME --{flag} N starts "
            "it from the last weights")


def _has_values_of(stored: Flags, recipe: Recipe, given: Flags) -> bool:
    """Returns whether a run that began without this recipe has the same values as with it."""
    return all(stored.get(name) == (value(stored) if callable(value) else value)
               for name, value in recipe.items() if name not in given)


def _run_of_this_torchrun(folder: Path) -> Path | None:
    """Returns the folder if torchrun restarts this process and the same torchrun began its run.

    With several hosts, only the host whose process died counts the restart, so the count says
    nothing there.
    """
    has_several_hosts = os.environ.get("GROUP_WORLD_SIZE", "1") != "1"
    is_restart = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0") != "0"
    if not (has_several_hosts or is_restart) or not (folder / "args.json").is_file():
        return None
    begun_by = read_record(folder / "env.json").get("torchrun")
    return folder if begun_by == os.environ.get("TORCHELASTIC_RUN_ID") else None
