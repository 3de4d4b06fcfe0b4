from __future__ import annotations

import sys
from argparse import ArgumentParser
from pathlib import Path

import pytest

from utils.evaluation import options
from utils.evaluation.options import EvalOptions


def parse(*flags: str) -> EvalOptions:
    parser = ArgumentParser()
    options.add_flags(parser)
    return EvalOptions.from_args(parser.parse_args(flags))


def test_without_flags_all_images_are_evaluated_and_only_scores_are_written() -> None:
    assert parse() == EvalOptions()
    assert EvalOptions().shard == (0, 1)


def test_each_flag_sets_its_option() -> None:
    assert parse("--deployed", "--resume", "--split_count", "3", "--split_index", "2",
                 "--dump_images", "--report", "--ckpt_path", "out", "--trimap", "3") == EvalOptions(
        fuse=True, resume=True, shard_index=2, shard_count=3, dump_images=True, report=True,
        trimap=3, folder=Path("out"))


@pytest.mark.parametrize("index", ["-1", "2"])
def test_a_shard_that_does_not_exist_is_refused(index: str) -> None:
    with pytest.raises(ValueError, match=f"--split_index {index} is out of range: the shards of "
                                         "--split_count 2 are numbered from 0 to 1"):
        parse("--split_count", "2", "--split_index", index)


def test_a_trimap_that_takes_long_is_refused() -> None:
    assert parse("--trimap", "40").trimap == 40
    with pytest.raises(ValueError, match="--trimap 41 is wider than any published one, and takes "
                                         "long: give 1 to 40 pixels"):
        parse("--trimap", "41")


def test_a_missing_package_is_named_before_any_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ValueError, match="--calibration needs matplotlib, which is not installed"):
        parse("--calibration")
