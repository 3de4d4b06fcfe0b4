from __future__ import annotations

import json
from pathlib import Path

import cv2
import pytest

from tools.report import __main__ as report
from tools.report import curves


def write(run: Path, lines: list[dict]) -> Path:
    run.mkdir()
    (run / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return run


@pytest.fixture
def run(tmp_path: Path) -> Path:
    lines = [{"kind": "train", "step": i, "epoch": i / 10, "loss": 3 / (i + 1), "lr": 0.01}
             for i in range(20)]
    lines.append({"kind": "validation", "step": 20, "epoch": 2.0, "mIoU": 0.4})
    return write(tmp_path / "run", lines)


@pytest.fixture
def other(tmp_path: Path) -> Path:
    """A run without a validation."""
    line = {"kind": "train", "step": 1, "epoch": 0.1, "loss": 1.0, "lr": 0.1}
    return write(tmp_path / "other", [line])


def test_the_curves_of_runs_are_drawn_into_one_picture(
        run: Path, other: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("matplotlib")
    out = tmp_path / "new" / "curves.png"
    assert report.main(["--curves", str(run), str(other), "--out", str(out)]) == 0
    picture = cv2.imread(str(out))
    # three panels
    assert picture.shape[1] > 3 * 600
    for color in curves.COLORS[:2]:
        rgb = [int(color[i:i + 2], 16) for i in (1, 3, 5)]
        assert (abs(picture[..., ::-1].astype(int) - rgb).max(axis=2) < 30).any()
    assert "curves of 2 run(s)" in capsys.readouterr().out


def test_a_panel_without_points_is_left_out(run: Path, other: Path) -> None:
    assert [panel.kind for panel in curves.read_panels([other])] == ["train", "train"]
    validation = curves.read_panels([run, other])[2]
    assert validation.curves == {run: [(2.0, 40.0)], other: []}


@pytest.mark.parametrize(("text", "message"),
                         [(None, "holds no metrics.jsonl"),
                          ("", "nothing is logged yet"),
                          ('{"kind"\n', "line 1 is not JSON")])
def test_runs_without_readable_metrics_are_refused(tmp_path: Path, text: str | None, message: str,
                                                   capsys: pytest.CaptureFixture[str]) -> None:
    if text is not None:
        (tmp_path / "metrics.jsonl").write_text(text)
    assert report.main(["--curves", str(tmp_path), "--out", str(tmp_path / "x.png")]) == 2
    assert message in capsys.readouterr().err


def test_a_picture_of_an_unknown_kind_is_refused(
        capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert report.main(["--curves", str(tmp_path), "--out", str(tmp_path / "x.xyz")]) == 2
    assert "x.xyz: the name of a picture of curves ends in .png, .svg, .pdf" in (
        capsys.readouterr().err)
