from __future__ import annotations

from pathlib import Path

import pytest

from tools.maintainer.fault_drill import __main__ as fault_drill


def test_a_drill_fills_its_row_of_a_document(tmp_path: Path,
                                             capsys: pytest.CaptureFixture[str]) -> None:
    document = tmp_path / "a.md"
    document.write_text(f"before\n{fault_drill.BEGIN}\nold\n{fault_drill.END}\nafter\n")
    assert fault_drill.main(["--only", "save", "--times", "2", "--doc", str(document)]) == 0
    lines = document.read_text().splitlines()
    assert (lines[0], lines[-1]) == ("before", "after")
    assert "old" not in lines
    row = "| kill -9 during a save, 4 times | a complete checkpoint each time"
    assert any(line.startswith(row) for line in lines)
    assert "a complete checkpoint each time" in capsys.readouterr().out


@pytest.mark.slow
def test_a_run_that_is_killed_or_interrupted_resumes_exactly() -> None:
    drills = ["kill", "epoch", "signals"]
    assert fault_drill.main(["--only", *drills, "--steps", "14", "--times", "3"]) == 0
