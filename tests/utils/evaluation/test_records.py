from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from utils.evaluation import records
from utils.evaluation.records import Record, Records

RUN = {"images": 3, "classes": ["a", "b"], "thresholds": [0.1]}


def record(index: int) -> Record:
    return Record(index, f"image{index}", np.full((2, 2), index), np.array([[0.5, np.nan]]))


def test_saved_results_are_read_in_the_order_of_the_split(tmp_path: Path) -> None:
    written = Records(tmp_path, RUN)
    written.prepare_folder(resume=False, replace=False)
    for index in (2, 0):
        written.add(record(index))
    written.save()
    written.add(record(1))
    # the last is only waiting
    assert list(written.read()) == [0, 2]
    written.save()
    written.merge_parts(written.read().values())
    found = Records.open(tmp_path).read()
    assert [each.name for each in found.values()] == ["image0", "image1", "image2"]
    assert np.array_equal(found[2].matrix, np.full((2, 2), 2))
    assert np.array_equal(np.asarray(found[1].boundary), [[0.5, np.nan]], equal_nan=True)
    assert np.load(tmp_path / records.RESULT)["thresholds"].tolist() == [0.1]


def test_calibration_counts_are_kept_of_each_image(tmp_path: Path) -> None:
    written = Records(tmp_path, RUN)
    written.prepare_folder(resume=False, replace=False)
    for index in range(3):
        written.add(replace(record(index), calibration=np.full((3, 5), index / 2)))
    written.save()
    written.merge_parts(written.read().values())
    found = Records.open(tmp_path).read()
    assert np.array_equal(np.asarray(found[1].calibration), np.full((3, 5), 0.5))


def test_groups_and_border_counts_are_kept_of_each_image(tmp_path: Path) -> None:
    written = Records(tmp_path, {**RUN, "groups": ["x", "x", "y"]})
    written.prepare_folder(resume=False, replace=False)
    for index in range(3):
        written.add(replace(record(index), border=np.full((2, 2), index)))
    written.save()
    written.merge_parts(written.read().values())
    assert np.array_equal(np.asarray(Records.open(tmp_path).read()[2].border), np.full((2, 2), 2))
    arrays = np.load(tmp_path / records.RESULT)
    assert arrays["groups"].tolist() == ["x", "x", "y"]
    assert arrays["border"].dtype == np.int32


def test_results_are_saved_at_intervals(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written = Records(tmp_path, RUN)
    written.prepare_folder(resume=False, replace=False)
    written.add(record(0))
    assert not written.read()
    monkeypatch.setattr(records, "SAVE_INTERVAL", 0.0)
    written.add(record(1))
    assert list(written.read()) == [0, 1]


def test_a_new_start_removes_its_own_shard_only(tmp_path: Path) -> None:
    shards = [Records(tmp_path, RUN, (index, 2)) for index in range(2)]
    for shard in shards:
        shard.prepare_folder(resume=False, replace=False)
        shard.add(record(shard.shard[0]))
        shard.save()
    shards[1].prepare_folder(resume=False, replace=False)
    assert list(shards[1].read()) == [0]
    shards[0].prepare_folder(resume=True, replace=False)
    assert list(shards[0].read()) == [0]


def test_a_new_start_removes_the_scores_of_the_run_before(tmp_path: Path) -> None:
    (tmp_path / "scores.json").write_text("{}")
    Records(tmp_path, RUN).prepare_folder(resume=True, replace=False)
    assert (tmp_path / "scores.json").exists()
    Records(tmp_path, RUN).prepare_folder(resume=False, replace=False)
    assert not (tmp_path / "scores.json").exists()


def test_settings_are_written_and_do_not_identify_an_evaluation(tmp_path: Path) -> None:
    Records(tmp_path, RUN, (0, 2), {"data_root": "here"}).prepare_folder(
        resume=False, replace=False
    )
    assert (Records.open(tmp_path).run, Records.open(tmp_path).settings) == (
        RUN,
        {"data_root": "here"},
    )
    Records(tmp_path, RUN, (1, 2), {"data_root": "there"}).prepare_folder(
        resume=False, replace=False
    )
    (tmp_path / records.RUN).write_text('{"images":')
    with pytest.raises(
        ValueError, match=r"run\.json is damaged .*: remove its folder and evaluate again"
    ):
        Records.open(tmp_path)


def test_a_damaged_part_is_named(tmp_path: Path) -> None:
    written = Records(tmp_path, RUN)
    written.prepare_folder(resume=False, replace=False)
    (tmp_path / "parts" / "0of1_000000.npz").write_bytes(b"PK\x03\x04 and then nothing")
    with pytest.raises(
        ValueError, match=r"0of1_000000.npz is damaged .*: remove it and go on with --resume"
    ):
        written.read()


def test_one_shard_of_a_finished_evaluation_keeps_its_result(tmp_path: Path) -> None:
    finished = Records(tmp_path, RUN)
    finished.prepare_folder(resume=False, replace=False)
    finished.merge_parts([record(index) for index in range(3)])
    (tmp_path / "scores.json").write_text("{}")
    shard = Records(tmp_path, RUN, (0, 2))
    for may_replace in (False, True):
        with pytest.raises(ValueError, match=r"holds a finished evaluation, which one shard cannot "
                                             r"replace: keep it with --resume, .*per_image\.npz"):
            shard.prepare_folder(resume=False, replace=may_replace)
    assert len(Records.open(tmp_path).read()) == 3 and (tmp_path / "scores.json").exists()
    assert shard.start(resume=True, replace=False) == []
    (tmp_path / records.RESULT).unlink()
    assert shard.start(resume=False, replace=False) == [0, 2]


def test_results_are_streamed_once_for_each_image(tmp_path: Path) -> None:
    written = Records(tmp_path, RUN)
    written.prepare_folder(resume=False, replace=False)
    for indices in ((0, 1), (1, 2)):
        for index in indices:
            written.add(record(index))
        written.save()
    assert sorted(each.index for each in written.stream()) == [0, 1, 2]


def test_a_folder_that_another_process_writes_is_left_alone(tmp_path: Path) -> None:
    first = Records(tmp_path, RUN)
    first.start(resume=False, replace=True)
    other = Records(tmp_path, {**RUN, "images": 2})
    with pytest.raises(FileExistsError, match=r"another process is writing the evaluation in .*: "
                                              r"wait until it has ended, or choose another --ckpt"):
        other.start(resume=False, replace=True)
    assert json.loads((tmp_path / "run.json").read_text())["images"] == 3
    # another shard may write at the same time
    Records(tmp_path, RUN, (1, 2)).start(resume=False, replace=True)
    with first:
        pass
    other.start(resume=False, replace=True)
