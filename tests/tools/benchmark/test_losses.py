"""The benchmark of the criteria: the same losses as its baselines, and a table of measurements."""
from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from tools.benchmark import __main__ as benchmark
from tools.benchmark import losses


@pytest.mark.parametrize("stride", [1, 4])
def test_the_baselines_compute_the_same_losses(
    stride: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(losses, "KEPT", 50)
    case = losses.case("trained", (2, 5, 64, 72), stride, torch.device("cpu"))
    torch.testing.assert_close(
        losses.FUNCTIONS["CrossEntropy"](*case), losses.mean_cross_entropy(*case)
    )
    ohem = losses._sum_of_terms(lambda: losses.loss.OhemCrossEntropy(0.7, 50), *case)
    torch.testing.assert_close(ohem, losses.sorted_ohem(*case), rtol=1e-4, atol=1e-6)


def test_time_and_memory_are_measured_and_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "losses.json"
    flags = ["--size", "256", "--classes", "8", "--criteria", "CrossEntropy", "--rounds", "2"]
    assert benchmark.main(["losses", *flags, "--json", str(out)]) == 0
    results = json.loads(out.read_text())["results"]
    assert set(results) == {"random", "trained"} and set(results["random"]) == {
        "F.cross_entropy",
        "CrossEntropy",
    }
    logits = 2 * 8 * 256 * 256 * 4
    for measured in results["random"].values():
        assert len(measured["seconds"]) == 2 and min(measured["seconds"]) > 0
        assert logits < measured["peak_bytes"] < 8 * logits  # their gradient at least
    assert "F.cross_entropy" in capsys.readouterr().out
