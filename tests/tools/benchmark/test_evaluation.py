from __future__ import annotations

import json
from pathlib import Path

import pytest

from tools.benchmark import __main__ as benchmark


def test_scoring_is_split_into_its_parts(tmp_path: Path,
                                         capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "a.json"
    assert benchmark.main(["eval", "--size", "64x128", "--images", "2", "--crop_size", "48",
                           "--scales", "0.5,1.0", "--flip", "--evaluateF", "--json", str(out)]) == 0
    found = json.loads(out.read_text())
    assert list(found["seconds"]) == ["reading", "network", "resizing", "accumulation", "metric",
                                      "other"]
    assert min(found["seconds"].values()) > 0
    assert 0 < found["overhead"] < 1
    assert found["peak_host_bytes"] > 1 << 26
    assert (found["images"], found["settings"]["size"],
            found["settings"]["flip"]) == (2, [64, 128], True)
    assert "outside the network; peak memory" in capsys.readouterr().out
