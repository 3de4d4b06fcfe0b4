"""Packs: the samples are bit-equal to those of the files, and other packs are refused."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

import datasets
import transforms
from datasets.packed import MANIFEST, Pack
from tests import packs
from tests.packs import flags
from tools import pack_dataset


@pytest.fixture
def camvid(tmp_path: Path) -> Path:
    return packs.write_camvid(tmp_path / "camvid")


@pytest.fixture
def out(camvid: Path, tmp_path: Path) -> Path:
    return packs.write_pack(camvid, tmp_path / "pack")


def batches(
    root: Path, packed: Path | None, workers: int = 0, start_method: str | None = None
) -> list[dict]:
    options = transforms.TransformOptions((16, 24), rotate=5, augment_on="device")
    transform, color = transforms.build(options)
    assert color is not None
    data = datasets.build("camvid", root, "train", transform, color.draw, packed)
    sampler = datasets.EpochSampler(datasets.EpochPlan(len(data), seed=5), 3)
    return list(datasets.train_loader(data, sampler, workers, start_method))


def test_class_uniform_crops_from_the_pack_are_those_from_the_files(
    camvid: Path, out: Path, tmp_path: Path
) -> None:
    def samples(packed: Path | None) -> list[dict]:
        transform, _ = transforms.build(transforms.TransformOptions((16, 24)))
        data = datasets.build("camvid", camvid, "train", transform, packed=packed)
        # A cache each, so that the points are looked for in the pack, too.
        images, plan = datasets.plan_training(
            data,
            5,
            class_uniform_pct=0.5,
            class_uniform_tile=8,
            cache_dir=tmp_path / f"cache_{packed is None}",
        )
        return [images[draw] for epoch in (0, 1) for draw in plan.draws(epoch)]

    for ours, theirs in zip(samples(out), samples(None), strict=True):
        assert torch.equal(ours["image"], theirs["image"]) and torch.equal(
            ours["label"], theirs["label"]
        )


@pytest.mark.parametrize(
    ("workers", "start_method"), [(0, None), (2, None), (1, "spawn"), (1, "forkserver")]
)
def test_batches_from_the_pack_are_those_from_the_files(
    camvid: Path, out: Path, workers: int, start_method: str | None
) -> None:
    for ours, theirs in zip(
        batches(camvid, out, workers, start_method), batches(camvid, None), strict=True
    ):
        assert ours["name"] == theirs["name"]
        assert all(
            torch.equal(ours[key], theirs[key]) for key in ("image", "label", "color", "blur")
        )


def test_pairs_from_the_pack_are_those_from_the_files_and_safe_to_write_to(
    camvid: Path, out: Path
) -> None:
    packed, plain = (
        datasets.build("camvid", camvid, "train", packed=folder) for folder in (out, None)
    )
    for index in range(len(packs.SIZES)):
        assert all(
            (packed_array == plain_array).all()
            for packed_array, plain_array in zip(packed.read(index), plain.read(index), strict=True)
        )
        image = packed[index]["image"]
        assert torch.equal(image, plain[index]["image"])
        image.zero_()
        assert torch.equal(packed[index]["image"], plain[index]["image"])
    assert 255 in plain.read(0)[1]  # void, as a train id


def test_a_file_that_is_cut_during_a_run_is_an_error(camvid: Path, out: Path) -> None:
    data = datasets.build("camvid", camvid, "train", packed=out)
    packs.truncate_pair(out)
    with pytest.raises(datasets.DatasetError, match=r"000002\.raw is truncated"):
        data.read(2)
    packs.remove_pair(out)
    with pytest.raises(
        datasets.DatasetError, match=r"000004\.raw is truncated or damaged \(.*No such file"
    ):
        data.read(4)


def test_the_pack_of_another_split_or_table_is_refused(camvid: Path, out: Path) -> None:
    with pytest.raises(
        datasets.DatasetError, match="belongs to other data: split train instead of val"
    ):
        datasets.build("camvid", camvid, "val", packed=out)
    assert pack_dataset.main(flags(camvid, out, "--split", "val")) == 2
    data = datasets.build("camvid", camvid, "train")
    spec = dataclasses.replace(data.spec, ignored_raw_ids=(11,))
    data.samples = tuple(sample._replace(spec=spec) for sample in data.samples)
    with pytest.raises(
        datasets.DatasetError, match=r"6 of 6 pairs; for example the ids of trainannot/0\.png were"
    ):
        Pack(out, data)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda text: text[: len(text) // 2], r"pack\.json is truncated or damaged"),
        (
            lambda text: text.replace('"height": 12', '"height": 13', 1),
            r"pack\.json is damaged \(its checksum differs\)",
        ),
        (lambda text: "[]", r"pack\.json is truncated or damaged"),
    ],
)
def test_a_damaged_manifest_is_refused(
    camvid: Path, out: Path, spoil: Callable[[str], str], message: str
) -> None:
    (out / MANIFEST).write_text(spoil((out / MANIFEST).read_text()))
    with pytest.raises(datasets.DatasetError, match=message):
        datasets.build("camvid", camvid, "train", packed=out)


def test_a_file_that_was_written_again_with_the_same_size_is_told_by_its_time(
        camvid: Path, out: Path) -> None:
    path = camvid / "train/1.png"
    os.utime(path, ns=(0, path.stat().st_mtime_ns + 10 ** 10))
    data = datasets.build("camvid", camvid, "train")
    with pytest.raises(datasets.DatasetError,
                       match=r"train/1\.png was written again since, with the same [\d,]+ bytes"):
        Pack(out, data)
