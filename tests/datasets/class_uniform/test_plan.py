"""Class-uniform epochs: rare classes are drawn as often as common ones, reproducibly."""

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import datasets
import transforms
from datasets.class_uniform import plan as class_uniform
from datasets.class_uniform.plan import ClassUniformPlan, plan_training
from datasets.sampling import EpochPlan, EpochSampler, SampleDraw

WriteCamvid = Callable[..., Path]


def some_centroids(images: int, classes: tuple[int, ...]) -> np.ndarray:
    """Class c lies in every (c + 1)-th image, at x = 100 c and y = the image's number."""
    return np.array(
        [
            [image, train_id, 100 * train_id, image]
            for image in range(images)
            for train_id in classes
            if image % (train_id + 1) == 0
        ],
        np.int32,
    )


def class_of(draw: SampleDraw) -> int | None:
    return None if draw.focus is None else draw.focus[0] // 100


sizes, seeds, shares = st.integers(3, 60), st.integers(0, 2**32), st.floats(0, 1)
class_sets = st.sets(st.integers(0, 9), min_size=1).map(lambda ids: tuple(sorted(ids)))


@settings(deadline=None, max_examples=60)
@given(sizes, seeds, shares, class_sets, st.integers(0, 5))
def test_the_share_asked_for_is_drawn_and_classes_come_equally_often(
    size: int, seed: int, share: float, classes: tuple[int, ...], epoch: int
) -> None:
    draws = ClassUniformPlan(size, seed, some_centroids(size, classes), share).draws(epoch)
    assert [(draw.seed, draw.epoch, draw.position) for draw in draws] == [
        (seed, epoch, at) for at in range(size)
    ]
    by_class = Counter(map(class_of, draws))
    uniform = size - by_class.pop(None, 0)
    assert abs(uniform - share * size) <= 0.5
    counts = [by_class[train_id] for train_id in classes]
    assert sum(counts) == uniform
    assert max(counts) - min(counts) <= 1
    assert all(
        draw.focus is None
        or (draw.focus[1] == draw.index and draw.index % (class_of(draw) + 1) == 0)
        for draw in draws
    )


@settings(deadline=None, max_examples=40)
@given(sizes, seeds, shares, class_sets)
def test_over_epochs_every_image_class_and_centroid_comes_equally_often(
    size: int, seed: int, share: float, classes: tuple[int, ...]
) -> None:
    plan = ClassUniformPlan(size, seed, some_centroids(size, classes), share)
    draws = [draw for epoch in range(7) for draw in plan.draws(epoch)]
    even = Counter(draw.index for draw in draws if draw.focus is None)
    assert (
        max(even[index] for index in range(size)) - min(even[index] for index in range(size)) <= 1
    )
    of_class = Counter(class_of(draw) for draw in draws if draw.focus)
    assert (
        max(of_class[train_id] for train_id in classes)
        - min(of_class[train_id] for train_id in classes)
        <= 1
    )
    for train_id in classes:
        of_image = Counter(draw.index for draw in draws if class_of(draw) == train_id)
        counts = [of_image[image] for image in range(0, size, train_id + 1)]
        assert max(counts) - min(counts) <= 1


@settings(deadline=None, max_examples=40)
@given(st.integers(12, 60), shares, st.integers(1, 4), st.integers(1, 3), st.integers(0, 3))
def test_ranks_are_disjoint_and_together_the_plan(
    size: int, share: float, world_size: int, batch_size: int, epoch: int
) -> None:
    def of_rank(rank: int) -> list[list[SampleDraw]]:  # each rank makes its own plan
        plan = ClassUniformPlan(size, 5, some_centroids(size, (0, 1, 4)), share)
        sampler = EpochSampler(plan, batch_size, rank, world_size)
        sampler.set_position(epoch)
        return list(sampler)

    ranks = [of_rank(rank) for rank in range(world_size)]
    together = [draw for step in zip(*ranks, strict=True) for batch in step for draw in batch]
    whole = ClassUniformPlan(size, 5, some_centroids(size, (0, 1, 4)), share).draws(epoch)
    assert together == whole[: len(together)]
    assert len(whole) - len(together) < batch_size * world_size


@pytest.mark.parametrize("epoch", [0, 1, 6])
def test_a_share_of_nothing_draws_what_a_plain_plan_draws(epoch: int) -> None:
    assert ClassUniformPlan(30, 3, some_centroids(30, (0, 1)), 0).draws(epoch) == EpochPlan(
        30, 3
    ).draws(epoch)


def test_after_the_last_class_uniform_epoch_each_image_is_drawn_once() -> None:
    plan = ClassUniformPlan(30, 3, some_centroids(30, (0, 1)), 0.5, epochs=2)
    assert [sum(draw.focus is not None for draw in plan.draws(epoch)) for epoch in range(4)] == [
        15,
        15,
        0,
        0,
    ]
    assert plan.draws(2) == EpochPlan(30, 3).draws(2)  # the third epoch


