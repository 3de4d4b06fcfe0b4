"""The command writes what it has after each part."""
from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tools.benchmark import __main__ as benchmark
from tools.benchmark.machine import command, plan
from tools.benchmark.machine.worker import Deadline


class FakeWorker:
    """Measures in this process; the second part finds what the first one wrote."""

    closed = False

    def __init__(self, parts: Any, plan: plan.Plan) -> None:
        self.parts = parts
        self.plan = plan

    def measure(self, part: str, seconds: float) -> Iterator[dict[str, Any]]:
        assert seconds == self.plan.limits[part]
        yield from self.parts[part](self.plan, Deadline(seconds))

    def close(self) -> None:
        FakeWorker.closed = True


def test_files_are_written_after_every_part(monkeypatch: pytest.MonkeyPatch, tmp_path: Path,
                                            capsys: pytest.CaptureFixture[str]) -> None:
    out, page = tmp_path / "machine.json", tmp_path / "machine.md"

    def first(plan: Any, deadline: Deadline) -> Iterator[dict[str, Any]]:
        assert json.loads(out.read_text())["parts"] == {} and page.is_file()
        yield {"measure": "copy", "bytes": 1, "per_second": 2e9}

    def second(plan: Any, deadline: Deadline) -> Iterator[dict[str, Any]]:
        assert "copy | 2.0 GB/s" in page.read_text()
        assert list(json.loads(out.read_text())["parts"]) == ["rates"]
        yield {"source": "pack", "workers": 1, "images_per_second": 0.5}

    monkeypatch.setattr(command, "PARTS", {"rates": first, "loading": second})
    monkeypatch.setattr(command, "Worker", FakeWorker)
    assert benchmark.main(["machine", "--quick", "--parts", "loading", "rates", "--json", str(out),
                           "--out", str(page)]) == 0
    parts = json.loads(out.read_text())["parts"]
    assert [part["rows"] for part in parts.values()] == [
        [{"measure": "copy", "bytes": 1, "per_second": 2e9}],
        [{"source": "pack", "workers": 1, "images_per_second": 0.5}]]
    assert "| pack | 1 | 0.5 |" in page.read_text() and FakeWorker.closed
    assert "images_per_second 0.5" in capsys.readouterr().err


def test_the_page_is_printed_without_a_file(monkeypatch: pytest.MonkeyPatch,
                                            capsys: pytest.CaptureFixture[str]) -> None:
    small = replace(plan.CPU, matrix_side=64, copied=1 << 20)
    monkeypatch.setattr(command, "plan_for", lambda device, quick: small)
    monkeypatch.setattr(command, "Worker", FakeWorker)
    assert benchmark.main(["machine", "--parts", "machine", "rates"]) == 0
    printed = capsys.readouterr().out
    assert "# What this machine does" in printed and "| product of 64x64, fp32 |" in printed


def test_a_file_that_cannot_be_written_is_known_at_once(
        monkeypatch: pytest.MonkeyPatch, tmp_path: Path,
        capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(command, "Worker", None)
    assert benchmark.main(["machine", "--json", str(tmp_path / "absent" / "a.json")]) == 2
    assert "absent" in capsys.readouterr().err


@pytest.mark.slow
def test_the_reduced_form_measures_every_part(tmp_path: Path) -> None:
    out, page = tmp_path / "machine.json", tmp_path / "machine.md"
    assert benchmark.main(["machine", "--json", str(out), "--out", str(page)]) == 0
    parts = json.loads(out.read_text())["parts"]
    assert list(parts) == list(command.PARTS)
    for part in parts.values():
        assert part["rows"] and not [row for row in part["rows"] if "error" in row]
    text = page.read_text()
    for title in ("Rates", "Training", "Hours of each Cityscapes launcher", "Inference",
                  "Agreement with float32", "Loading"):
        assert f"## {title}" in text
