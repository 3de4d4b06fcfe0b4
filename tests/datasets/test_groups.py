"""Correlated images are told by their paths: the drive, or a block of a video."""
from __future__ import annotations

import logging
import re
from dataclasses import replace
from pathlib import Path

import pytest

import datasets
from datasets.groups import groups
from datasets.listing import Sample

ROOT = Path("data")


def samples(*paths: str) -> list[Sample]:
    spec = datasets.spec("camvid")
    return [Sample(Path(path).stem, ROOT / path, None, spec) for path in paths]


def test_images_of_idd_lite_are_grouped_by_drive() -> None:
    paths = [f"leftImg8bit/val/{drive}/{frame}_image.jpg"
             for drive, frame in ((3, 10), (3, 11), (41, 10))]
    assert groups(datasets.spec("idd_lite"), ROOT, samples(*paths)) == ("3", "3", "41")


def test_videos_of_camvid_are_cut_into_blocks_of_20_images() -> None:
    paths = [*(f"test/0001TP_{8550 + 30 * index:06}.png" for index in range(21)),
             *(f"test/Seq05VD_f{30 * index:05}.png" for index in range(40))]
    names = groups(datasets.spec("camvid"), ROOT, samples(*paths))
    assert names == (*["0001TP, block 0"] * 20, "0001TP, block 1",
                     *["Seq05VD, block 0"] * 20, *["Seq05VD, block 1"] * 20)
    full = [path.replace("test/", "701_StillsRaw_full/") for path in paths]
    assert groups(datasets.spec("camvid_full"), ROOT, samples(*full)) == names


def test_independent_images_and_a_single_group_have_no_groups(
        caplog: pytest.LogCaptureFixture) -> None:
    camvid = datasets.spec("camvid")
    assert groups(replace(camvid, group=""), ROOT, samples("test/a_0.png", "test/b_0.png")) is None
    assert groups(camvid, ROOT, samples("test/a_0.png", "test/b_0.png")) is not None
    assert not caplog.text
    assert groups(camvid, ROOT, samples("test/a_0.png", "test/a_1.png")) is None
    assert "all 2 images are of one group of correlated images, a, block 0: inter" in caplog.text


def test_a_path_that_the_pattern_does_not_match_is_named(
        caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        assert groups(datasets.spec("camvid"), ROOT, samples("test/a_0.png", "test/b.png")) is None
    assert "does not match test/b.png: intervals take the images as independent" in caplog.text


@pytest.mark.parametrize("name", sorted(datasets.names()))
def test_the_pattern_of_every_table_has_one_pair_of_parentheses(name: str) -> None:
    spec = datasets.spec(name)
    assert not spec.group or re.compile(spec.group).groups == 1
    assert spec.group or not spec.block
