"""The images that are mixed into a sample: others of the split, the same for any loader."""
from __future__ import annotations

import logging
from collections.abc import Callable
from itertools import chain
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

import datasets
import transforms
from datasets.class_uniform.centroids import points_by_class
from datasets.extra_data import ExtraData
from datasets.partners import Others, rare_classes
from datasets.sampling import SampleDraw
from datasets.spec import BadSample, DatasetError
from tests.datasets.pairs import write_cityscapes, write_pair

WriteCamvid = Callable[..., Path]


def build(root: Path, **changes: Any) -> datasets.SegmentationDataset:
    options = transforms.TransformOptions((8, 10), **changes)
    transform, device = transforms.build(options)
    data = datasets.build("camvid", root, "train", transform, device.draw if device else None)
    datasets.add_partners(data, cache_dir=root / "cache")
    return data


def write_labels(root: Path, *labels: list[int]) -> None:
    """Writes labels of one row for each train id."""
    for number, train_ids in enumerate(labels):
        label = np.repeat(np.array(train_ids, np.uint8)[:, None], 16, axis=1)
        label = np.repeat(label, 12 // len(train_ids), axis=0)
        assert cv2.imwrite(str(root / "trainannot" / f"train_{number}.png"), label)


def loaded(data: datasets.SegmentationDataset, workers: int = 0, step: int = 0, rank: int = 0,
           world_size: int = 1, **loading: Any) -> list[dict[str, Any]]:
    plan = datasets.EpochPlan(len(data), seed=3)
    sampler = datasets.EpochSampler(plan, 4 // world_size, rank, world_size)
    sampler.set_position(epoch=1, step=step)
    return list(datasets.train_loader(data, sampler, workers, **loading))


@pytest.mark.parametrize("augment_on", ["loader", "device"])
def test_mixed_batches_depend_on_seed_epoch_and_position_alone(
    write_camvid: WriteCamvid, augment_on: str
) -> None:
    pytest.importorskip("torchvision", reason="RandAugment computes with torchvision")
    data = build(write_camvid(count=12), cutmix=0.5, mosaic=0.5, copy_paste=0.5,
                 copy_paste_classes=(3, 4), randaugment=(2, 9), augment_on=augment_on)
    alone, shared, resumed = loaded(data), loaded(data, workers=2), loaded(data, step=1)
    halves = [loaded(data, rank=rank, world_size=2) for rank in (0, 1)]
    assert len(alone) == 3 and len(resumed) == 2
    keys = {*alone[0]} - {"name", "operations"}
    assert ("operations" in alone[0]) == (augment_on == "device")
    for key in keys:
        for ours, theirs, first, second in zip(alone, shared, *halves, strict=True):
            assert torch.equal(ours[key], theirs[key])
            assert torch.equal(ours[key], torch.cat([first[key], second[key]]))
        assert all(torch.equal(one[key], other[key])
                   for one, other in zip(alone[1:], resumed, strict=True))
    if augment_on == "device":
        assert alone[0]["operations"] == shared[0]["operations"]
        assert alone[0]["operations"] == [*chain(*(half[0]["operations"] for half in halves))]


def test_a_partner_is_any_image_but_the_samples(write_camvid: WriteCamvid) -> None:
    data = build(write_camvid(count=4), cutmix=1.0)
    images = [data.read(index)[0] for index in range(4)]

    def drawn(index: int, seed: int) -> int:
        image, _ = Others(data, {}, index).draw(np.random.default_rng(seed))
        return next(number for number in range(4) if (images[number] == image).all())

    for index in range(4):
        assert {drawn(index, seed) for seed in range(30)} == {0, 1, 2, 3} - {index}
    # another image in the place of a damaged one draws another partner
    assert len({drawn(index, 0) for index in range(4)}) == 4


def test_a_point_of_a_pasted_class_is_drawn_from_another_image(write_camvid: WriteCamvid) -> None:
    root = write_camvid(count=4)
    write_labels(root, [0, 5], [0, 0], [0, 5], [0, 7])
    data = build(root, copy_paste=1.0, copy_paste_classes=(5, 7))
    assert data.partners is not None
    pools = data.partners.pools
    for index, expected in ((0, {(2, 5), (3, 7)}), (3, {(0, 5), (2, 5), None})):
        seen = set()
        for seed in range(40):
            draw = Others(data, pools, index).draw_of_class(np.random.default_rng(seed))
            if draw is None:
                seen.add(None)
                continue
            (image, label), (x, y), train_id = draw
            assert label[y, x] == train_id
            number = next(i for i in range(4) if (data.read(i)[0] == image).all())
            seen.add((number, train_id))
        assert seen == expected


class Unread:
    """A dataset that returns the number of an image in place of its pixels."""

    def read(self, index: int) -> tuple[int, int]:
        return index, index


def test_points_are_drawn_as_by_a_search_of_all_points() -> None:
    random = np.random.default_rng(0)
    images = np.sort(random.integers(0, 6, 80))
    train_ids, positions = random.choice([2, 5, 9], 80), random.integers(0, 99, (80, 2))
    points = np.column_stack([images, train_ids, positions])
    # class 7 is in image 3 alone, so that image 3 has no other image to draw it from
    points = np.insert(points, np.flatnonzero(images == 3)[0], [3, 7, 1, 2], axis=0)
    pools = points_by_class(points)

    def search(rng: np.random.Generator, index: int) -> Any:
        train_id = int(rng.choice(np.unique(points[:, 1])))
        rows = points[(points[:, 1] == train_id) & (points[:, 0] != index)]
        if not len(rows):
            return None
        image, _, x, y = rows[(index + int(rng.integers(len(rows)))) % len(rows)].tolist()
        return (image, image), (x, y), train_id

    drawn = []
    # image 8 is one of another dataset
    for index in (0, 1, 3, 5, 8):
        data: Any = Unread()
        rng, other = np.random.default_rng(index), np.random.default_rng(index)
        for _ in range(60):
            drawn.append(Others(data, pools, index).draw_of_class(rng))
            assert drawn[-1] == search(other, index)
        assert rng.bit_generator.state == other.bit_generator.state
    assert None in drawn and len({draw for draw in drawn if draw}) > 60


def test_a_class_is_rare_if_half_of_the_images_hold_it_or_fewer() -> None:
    # class 1 in three of four images, class 2 in two, at three points, and class 3 in one
    points = np.array([(0, 1, 0, 0), (1, 1, 0, 0), (2, 1, 0, 0), (0, 2, 0, 0), (0, 2, 9, 9),
                       (3, 2, 0, 0), (2, 3, 0, 0)])
    assert rare_classes(points, 4) == (2, 3)


def test_rare_classes_are_found_logged_and_pasted(
    write_camvid: WriteCamvid, caplog: pytest.LogCaptureFixture
) -> None:
    root = write_camvid(count=4)
    write_labels(root, [0, 1], [0, 1], [0, 1, 5], [0, 1])
    with caplog.at_level(logging.INFO):
        data = build(root, copy_paste=1.0, scale_max=0.5)
    name = data.spec.names[5]
    assert f"copy-paste of classes, by the images that hold them: {name} 1 of 4" in caplog.text
    assert 5 in data[SampleDraw(0, seed=1)]["label"]


@pytest.mark.parametrize(("labels", "classes", "message"), [
    ([[0, 1]] * 3, (), r"--copy_paste: CamVid.* train has no rare class, since more than half of "
                       r"its 3 images .*--copy_paste_classes"),
    ([[0, 1]] * 3, (5,), r"--copy_paste_classes 5: no label of CamVid.* holds"),
    ([[0, 1]] * 3, (2, 11), r"--copy_paste_classes 11: the train ids of CamVid.* are 0 to 10"),
], ids=["none is rare", "absent", "no train id"])
def test_classes_that_cannot_be_pasted_are_refused(
    write_camvid: WriteCamvid, labels: list[list[int]], classes: tuple[int, ...], message: str
) -> None:
    root = write_camvid(count=3)
    write_labels(root, *labels)
    with pytest.raises(DatasetError, match=message):
        build(root, copy_paste=0.5, copy_paste_classes=classes)


@pytest.mark.parametrize("flag", ["cutmix", "mosaic", "copy_paste"])
def test_a_single_image_cannot_be_mixed(write_camvid: WriteCamvid, flag: str) -> None:
    root = write_camvid(count=1)
    with pytest.raises(DatasetError, match=r"CamVid.* train has a single image, and --cutmix"):
        build(root, **{flag: 0.5})
    assert build(root).partners is None


def test_a_damaged_partner_is_an_error_or_replaces_the_sample(write_camvid: WriteCamvid) -> None:
    root = write_camvid(count=8)
    data = build(root, cutmix=1.0)
    (root / "train" / "train_2.png").write_bytes(b"")
    with pytest.raises(BadSample, match=r"train_2\.png"):
        loaded(data)
    plan = datasets.EpochPlan(len(data), seed=3)
    sampler = datasets.EpochSampler(plan, 4)
    loader = datasets.train_loader(data, sampler, 0, skip_bad=True)
    assert len(list(loader)) == 2
    # once as itself, and as the partner of others
    assert loader.skipped.total() > 1
    again = loaded(data, workers=1, skip_bad=True)
    assert len(again) == 2


@pytest.mark.parametrize("extra", ["coarse_boost_classes", "extra_data"])
def test_further_images_have_those_of_the_training_split_as_partners(
    tmp_path: Path, extra: str
) -> None:
    write_cityscapes(tmp_path)
    write_pair(tmp_path, "leftImg8bit/train_extra/ulm/ulm_000000_000019_leftImg8bit.png",
               "gtCoarse/train_extra/ulm/ulm_000000_000019_gtCoarse_labelIds.png", raw_id=27)
    chosen = {
        "coarse_boost_classes": {"coarse_boost_classes": (14,), "class_uniform_pct": 1.0},
        "extra_data": {"extra_data": (ExtraData(datasets.spec("cityscapes"), "val"),)},
    }[extra]
    options = datasets.DataOptions(spec=datasets.spec("cityscapes"), data_root=str(tmp_path),
                                   cache_dir=str(tmp_path / "cache"), **chosen)
    transform, _ = transforms.build(transforms.TransformOptions((8, 10), cutmix=1.0))
    data, plan = options.build_train_set(transform, None, seed=0)
    assert max(draw.index for epoch in range(3) for draw in plan.draws(epoch)) >= 2
    for index in range(len(data)):
        assert tuple(data[SampleDraw(index)]["label"].shape) == (8, 10)
