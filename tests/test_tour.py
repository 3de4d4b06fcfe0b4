"""Runs the code cells of docs/tour.ipynb in one namespace, as Jupyter does."""
from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOK = json.loads((ROOT / "docs/tour.ipynb").read_text(encoding="utf-8"))
CODE = ["".join(cell["source"]) for cell in NOTEBOOK["cells"] if cell["cell_type"] == "code"]


def test_the_notebook_is_stored_without_outputs() -> None:
    """Pictures of data do not belong into the repository."""
    assert len(CODE) >= 8
    for cell in NOTEBOOK["cells"]:
        assert not cell.get("outputs")
        assert cell.get("execution_count") is None


def test_the_notebook_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT / "docs")
    before = {path.name for path in (ROOT / "docs").iterdir()}
    namespace: dict[str, Any] = {"__name__": "__main__"}
    for number, cell in enumerate(CODE):
        exec(compile(cell, f"cell {number} of tour.ipynb", "exec"), namespace)
    losses = namespace["losses"]
    assert sum(losses[-4:]) < 0.8 * sum(losses[:4])
    assert namespace["predictions"].shape == (96, 192)
    assert namespace["flows"]
    assert namespace["equal"] > 0.999
    assert {path.name for path in (ROOT / "docs").iterdir()} == before