def test_a_plan_depends_on_seed_and_epoch_alone() -> None:
    def plan(seed: int) -> ClassUniformPlan:
        return ClassUniformPlan(40, seed, some_centroids(40, (0, 2, 3)), 0.5)

    used = plan(1)
    used.draws(5)
    assert used.draws(3) == plan(1).draws(3)
    assert (
        len(
            {
                tuple(draw.index for draw in epoch_draws)
                for epoch_draws in (plan(1).draws(3), plan(1).draws(4), plan(2).draws(3))
            }
        )
        == 3
    )


def test_the_order_is_the_same_on_every_machine() -> None:
    draws = ClassUniformPlan(8, 0, some_centroids(8, (0, 1, 2)), 0.5).draws(1)
    assert [(draw.index, draw.focus) for draw in draws] == [
        (6, None),
        (4, None),
        (2, (100, 2)),
        (4, (100, 4)),
        (3, (200, 3)),
        (7, None),
        (2, None),
        (6, (0, 6)),
    ]


def test_the_words_tell_shares_and_absent_classes() -> None:
    plan = ClassUniformPlan(31, 0, some_centroids(31, (0, 2)), 0.5, epochs=4)
    assert plan.class_draws(0) == {0: 8, 2: 8}
    assert plan.class_draws(4) == {}
    assert plan.describe(("road", "train", "pole")) == [
        "class-uniform sampling: 16 of the 31 draws of an epoch (51.6 %) up to epoch 4, "
        "none after it",
        "draws in the first epoch, of how many points, by class: road 8 of 31, pole 8 of 11",
        "in no label, so that the other classes get their draws: train",
    ]
    assert EpochPlan(31, 0).describe(("road",)) == []


def test_labels_without_any_class_are_refused() -> None:
    with pytest.raises(
        datasets.DatasetError, match=r"no label holds a pixel of any class, so --class_uniform_pct"
    ):
        ClassUniformPlan(4, 0, np.empty((0, 4), np.int32), 0.5)


def write_pair(root: Path, split: str, name: str, label: np.ndarray) -> None:
    for folder, pixels in (
        (split, np.repeat(label[..., None], 3, axis=2)),
        (f"{split}annot", label),
    ):
        (root / folder).mkdir(exist_ok=True)
        assert cv2.imwrite(str(root / folder / f"{name}.png"), pixels)


def sparse_label(rng: np.random.Generator, size: tuple[int, int], train_id: int) -> np.ndarray:
    """Road, and a few pixels of a rare class somewhere, at the border, too."""
    label = np.full(size, 3, np.uint8)
    y, x = rng.integers(0, size[0]), rng.integers(0, size[1])
    label[y : y + 2, x : x + 2] = train_id
    return label


@pytest.mark.parametrize("size", [(40, 60), (12, 80), (9, 11)])  # the crop is 16x20
def test_a_class_uniform_sample_shows_the_class(tmp_path: Path, size: tuple[int, int]) -> None:
    rng = np.random.default_rng(1)
    for number in range(12):
        write_pair(tmp_path, "train", f"{number}", sparse_label(rng, size, (8, 9, 10)[number % 3]))
    options = transforms.TransformOptions((16, 20), color_aug=0, gblur=False)
    transform, _ = transforms.build(options)
    data, plan = plan_training(
        datasets.build("camvid", tmp_path, "train", transform),
        seed=4,
        class_uniform_pct=1,
        class_uniform_tile=16,
        cache_dir=tmp_path / "cache",
    )
    for draw in (draw for epoch in range(8) for draw in plan.draws(epoch)):
        label = datasets.build("camvid", tmp_path, "train").label(draw.index)
        assert draw.focus is not None
        train_id = label[draw.focus[1], draw.focus[0]]
        assert train_id in (3, 8, 9, 10)
        scale = draw.rng().uniform(0.5, 2)  # what the transform draws first
        # At scales below 1, nearest neighbors may skip the pixel of the focus.
        if scale >= 1:
            assert (data[draw]["label"] == train_id).any(), (draw, scale)
        else:
            enlarged = _Enlarged(transform)(label, draw)
            assert (enlarged == train_id).any(), (draw, scale)


class _Enlarged:
    """The crop's label, with the focus marked so large that scaling down cannot lose it."""

    def __init__(self, transform: transforms.Transform) -> None:
        self.transform = transform

    def __call__(self, label: np.ndarray, draw: SampleDraw) -> np.ndarray:
        assert draw.focus is not None
        x, y = draw.focus
        marked = np.full_like(label, 0)
        marked[max(0, y - 1) : y + 2, max(0, x - 1) : x + 2] = label[y, x]
        return self.transform(
            np.zeros((*label.shape, 3), np.uint8), marked, draw.focus, draw.rng()
        )[1]


def with_coarse_split(monkeypatch: pytest.MonkeyPatch) -> None:
    """CamVid with a coarse split, for want of a small Cityscapes."""
    spec = datasets.spec("camvid")
    monkeypatch.setitem(
        datasets.SPECS,
        "camvid",
        replace(spec, splits={**spec.splits, "coarse": ("coarse",)}, coarse_split="coarse"),
    )


