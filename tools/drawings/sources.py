"""Reads what figures are drawn from, and names what is missing."""
from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tools.evidence import studies
from tools.evidence.studies import Study


def read_json(path: Path, how: str) -> Any:
    """Returns what a JSON file holds.

    Args:
        how: to make the file, said when it is missing.

    Raises:
        FileNotFoundError: it is missing.
        ValueError: it is damaged.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing: {how}")
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise ValueError(f"{path} is damaged ({error}): {how}") from error


def studies_with_runs(sources: Path, names: Sequence[str], needed: bool = True) -> list[Study]:
    """Returns the studies of these names that have runs, from the folder `runs` beside the sources.

    Raises:
        FileNotFoundError: one is needed, and none is there and has runs.
        ValueError: a study is damaged.
    """
    folder = sources.parent / "runs"
    found = [studies.read(folder / name) for name in names if (folder / name / studies.STUDY).is_file()]
    found = [study for study in found if study.runs]
    if needed and not found:
        places = " and ".join(str(folder / name) for name in names)
        raise FileNotFoundError(f"{places}: there is no run: keep some with `python -m tools.results --add logs/NAME "
                                f"--study {names[0]}`")
    return found
