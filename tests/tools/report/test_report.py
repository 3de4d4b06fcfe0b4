from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

import eval as evaluation
from tools import merge
from tools.report import __main__ as report
from tools.report import curves
from utils.report import page, results

IMAGES = 12                                                 # of the fixture `scored`


def write(run: Path, lines: list[dict]) -> Path:
    run.mkdir()
    (run / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return run


@pytest.fixture
def run(tmp_path: Path) -> Path:
    lines = [{"kind": "train", "step": i, "epoch": i / 10, "loss": 3 / (i + 1), "lr": 0.01} for i in range(20)]
    return write(tmp_path / "run", [*lines, {"kind": "validation", "step": 20, "epoch": 2.0, "mIoU": 0.4}])


def test_the_curves_of_runs_are_drawn_into_one_picture(run: Path, tmp_path: Path,
                                                       capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("matplotlib")
    without = write(tmp_path / "other", [{"kind": "train", "step": 1, "epoch": 0.1, "loss": 1.0, "lr": 0.1}])
    out = tmp_path / "new" / "curves.png"
    assert report.main(["--curves", str(run), str(without), "--out", str(out)]) == 0
    picture = cv2.imread(str(out))
    assert picture.shape[1] > 3 * 600                       # three panels
    for color in curves.COLORS[:2]:
        rgb = [int(color[i:i + 2], 16) for i in (1, 3, 5)]
        assert (abs(picture[..., ::-1].astype(int) - rgb).max(axis=2) < 30).any()
    assert "curves of 2 run(s)" in capsys.readouterr().out


@pytest.mark.parametrize(("text", "message"), [
    (None, "holds no metrics.jsonl"), ("", "nothing is logged yet"), ('{"kind"\n', "line 1 is not JSON")])
def test_runs_without_readable_metrics_are_refused(tmp_path: Path, text: str | None, message: str,
                                                   capsys: pytest.CaptureFixture[str]) -> None:
    if text is not None:
        (tmp_path / "metrics.jsonl").write_text(text)
    assert report.main(["--curves", str(tmp_path), "--out", str(tmp_path / "x.png")]) == 2
    assert message in capsys.readouterr().err


def test_eval_leaves_a_page_that_needs_nothing_else(scored: Any) -> None:
    text = scored.single.read_text()
    assert re.findall(r"""(?:src|href)=["']?(?!data:|#)([^"'> ]+)""", text) == []
    assert "sfnet_dfnetv1 on CamVid" in text
    assert text.count('class="card"') == IMAGES
    assert text.count('"flow1"') == IMAGES                  # two flow alignments
    assert text.count("<svg") == 3


def test_the_page_can_be_made_again_smaller_and_elsewhere(scored: Any, tmp_path: Path,
                                                          capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "new" / "page.html"
    assert report.main([str(scored.a / "eval_camvid_val"), "--images", "3", "--out", str(out)]) == 0
    assert f"in {out}" in capsys.readouterr().out
    text, scores = out.read_text(), json.loads((scored.a / "eval_camvid_val/scores.json").read_text())
    assert text.count('class="card"') == 3
    assert f"{100 * scores['mIoU']:.2f}" in text
    for bound in scores["mIoU_interval"]:
        assert f"{100 * bound:.1f}" in text


def test_a_moved_run_and_moved_data_are_found(scored: Any, tmp_path: Path,
                                              capsys: pytest.CaptureFixture[str]) -> None:
    run = tmp_path / "moved"
    shutil.copytree(scored.a, run)
    scores = json.loads((run / "eval_camvid_val/scores.json").read_text())
    scores["settings"] |= {"snapshot": "gone.pth", "data_root": "gone"}
    (run / "eval_camvid_val/scores.json").write_text(json.dumps(scores))
    assert report.main([str(run), "--images", "1"]) == 2
    assert "are gone, and the page shows some of them: name their folder with --data_root" in capsys.readouterr().err
    assert report.main([str(run), "--images", "1", "--data_root", str(scored.root)]) == 0
    torch.save({**torch.load(run / "last.pth"), "step": 7}, run / "last.pth")
    assert report.main([str(run), "--images", "1", "--data_root", str(scored.root)]) == 2
    assert "score the snapshot again" in capsys.readouterr().err


def test_shares_that_were_merged_are_reported(scored: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shares = [tmp_path / name for name in "xy"]
    for index, folder in enumerate(shares):
        flags = {"--snapshot": scored.a / "last.pth", "--data_root": scored.root, "--precision": "fp32",
                 "--num_workers": 0, "--ckpt_path": folder, "--split_count": 2, "--split_index": index}
        assert evaluation.main([*(str(word) for flag in flags.items() for word in flag), "--report"]) == 0
    assert f"python -m tools.merge {shares[0]} && python -m tools.report {shares[0]}" in capsys.readouterr().out
    assert merge.main([str(each) for each in shares]) == 0
    assert report.main([str(shares[0]), "--images", "1"]) == 0
    assert f"{IMAGES} images" in (shares[0] / "report" / "index.html").read_text()


def test_images_that_the_data_does_not_hold_are_named(scored: Any, tmp_path: Path,
                                                      capsys: pytest.CaptureFixture[str]) -> None:
    for folder in ("val", "valannot"):
        (tmp_path / folder).mkdir()
        shutil.copy(scored.root / folder / "frame00.png", tmp_path / folder / "other.png")
    assert report.main([str(scored.a), "--data_root", str(tmp_path)]) == 2
    assert re.search(r"scored an image frame\d\d, which the data does not hold", capsys.readouterr().err)


@pytest.mark.parametrize(("change", "message"), [
    ({"classes": "x"}, "only models of the same classes of one dataset can be compared"),
    ({"names": "y"}, "have no image in common")])
def test_models_that_cannot_be_compared_are_refused(scored: Any, tmp_path: Path, change: dict[str, str],
                                                    message: str, capsys: pytest.CaptureFixture[str]) -> None:
    other = tmp_path / "b"
    shutil.copytree(scored.b, other)
    folder = other / "eval_camvid_val"
    with np.load(folder / "per_image.npz") as kept:
        arrays = dict(kept)
    for name, prefix in change.items():
        arrays[name] = np.char.add(prefix, arrays[name])
    np.savez(folder / "per_image.npz", **arrays)
    scores = json.loads((folder / "scores.json").read_text())
    scores["per_class_IoU"] = dict(zip(arrays["classes"].tolist(), scores["per_class_IoU"].values(), strict=True))
    (folder / "scores.json").write_text(json.dumps(scores))
    with pytest.raises(ValueError, match=message):
        page.align(results.read(results.find(scored.a)), results.read(folder))
    if "names" in change:
        assert report.main(["--compare", str(scored.a), str(other)]) == 2
        assert message in capsys.readouterr().err


def test_a_comparison_is_about_the_common_images_in_one_order(scored: Any) -> None:
    ours, theirs = (results.read(results.find(run)) for run in (scored.a, scored.b))
    a, b = page.align(ours.select([4, 2, 9]), theirs)
    assert a.names == b.names == tuple(ours.names[place] for place in (4, 2, 9))
    assert (b.matrices == theirs.matrices[[4, 2, 9]]).all()
    assert (a.matrices.sum(2) == b.matrices.sum(2)).all()


def test_a_folder_that_holds_no_evaluation_is_refused(scored: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert report.main([str(scored.root)]) == 2
    assert "run eval.py on the snapshot first" in capsys.readouterr().err
