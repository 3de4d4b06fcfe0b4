"""The drills that need no second process start run here; the others are slow."""
from __future__ import annotations

from pathlib import Path

import pytest

from tools.maintainer import fault_drill


def test_a_drill_fills_its_row_of_a_document(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    document = tmp_path / "a.md"
    document.write_text(f"before\n{fault_drill.BEGIN}\nold\n{fault_drill.END}\nafter\n")
    assert fault_drill.main(["--only", "save", "--times", "2", "--doc", str(document)]) == 0
    lines = document.read_text().splitlines()
    assert (lines[0], lines[-1]) == ("before", "after") and "old" not in lines
    assert any(line.startswith("| kill -9 during a save, 4 times | a whole checkpoint each time") for line in lines)
    assert "a whole checkpoint each time" in capsys.readouterr().out


def test_a_broken_promise_and_a_machine_that_cannot_are_told_apart(monkeypatch: pytest.MonkeyPatch,
                                                                   capsys: pytest.CaptureFixture[str]) -> None:
    def broken(site: fault_drill.Range) -> str:
        raise fault_drill.Broken("3 tensors differ")

    monkeypatch.setitem(fault_drill.DRILLS, "save", fault_drill.Drill("a fault", broken))
    monkeypatch.setattr(fault_drill.shutil, "which", lambda name: None)
    monkeypatch.setattr(fault_drill.Range, "whole", lambda site, processes=1: {})
    assert fault_drill.main(["--only", "save", "hosts"]) == 1
    said = capsys.readouterr().out
    assert "NOT KEPT: 3 tensors differ" in said and "skipped: it needs the command ip" in said


@pytest.mark.slow
def test_every_promise_is_kept() -> None:
    assert fault_drill.main(["--steps", "14", "--times", "3"]) == 0
