from __future__ import annotations

import os
import sys

import pytest

from tools.maintainer.fault_drill import __main__ as fault_drill
from tools.maintainer.fault_drill import versions

# an interpreter with another torch on this machine
OTHER_PYTHON = os.environ.get("OTHER_PYTHON")


def test_without_another_torch_the_drill_is_skipped(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert fault_drill.main(["--only", "versions"]) == 0
    assert "skipped: it needs an interpreter with another torch" in capsys.readouterr().out
    monkeypatch.setattr(versions, "torch_version", lambda python: "2.6.0")
    assert fault_drill.main(["--only", "versions", "--other_python", sys.executable]) == 0
    assert f"skipped: {sys.executable} has torch 2.6.0 too" in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.skipif(OTHER_PYTHON is None, reason="OTHER_PYTHON names no interpreter")
def test_a_run_goes_from_one_torch_to_another_and_back() -> None:
    flags = ["--only", "versions", "--steps", "14", "--other_python", str(OTHER_PYTHON)]
    assert fault_drill.main(flags) == 0
