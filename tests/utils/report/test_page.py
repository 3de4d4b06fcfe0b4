"""The parts of a page; the page in a browser is tested by tests/tools/report/test_browser.py."""
from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from utils.report import page, results

Write = Callable[[Path], Path]


def test_a_text_in_the_data_cannot_end_the_script_element() -> None:
    embedded = page._embed({"name": "</script><b>"})
    assert "<" not in embedded
    assert json.loads(embedded) == {"name": "</script><b>"}


def test_a_long_name_in_the_heading_breaks_at_its_marks_and_is_escaped() -> None:
    heading = page._breakable("sfnet_timm:net_v2.in1k on <b>")
    assert heading == "sfnet_timm:<wbr>net_v2.<wbr>in1k on &lt;b&gt;"
    assert hasattr(heading, "__html__")


def test_two_evaluations_are_aligned_on_their_common_images(
        tmp_path: Path, write_evaluation: Write) -> None:
    evaluated = results.read(write_evaluation(tmp_path / "eval"))
    reversed_names = evaluated.select([5, 4, 3, 1])
    a, b = page.align(evaluated, reversed_names)
    assert a.names == b.names == ("image1", "image3", "image4", "image5")
    assert np.array_equal(a.matrices, b.matrices)


def test_evaluations_of_other_classes_or_images_are_not_aligned(
        tmp_path: Path, write_evaluation: Write) -> None:
    evaluated = results.read(write_evaluation(tmp_path / "eval"))
    with pytest.raises(ValueError, match="only models of the same classes"):
        page.align(evaluated, replace(evaluated, classes=("a", "b", "c")))
    with pytest.raises(ValueError, match="have no image in common"):
        page.align(evaluated.select([0, 1]), evaluated.select([2]))