def test_coarse_images_join_where_the_chosen_classes_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_coarse_split(monkeypatch)
    rng = np.random.default_rng(2)
    for number in range(10):
        write_pair(
            tmp_path,
            "train",
            f"fine_{number}",
            sparse_label(rng, (20, 30), 10 if number < 2 else 7),
        )
        write_pair(
            tmp_path,
            "coarse",
            f"coarse_{number}",
            sparse_label(rng, (20, 30), (10, 9, 7)[number % 3]),
        )
    transform, _ = transforms.build(transforms.TransformOptions((16, 20)))
    fine = datasets.build("camvid", tmp_path, "train", transform)
    data, plan = plan_training(
        fine,
        seed=0,
        class_uniform_pct=0.6,
        coarse_boost_classes=(9, 10),
        cache_dir=tmp_path / "cache",
    )
    assert (len(plan), len(data)) == (10, 20)
    draws = [draw for epoch in range(12) for draw in plan.draws(epoch)]
    assert {data.samples[draw.index].name[:4] for draw in draws if draw.focus is None} == {"fine"}
    of_coarse = [draw for draw in draws if draw.index >= 10]
    assert {data[draw]["name"] for draw in of_coarse} == {
        f"coarse_{number}" for number in (0, 1, 3, 4, 6, 7, 9)
    }
    for draw in of_coarse:
        label = cv2.imread(str(data.samples[draw.index].label), cv2.IMREAD_UNCHANGED)
        assert label[draw.focus[1], draw.focus[0]] in (9, 10)
    classes = Counter(
        int(cv2.imread(str(data.samples[draw.index].label), cv2.IMREAD_UNCHANGED)[draw.focus[::-1]])
        for draw in draws
        if draw.focus
    )
    assert {*classes} == {3, 7, 9, 10}
    assert {*classes.values()} == {18}  # 12 epochs of 6 class-uniform draws, four classes


def test_coarse_cityscapes_joins_for_its_large_vehicles(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    truck, bus, person = 27, 28, 24  # raw ids; train ids 14, 15, 11

    def write(split: str, city: str, kind: str, number: int, raw_id: int) -> None:
        name = f"{city}_{number:06d}_000019"
        label = np.full((32, 64), 7, np.uint8)
        label[10:14, 30:34] = raw_id
        for folder, suffix, pixels in (
            ("leftImg8bit", "leftImg8bit", rng.integers(0, 255, (32, 64, 3), np.uint8)),
            (kind, f"{kind}_labelIds", label),
        ):
            path = tmp_path / folder / split / city / f"{name}_{suffix}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            assert cv2.imwrite(str(path), pixels)

    for number in range(6):
        write("train", "ulm", "gtFine", number, person)
        write("train_extra", "mannheim", "gtCoarse", number, (truck, bus, person)[number % 3])
    transform, _ = transforms.build(transforms.TransformOptions((16, 16), scale_min=1))
    fine = datasets.build("cityscapes", tmp_path, "train", transform)
    data, plan = plan_training(
        fine,
        0,
        class_uniform_pct=0.5,
        coarse_boost_classes=(14, 15, 16),
        cache_dir=tmp_path / "cache",
    )
    # Three of six draws in an epoch: the bus has its turn in the next.
    assert plan.class_draws(0) == {0: 1, 11: 1, 14: 1, 15: 0}
    seen = [data[draw] for epoch in range(4) for draw in plan.draws(epoch)]
    of_coarse = [sample for sample in seen if sample["name"].startswith("mannheim")]
    assert len(of_coarse) == 6
    assert all({14, 15} & {*sample["label"].unique().tolist()} for sample in of_coarse)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"coarse_boost_classes": (9,)},
            r"--coarse_boost_classes adds .*--class_uniform_pct 0 makes none",
        ),
        (
            {"class_uniform_pct": 0.5, "coarse_boost_classes": (3, 11, 19)},
            r"classes 11,19: the train ids of CamVid .* are 0 to 10",
        ),
        (
            {"class_uniform_pct": 0.5, "coarse_boost_classes": (9,)},
            r"CamVid .* has no coarsely labeled split",
        ),
    ],
)
def test_clashing_options_are_refused(
    write_camvid: WriteCamvid, options: dict, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        class_uniform, "find_centroids", lambda *args: pytest.fail("labels were read")
    )
    with pytest.raises(datasets.DatasetError, match=message):
        plan_training(datasets.build("camvid", write_camvid(), "train"), 0, **options)


def test_without_a_share_no_label_is_read(
    write_camvid: WriteCamvid, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        class_uniform, "find_centroids", lambda *args: pytest.fail("labels were read")
    )
    data = datasets.build("camvid", write_camvid(), "train")
    images, plan = plan_training(data, 7)
    assert images is data
    assert plan.draws(3) == EpochPlan(4, 7).draws(3)
