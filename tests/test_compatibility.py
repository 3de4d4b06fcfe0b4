"""What version 0.1.0 wrote is read, resumed and reported by today's code."""
from __future__ import annotations

import json
import tarfile
from pathlib import Path
from typing import Any

import pytest

import eval as evaluation
import train
from tools import merge
from tools.report import __main__ as report
from tools.weights import __main__ as weights

# the folder in which the archive was written
WRITTEN_IN = "/tmp/old/fix"
ARCHIVE = Path(__file__).with_name("compatibility") / "run_0_1_0.tar.xz"


@pytest.fixture(scope="module")
def old(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of old files, with its run resumed to the last step."""
    pytest.importorskip("timm", reason="the network of the old run has a timm backbone")
    folder = tmp_path_factory.mktemp("old")
    with tarfile.open(ARCHIVE) as archive:
        # Python before 3.10.12 and 3.11.4 has no filters
        archive.extraction_filter = getattr(tarfile, "data_filter", None)
        archive.extractall(folder)
    for name in ("run.json", "scores.json"):
        path = folder / "scored" / name
        path.write_text(path.read_text().replace(WRITTEN_IN, str(folder)))
    flags = ["--resume", str(folder / "run"), "--data_root", str(folder / "streets"),
             "--packed", str(folder / "pack")]
    assert train.main(flags) == 0
    return folder


@pytest.fixture(scope="module")
def expected(old: Path) -> dict[str, Any]:
    """What version 0.1.0 computed when it resumed the run."""
    return json.loads((old / "expected.json").read_text())


def test_a_resumed_run_has_the_losses_of_before(old: Path, expected: dict[str, Any]) -> None:
    lines = [json.loads(line) for line in (old / "run/metrics.jsonl").read_text().splitlines()]
    losses = {str(line["step"]): line["loss"] for line in lines if line["kind"] == "train"}
    assert list(losses) == ["1", "2", "3", "4", "5", "6"]
    for step, value in expected["losses"].items():
        assert losses[step] == pytest.approx(value, rel=1e-4)
    scores = [line["mIoU"] for line in lines if line["kind"] == "validation"]
    assert scores == pytest.approx(expected["validation"], abs=1e-4)


def test_the_network_has_the_score_of_before(old: Path, expected: dict[str, Any]) -> None:
    json_file = old / "scores.json"
    flags = ["--snapshot", str(old / "run/last.pth"), "--data_root", str(old / "streets"),
             "--split", "val", "--precision", "fp32", "--ckpt_path", str(old / "scored_today"),
             "--json", str(json_file)]
    assert evaluation.main(flags) == 0
    assert json.loads(json_file.read_text())["mIoU"] == pytest.approx(expected["mIoU"], abs=1e-4)


def test_a_checkpoint_is_verified_and_inspected(
        old: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = str(old / "run/checkpoints/step_4.pth")
    assert weights.main(["inspect", path]) == 0
    assert "sfnet_lite_timm" in capsys.readouterr().out


def test_an_evaluation_is_merged_and_reported(old: Path) -> None:
    pytest.importorskip("jinja2", reason="the extra `report` brings it")
    before = json.loads((old / "scored/scores.json").read_text())
    assert merge.main([str(old / "scored")]) == 0
    after = json.loads((old / "scored/scores.json").read_text())
    assert after["confusion_matrix"] == before["confusion_matrix"]
    assert after["mIoU"] == pytest.approx(before["mIoU"])
    page = old / "page.html"
    flags = ["--data_root", str(old / "streets"), "--out", str(page)]
    assert report.main([str(old / "scored"), *flags]) == 0
    assert page.stat().st_size > 10_000
