"""Where the value of each flag comes from: the default, a recipe, the run that goes on, or the command line."""
from __future__ import annotations

import json
import os
from argparse import Namespace
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from utils.cli import FlagParser
from utils.training import run_folder

Recipe = Mapping[str, Any]                                  # flag -> value, or a function of the flags so far


def resolve_flags(parser: FlagParser, argv: Sequence[str] | None, *, recipes: Mapping[str, Recipe],
           may_change: Collection[str], normalize: Callable[[dict[str, Any]], None],
           default_name: Callable[[dict[str, Any]], str]) -> tuple[Namespace, dict[str, str]]:
    """Reads a command line; returns the effective flags and the origin of each.

    A worker that torchrun starts again, after one died, finds its run begun and goes on with it.

    Args:
        recipes: rows of `--recipe`; what the command line gives wins over them.
        may_change: flags that a run may be resumed with another value of.
        tidy: brings the given flags, by destination, into their usual form.
        default_name: of a run with the flags so far, when `--exp` gives none.

    Raises:
        ValueError, OSError: the run to go on with is absent, or the command line would make it another one.
    """
    args, given = parser.parse_args(argv), parser.given(argv)
    normalize(given)
    defaults = vars(parser.parse_args([]))
    values, origins = dict(defaults), dict.fromkeys(defaults, "default")
    if args.recipe:
        values |= given
        for name, value in recipes[args.recipe].items():
            values[name], origins[name] = value(values) if callable(value) else value, f"recipe {args.recipe}"
    values |= given
    values["exp"] = values["exp"] or default_name(values)
    folder = args.resume or _begun_before(Path(values["ckpt"]) / values["exp"])
    if folder:
        recipe = recipes[args.recipe] if args.recipe else {}
        values |= _resumed(Path(folder), given, may_change, recipe) | {"resume": str(folder)}
        origins = dict.fromkeys(values, "run")
    return Namespace(**values), origins | dict.fromkeys(given, "command line")


def table(args: Namespace, origins: Mapping[str, str]) -> str:
    """Returns a line a flag: its name, its effective value and its origin."""
    return "\n".join(f"{name:20} {value!s:28} {origins.get(name, 'default')}"
                     for name, value in sorted(vars(args).items()))


def _resumed(run: Path, given: Mapping[str, Any], may_change: Collection[str], recipe: Recipe) -> dict[str, Any]:
    stored = {name: tuple(value) if isinstance(value, list) else value for name, value in run_folder.read_args(run).items()}
    # A run that began without this recipe, with the same values, is the same run.
    matches = all((value(stored) if callable(value) else value) == stored.get(name)
                  for name, value in recipe.items() if name not in given)
    for name, value in given.items():
        if name not in may_change and stored.get(name) != value and not (name == "recipe" and matches):
            raise ValueError(f"--{name} {value} would make it another run than {run}, which has {stored.get(name)}: "
                             "leave it out, or start a new run under another --exp")
    return {**stored, **{name: value for name, value in given.items() if name in may_change}}


def _begun_before(folder: Path) -> Path | None:
    """Returns the folder when torchrun restarts this process and the same torchrun began the run in it.

    Of several hosts, only the one whose process died counts the restart.
    """
    several = os.environ.get("GROUP_WORLD_SIZE", "1") != "1"
    restarted = several or os.environ.get("TORCHELASTIC_RESTART_COUNT", "0") != "0"
    if not restarted or not (folder / "args.json").is_file():
        return None
    began = json.loads((folder / "env.json").read_text()).get("torchrun")
    return folder if began == os.environ.get("TORCHELASTIC_RUN_ID") else None
