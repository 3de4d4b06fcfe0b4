from __future__ import annotations

from pathlib import Path

import pytest

from tools.maintainer.figures import sources


def test_a_figure_of_runs_without_runs_is_refused(tmp_path: Path) -> None:
    message = "there is no run: keep some with `python -m tools.maintainer.results --add"
    with pytest.raises(FileNotFoundError, match=message):
        sources.studies_with_runs(tmp_path / "figures", ["camvid_pair"])
