from __future__ import annotations

import re
from pathlib import Path

import pytest

from utils.evaluation.corruptions import Corruption
from utils.evaluation.robustness import Robustness
from utils.report import robustness

FOG, FOG_5, JPEG = Corruption("fog", 1), Corruption("fog", 5), Corruption("jpeg", 3)
FIRST = Robustness("first", 0.5, {FOG: 0.25, FOG_5: 0.05, JPEG: 0.5}, ("camvid", "val", 4))
SECOND = Robustness("<second>", 0.4, {FOG: 0.1, FOG_5: 0.1, JPEG: None}, ("camvid", "val", 4))


def test_the_table_has_each_kind_and_where_there_are_several_each_severity() -> None:
    table = {row["name"]: row["cells"][0] for row in robustness.rows([FIRST])}
    assert [*table] == ["clean", "fog", "fog, severity 1", "fog, severity 5", "jpeg",
                        "jpeg, severity 3", "mean of the kinds"]
    assert table["fog"] == {"value": "15.00", "share": "30%"}
    single = Robustness("x", 0.5, {FOG: 0.25}, ("camvid", "val", 4))
    assert [row["name"] for row in robustness.rows([single])] == ["clean", "fog",
                                                                   "mean of the kinds"]


def test_the_bars_are_as_long_as_the_shares() -> None:
    drawn = robustness.plot([FIRST, SECOND])
    # fog keeps 0.15 / 0.5 and 0.1 / 0.4; jpeg everything and nothing that is known
    assert [bar["width"] for bar in drawn["bars"]] == [
        robustness.BARS * share for share in (0.3, 0.25, 1.0, 0.0)]
    tops = [bar["y"] for bar in drawn["bars"]]
    assert tops == sorted(tops) and tops[-1] + robustness.BAR < drawn["height"]


def test_a_page_is_one_file_that_names_every_network(tmp_path: Path) -> None:
    pytest.importorskip("jinja2")
    path = tmp_path / "report/corruptions.html"
    robustness.write(path, [FIRST, SECOND])
    text = path.read_text(encoding="utf-8")
    assert "first keeps" in text and "&lt;second&gt;" in text and "<second>" not in text
    assert len(re.findall("<rect ", text)) == 4 and "4 images, severity 1, 3, 5 of 5" in text
    assert not re.search(r"(?:src|href)=\"(?!#)", text)


@pytest.mark.parametrize(("other", "message"), [
    (Robustness("b", 0.4, FIRST.corrupted, ("camvid", "test", 4)), "4 images of camvid test"),
    (Robustness("b", 0.4, {FOG: 0.2}, FIRST.about), r"same corruptions \(fog_5, jpeg_3\)"),
])
def test_networks_that_saw_other_images_are_not_compared(other: Robustness, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        robustness.check_comparable([FIRST, other])
