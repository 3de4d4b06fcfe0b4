from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from utils.evaluation import robustness
from utils.evaluation.corruptions import Corruption, CorruptionOptions
from utils.evaluation.records import Record, Records
from utils.evaluation.robustness import Robustness, format_table
from utils.evaluation.scores import ScoreOptions

FOG, FOG_5, JPEG = Corruption("fog", 1), Corruption("fog", 5), Corruption("jpeg", 3)
RUN = {"images": 1, "classes": ["a", "b"], "arch": "x", "snapshot_sha256": "0" * 64}


def write(folder: Path, mean_iou: float, **changes: object) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    scores = {"mIoU": mean_iou, "images": 4, "snapshot_sha256": "0" * 64,
              "settings": {"dataset": "camvid", "split": "val"}, **changes}
    (folder / "scores.json").write_text(json.dumps(scores))


def test_scores_are_read_by_kind_and_severity_and_averaged_by_kind(tmp_path: Path) -> None:
    write(tmp_path, 0.6)
    for corruption, value in ((FOG, 0.5), (FOG_5, 0.1), (JPEG, 0.5)):
        write(robustness.folder_of(tmp_path, corruption), value)
    # of an earlier checkpoint
    write(tmp_path / "corruptions/rain_3", 0.4, snapshot_sha256="1" * 64)
    network = robustness.read(tmp_path, "net")
    assert network.about == ("camvid", "val", 4)
    assert network.corrupted == {FOG: 0.5, FOG_5: 0.1, JPEG: 0.5}
    assert (network.kinds, network.severities) == (["fog", "jpeg"], [1, 3, 5])
    assert network.mean("fog") == pytest.approx(0.3) and network.mean("rain") is None
    # 0.3 and 0.5
    assert network.average() == pytest.approx(0.4)


def test_what_is_missing_or_damaged_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"scores.json is missing: run eval.py"):
        robustness.read(tmp_path, "net")
    write(tmp_path, 0.6)
    with pytest.raises(FileNotFoundError, match=r"run eval.py --corruptions all"):
        robustness.read(tmp_path, "net")
    write(tmp_path / "corruptions/fog_1", 0.5)
    (tmp_path / "corruptions/fog_1/scores.json").write_text('{"mIoU": 0.5}')
    with pytest.raises(ValueError, match=r"scores.json is damaged \('images'\)"):
        robustness.read(tmp_path, "net")


def test_the_table_gives_each_score_and_the_share_that_is_left() -> None:
    first = Robustness("first", 0.5, {FOG: 0.25, JPEG: 0.5}, ("d", "val", 4))
    second = Robustness("second", 0.4, {FOG: None, JPEG: 0.1}, ("d", "val", 4))
    lines = [line.split() for line in format_table([first, second]).splitlines()]
    assert lines == [
        ["first", "second"],
        ["clean", "50.00", "%", "(100%)", "40.00", "%", "(100%)"],
        ["fog", "25.00", "%", "(", "50%)", "-"],
        ["jpeg", "50.00", "%", "(100%)", "10.00", "%", "(", "25%)"],
        ["mean", "of", "the", "kinds", "37.50", "%", "(", "75%)", "10.00", "%", "(", "25%)"]]
    assert len(format_table([first]).splitlines()) == 4


def test_only_finished_scores_of_the_same_evaluation_are_kept(tmp_path: Path) -> None:
    records = Records(tmp_path, RUN)
    options, kinds = ScoreOptions(), CorruptionOptions(("fog",))
    assert not robustness.can_skip(records, kinds, options)
    records.start(resume=False, replace=True)
    with records:
        records.add(Record(0, "a", np.array([[3, 1], [0, 4]])))
    assert not robustness.can_skip(records, kinds, options)
    robustness.score(records)
    # 3 / 4 and 4 / 5
    written = json.loads((tmp_path / "scores.json").read_text())
    assert written["mIoU"] == pytest.approx((0.75 + 0.8) / 2)
    assert robustness.can_skip(records, kinds, options)
    assert not robustness.can_skip(records, CorruptionOptions(), options)
    assert not robustness.can_skip(records, kinds, ScoreOptions(expect=0.5))
    other = Records(tmp_path, {**RUN, "snapshot_sha256": "1" * 64})
    assert not robustness.can_skip(other, kinds, options)
