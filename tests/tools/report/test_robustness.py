"""Corruptions from the command of eval.py to the page of two networks."""
from __future__ import annotations

import json
from pathlib import Path

import pytest

import eval as evaluation
from tests.tools.conftest import Scored
from tools.report import __main__ as report


def score(run: Path, root: Path, *flags: str) -> int:
    return evaluation.main(["--snapshot", str(run / "last.pth"), "--data_root", str(root),
                            "--precision", "fp32", "--num_workers", "0", *flags])


def test_two_networks_are_scored_on_the_same_corrupted_images(
        scored: Scored, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flags = ("--corruption", "noise", "night", "--severity", "5")
    assert score(scored.a, scored.root, *flags, "--report") == 0
    said = capsys.readouterr().out
    assert "eval_camvid_val: scored already" in said and "mean of the kinds" in said
    assert (scored.a / "report/corruptions.html").is_file()
    folder = scored.a / "eval_camvid_val"
    clean, night = (json.loads((path / "scores.json").read_text())
                    for path in (folder, folder / "corruptions/night_5"))
    assert night["images"] == clean["images"] and night["mIoU"] != clean["mIoU"]
    assert json.loads((folder / "corruptions/night_5/run.json").read_text())[
        "corruption"] == "night_5"
    assert report.main(["--corruptions", str(scored.a), str(scored.b)]) == 2
    assert "run eval.py --corruptions all" in capsys.readouterr().err
    assert score(scored.b, scored.root, *flags) == 0
    out = tmp_path / "both.html"
    assert report.main(["--corruptions", str(scored.a), str(scored.b), "--out", str(out)]) == 0
    assert out.read_text(encoding="utf-8").count("<rect ") == 4


@pytest.mark.parametrize(("flags", "message"), [
    (("--corruption", "frog"), "frog is unknown, did you mean 'fog'? It takes: fog, rain, snow"),
    (("--corruption", "fog", "--split", "test"), "no image matches"),
    (("--corruption", "fog", "--split_count", "2"), "leave out --split_count"),
])
def test_what_cannot_be_scored_is_refused(scored: Scored, flags: tuple[str, ...], message: str,
                                          capsys: pytest.CaptureFixture[str]) -> None:
    assert score(scored.a, scored.root, *flags) == 2
    assert message in capsys.readouterr().err
