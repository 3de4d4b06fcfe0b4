"""The file of class centroids: its key, its checksum and its folder."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import datasets
from datasets.class_uniform.centroid_cache import CentroidCache, cache_key
from datasets.class_uniform.centroids import find_centroids

WriteCamvid = Callable[..., Path]


def build(root: Path) -> datasets.SegmentationDataset:
    return datasets.build("camvid", root, "train")


def test_the_cache_follows_the_dataset_to_another_folder(
    write_camvid: WriteCamvid, tmp_path: Path
) -> None:
    root = write_camvid()
    before = cache_key(build(root), 8)
    moved = tmp_path / "moved"
    moved.mkdir()
    for folder in ("train", "trainannot"):
        (root / folder).rename(moved / folder)
    assert cache_key(build(moved), 8) == before


def test_the_key_tells_labels_tiles_and_mappings_apart(write_camvid: WriteCamvid) -> None:
    root = write_camvid()
    data = build(root)
    keys = {cache_key(data, 8), cache_key(data, 16)}
    cityscapes = build(root)
    spec = datasets.spec("cityscapes")
    cityscapes.samples = tuple(sample._replace(spec=spec) for sample in cityscapes.samples)
    keys.add(cache_key(cityscapes, 8))
    label = root / "trainannot/train_2.png"
    os.utime(label, ns=(1, 1))
    keys.add(cache_key(build(root), 8))
    label.write_bytes(label.read_bytes() + b"\0")
    os.utime(label, ns=(1, 1))
    keys.add(cache_key(build(root), 8))
    for folder, suffix in (("train", "png"), ("trainannot", "png")):
        (root / folder / f"train_0.{suffix}").rename(root / folder / f"train_9.{suffix}")
    keys.add(cache_key(build(root), 8))
    assert len(keys) == 6


@pytest.mark.parametrize(
    "spoil",
    [
        lambda path: path.write_bytes(path.read_bytes()[:-40]),
        lambda path: path.write_bytes(path.read_bytes()[:20]),
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(path.read_bytes()[:-1] + b"\x07"),
        lambda path: path.write_bytes(path.read_bytes().replace(b'"key": "', b'"key": "0', 1)),
    ],
    ids=["truncated", "half a header", "empty", "one byte flipped", "of other labels"],
)
def test_a_cache_that_is_not_whole_or_foreign_is_rebuilt(
    write_camvid: WriteCamvid, tmp_path: Path, spoil: Callable, caplog: pytest.LogCaptureFixture
) -> None:
    data = build(write_camvid())
    expected = find_centroids(data, 8, 0, tmp_path / "cache")
    (path,) = (tmp_path / "cache").iterdir()
    whole = path.read_bytes()
    spoil(path)
    assert np.array_equal(find_centroids(data, 8, 0, tmp_path / "cache"), expected)
    assert "are truncated or of other labels: computing them again" in caplog.text
    assert path.read_bytes() == whole


def test_a_folder_that_cannot_be_written_is_a_warning(
    write_camvid: WriteCamvid, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    data = build(write_camvid())
    (tmp_path / "file").touch()  # no folder can be made below a file, whoever asks
    rows = find_centroids(data, 8, 0, tmp_path / "file" / "cache")
    assert len(rows)
    assert "next run has to compute them again: give --cache_dir a writable folder" in caplog.text


def test_the_rows_are_little_endian_numbers_after_one_line_of_json(tmp_path: Path) -> None:
    cache = CentroidCache(tmp_path / "new/points.bin", "a key")
    assert cache.read() is None
    cache.write(np.array([[1, 2, 3, 258]], np.int64))
    header, _, body = cache.path.read_bytes().partition(b"\n")
    assert header.startswith(b'{"key": "a key", "sha256": "')
    assert body == bytes([1, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0, 2, 1, 0, 0])
    rows = cache.read()
    assert rows is not None
    assert (rows.dtype, rows.tolist()) == (np.int32, [[1, 2, 3, 258]])


def test_no_centroid_is_kept_as_no_row(tmp_path: Path) -> None:
    cache = CentroidCache(tmp_path / "points.bin", "a key")
    cache.write(np.empty((0, 4), np.int32))
    rows = cache.read()
    assert rows is not None
    assert rows.shape == (0, 4)
