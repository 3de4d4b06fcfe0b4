from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

import eval as evaluation
from tools import merge
from tools.report import __main__ as report

# of the fixture `scored`
IMAGES = 12


def test_eval_writes_a_page_that_needs_no_other_file(scored: Any) -> None:
    text = scored.single.read_text()
    assert re.findall(r"""(?:src|href)=["']?(?!data:|#)([^"'> ]+)""", text) == []
    assert "sfnet_dfnetv1 on CamVid" in text
    assert text.count('class="card"') == IMAGES
    # two flow alignments
    assert text.count('"flow1"') == IMAGES
    assert text.count("<svg") == 3


def test_a_page_says_nothing_about_the_folders_of_its_machine(scored: Any) -> None:
    for path in (scored.single, scored.paired):
        text = path.read_text()
        assert str(scored.root.parent) not in text
        assert ">a/last.pth<" in text


def test_the_page_can_be_written_again_smaller_and_elsewhere(
        scored: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "new" / "page.html"
    folder = scored.a / "eval_camvid_val"
    assert report.main([str(folder), "--images", "3", "--out", str(out)]) == 0
    assert f"in {out}" in capsys.readouterr().out
    text, scores = out.read_text(), json.loads((folder / "scores.json").read_text())
    assert text.count('class="card"') == 3
    assert f"{100 * scores['mIoU']:.2f}" in text
    for bound in scores["mIoU_interval"]:
        assert f"{100 * bound:.1f}" in text


def test_a_moved_run_and_moved_data_are_found(
        scored: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = tmp_path / "moved"
    shutil.copytree(scored.a, run)
    path = run / "eval_camvid_val/scores.json"
    scores = json.loads(path.read_text())
    scores["settings"] |= {"snapshot": "gone.pth", "data_root": "gone"}
    path.write_text(json.dumps(scores))
    assert report.main([str(run), "--images", "1"]) == 2
    message = "are gone, and the page shows some of them: name their folder with --data_root"
    assert message in capsys.readouterr().err
    flags = [str(run), "--images", "1", "--data_root", str(scored.root)]
    assert report.main(flags) == 0
    torch.save({**torch.load(run / "last.pth"), "step": 7}, run / "last.pth")
    assert report.main(flags) == 2
    assert "score the snapshot again" in capsys.readouterr().err


def test_a_precision_that_this_device_lacks_becomes_fp32(
        scored: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str]) -> None:
    cpu = torch.device("cpu")
    monkeypatch.setattr("tools.report.evaluation.default_device", lambda: cpu)
    monkeypatch.setattr("eval.default_device", lambda: cpu)
    runs = []
    for run in (scored.a, scored.b):
        runs.append(shutil.copytree(run, tmp_path / run.name))
        path = runs[-1] / "eval_camvid_val/scores.json"
        scores = json.loads(path.read_text())
        scores["settings"] |= {"precision": "fp16"}
        path.write_text(json.dumps(scores))
    flags = ["--images", "1", "--data_root", str(scored.root)]
    assert report.main(["--compare", *map(str, runs), *flags]) == 0
    assert "scored in fp16, which cpu does not have" in capsys.readouterr().err


def test_an_error_that_speaks_of_flags_says_whose_they_are(
        scored: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = shutil.copytree(scored.a, tmp_path / "run")
    path = run / "eval_camvid_val/scores.json"
    scores = json.loads(path.read_text())
    path.write_text(json.dumps(scores | {"arch": "sfnet_resnet18"}))
    assert report.main(["--compare", str(run), str(scored.b)]) == 2
    message = r"flags in this message are those of eval\.py.*leave out --arch sfnet_resnet18"
    assert re.search(message, capsys.readouterr().err)


def test_merged_shards_are_reported(scored: Any, tmp_path: Path,
                                    capsys: pytest.CaptureFixture[str]) -> None:
    shards = [tmp_path / name for name in "xy"]
    for index, folder in enumerate(shards):
        flags = {"--snapshot": scored.a / "last.pth", "--data_root": scored.root,
                 "--precision": "fp32", "--num_workers": 0, "--ckpt_path": folder,
                 "--split_count": 2, "--split_index": index}
        words = [str(word) for flag in flags.items() for word in flag]
        assert evaluation.main([*words, "--report"]) == 0
    command = f"python -m tools.merge {shards[0]} && python -m tools.report {shards[0]}"
    assert command in capsys.readouterr().out
    assert merge.main([str(folder) for folder in shards]) == 0
    assert report.main([str(shards[0]), "--images", "1"]) == 0
    assert f"{IMAGES} images" in (shards[0] / "report" / "index.html").read_text()


def test_an_image_that_the_data_does_not_hold_is_named(
        scored: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for folder in ("val", "valannot"):
        (tmp_path / folder).mkdir()
        shutil.copy(scored.root / folder / "frame00.png", tmp_path / folder / "other.png")
    assert report.main([str(scored.a), "--data_root", str(tmp_path)]) == 2
    message = r"scored an image frame\d\d, which the data does not hold"
    assert re.search(message, capsys.readouterr().err)


def test_a_folder_without_an_evaluation_is_refused(
        scored: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert report.main([str(scored.root)]) == 2
    assert "run eval.py on the snapshot first" in capsys.readouterr().err
