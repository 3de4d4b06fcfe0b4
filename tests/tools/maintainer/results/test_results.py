from __future__ import annotations

from pathlib import Path

import pytest

from tools.maintainer.results import __main__ as results


@pytest.mark.parametrize(("flags", "message"),
                         [(["--add", "logs/x"], "--add RUN and --study NAME go together"),
                          (["--study", "x"], "go together"),
                          (["--evaluation", "x"], "--evaluation belongs to one run"),
                          (["--add", "a", "b", "--study", "x", "--evaluation", "y"],
                           "--evaluation belongs to one run"),
                          (["--add", "a", "--study", "x", "--started", "yesterday"],
                           "'yesterday' is not a date: write it as 2026-11-23")])
def test_flags_that_make_no_sense_are_refused(flags: list[str], message: str,
                                              capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        results.main(flags)
    assert message in capsys.readouterr().err


def test_a_folder_without_studies_is_refused(tmp_path: Path,
                                             capsys: pytest.CaptureFixture[str]) -> None:
    assert results.main(["--runs", str(tmp_path), "--out", str(tmp_path / "x.md")]) == 2
    assert "holds no study" in capsys.readouterr().err
    assert not (tmp_path / "x.md").exists()
