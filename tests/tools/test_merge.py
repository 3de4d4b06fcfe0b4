from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from tools import merge
from utils.evaluation.records import Record, Records

OLD_FOLDER = Path(__file__).parents[1] / "utils" / "evaluation" / "old_folder"
RUN = {"images": 4, "classes": ["road", "sky"], "labelled": True, "arch": "sfnet_dfnetv1",
       "snapshot_sha256": "0" * 64}


def write_shard(folder: Path, index: int, **changes: object) -> Path:
    """Writes the output folder of one of two shards; image i has i + 1 right pixels of each class.
    """
    records = Records(folder, {**RUN, **changes}, (index, 2))
    records.prepare_folder(resume=False, replace=False)
    with records:
        for i in range(index, 4, 2):
            records.add(Record(i, f"image{i}", (i + 1) * np.eye(2, dtype=int)))
    return folder


def test_shards_of_two_machines_are_merged_into_the_first_folder(tmp_path: Path) -> None:
    folders = [write_shard(tmp_path / name, index) for index, name in enumerate("ab")]
    assert merge.main([*map(str, folders), "--json", str(tmp_path / "scores.json")]) == 0
    arrays = np.load(folders[0] / "per_image.npz")
    assert arrays["names"].tolist() == [f"image{i}" for i in range(4)]
    assert arrays["matrices"].sum(0).tolist() == [[10, 0], [0, 10]]
    scores = json.loads((tmp_path / "scores.json").read_text())
    assert (scores["mIoU"], scores["images"]) == (1.0, 4)
    assert json.loads((folders[0] / "scores.json").read_text()) == scores


def test_missing_images_are_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert merge.main([str(write_shard(tmp_path / "a", 1))]) == 2
    assert "2 of 4 images are missing (number 0, 2)" in capsys.readouterr().err


def test_shards_of_different_evaluations_are_refused(
        tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folders = [write_shard(tmp_path / "a", 0), write_shard(tmp_path / "b", 1, arch="fpn_dfnetv1")]
    assert merge.main([*map(str, folders)]) == 2
    assert 'holds another evaluation than' in capsys.readouterr().err
    assert not (folders[0] / "per_image.npz").exists()


def test_a_split_without_labels_has_no_scores(
        tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folders = [write_shard(tmp_path / "a", index, labelled=False) for index in range(2)]
    assert merge.main([str(folders[0])]) == 0
    assert "without labels there are no scores" in capsys.readouterr().out
    assert not (folders[0] / "scores.json").exists()


def test_another_mean_iou_than_the_expected_one_fails(tmp_path: Path) -> None:
    folders = [write_shard(tmp_path / "a", index) for index in range(2)]
    assert merge.main([str(folders[0]), "--expect", "0.9"]) == 1
    assert merge.main([str(folders[0]), "--expect", "0.9", "--tolerance", "0.1"]) == 0


def test_a_folder_of_an_older_version_gives_its_scores_again(tmp_path: Path) -> None:
    folder = tmp_path / "old"
    shutil.copytree(OLD_FOLDER, folder)
    expected = json.loads((folder / "scores.json").read_text())
    assert merge.main([str(folder)]) == 0
    assert json.loads((folder / "scores.json").read_text()) == expected
