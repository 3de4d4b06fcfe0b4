"""Reads the studies that figures are drawn from, and names what is missing."""
from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tools.maintainer.results import studies
from tools.maintainer.results.studies import Study


def studies_with_runs(sources: Path, names: Sequence[str]) -> list[Study]:
    """Returns the studies of these names that have runs, from the folder `runs` beside the sources.

    Raises:
        FileNotFoundError: none is there and has runs.
        ValueError: a study is damaged.
    """
    folder = sources.parent / "runs"
    with_runs = [studies.read(folder / name)
                 for name in names if (folder / name / studies.STUDY).is_file()]
    with_runs = [study for study in with_runs if study.runs]
    if not with_runs:
        folders = " and ".join(str(folder / name) for name in names)
        raise FileNotFoundError(
            f"{folders}: there is no run: keep some with `python -m tools.maintainer.results --add "
            f"logs/NAME --study {names[0]}`"
        )
    return with_runs
