"""Inference equals its definition, written out slowly: windows, scales and flipped views."""
from __future__ import annotations

import itertools
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

import pytest
import torch
import torch.nn.functional as F
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import Tensor

from utils import resizing
from utils.cli import FlagParser
from utils.evaluation import inference
from utils.evaluation.inference import AVERAGES, MODES, InferenceOptions, window_starts

MIX = torch.randn(4, 3, generator=torch.Generator().manual_seed(1))


def by_place(images: Tensor) -> Tensor:
    """Returns logits (N, 4, H, W) that depend on color and on the position in the window."""
    rows = torch.linspace(-1, 2, images.shape[2])[:, None]
    columns = torch.linspace(1, -2, images.shape[3])
    mixed = torch.einsum("kc,nchw->nkhw", MIX, images)
    return mixed + rows * columns * torch.arange(4.0)[:, None, None]


def images_of(height: int, width: int, count: int = 1) -> Tensor:
    return torch.randn(
        count, 3, height, width, generator=torch.Generator().manual_seed(height * 100 + width)
    )


def coarsely(images: Tensor) -> Tensor:
    """The same at a quarter of the size, as networks give it."""
    return (
        F.avg_pool2d(by_place(images), 4, 3, ceil_mode=True)
        if min(images.shape[2:]) >= 4
        else by_place(images)
    )


def slowly(
    predict: Callable[[Tensor], Tensor], images: Tensor, options: InferenceOptions
) -> Tensor:
    """The definition, pixel by pixel: windows, then flipped views, then scales."""
    size = images.shape[-2:]
    over_scales = []
    for scale in options.scales:
        scaled = [round(side * scale) for side in size]
        view = F.interpolate(images, size=scaled, mode="bilinear", align_corners=True)
        over_flips = []
        for flip in [False, True][:1 + options.flip]:
            seen = view.flip(-1) if flip else view
            total, count = torch.zeros(len(images), 4, *scaled), torch.zeros(scaled)
            crop = options.crop if options.mode == "sliding" else scaled
            sides = [min(side, length) for side, length in zip(crop, scaled, strict=True)]
            starts = [
                window_starts(length, side, options.overlap)
                for side, length in zip(sides, scaled, strict=True)
            ]
            for top, left in itertools.product(*starts):
                rows, columns = slice(top, top + sides[0]), slice(left, left + sides[1])
                logits = F.interpolate(
                    predict(seen[:, :, rows, columns]),
                    size=sides,
                    mode="bilinear",
                    align_corners=True,
                )
                total[:, :, rows, columns] += (
                    logits if options.average == "logits" else logits.softmax(1)
                )
                count[rows, columns] += 1
            mean = total / count
            over_flips.append(mean.flip(-1) if flip else mean)
        mean = torch.stack(over_flips).mean(0)
        over_scales.append(F.interpolate(mean, size=size, mode="bilinear", align_corners=True))
    mean = torch.stack(over_scales).mean(0)
    return mean.softmax(1) if options.average == "logits" else mean


@pytest.mark.parametrize("average", AVERAGES)
def test_threads_change_no_bit(average: str, threads: Callable[[int], None],
                               monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inference, "CHUNK_VALUES", 400)
    options = InferenceOptions(crop=(16, 24), scales=(0.5, 1.0, 1.5), flip=True, average=average)
    threads(3)
    outcomes = [options.probabilities(coarsely, images_of(40, 56))]
    # not with another number of threads, by which torch chooses how to resize
    monkeypatch.setattr(resizing, "map_in_threads",
                        lambda function, items, device: [function(item) for item in items])
    outcomes.append(options.probabilities(coarsely, images_of(40, 56)))
    assert torch.equal(*outcomes)


sides = st.integers(1, 23)


@settings(max_examples=100, deadline=None)
@given(
    size=st.tuples(sides, sides),
    mode=st.sampled_from(MODES),
    crop=st.tuples(sides, sides),
    overlap=st.sampled_from([0.0, 1 / 3, 0.5, 0.8]),
    batch=st.integers(1, 5),
    scales=st.lists(st.sampled_from([0.75, 1.0, 1.6, 2.0]), min_size=1, max_size=3),
    flip=st.booleans(),
    average=st.sampled_from(AVERAGES),
    count=st.integers(1, 2),
    predict=st.sampled_from([by_place, coarsely]),
    chunk_values=st.sampled_from([1, 200, 1 << 17]),
)
def test_every_mode_equals_its_slow_definition(
    size: tuple[int, int],
    mode: str,
    crop: tuple[int, int],
    overlap: float,
    batch: int,
    scales: list[float],
    flip: bool,
    average: str,
    count: int,
    predict: Callable[[Tensor], Tensor],
    chunk_values: int,
) -> None:
    images = images_of(*size, count)
    options = InferenceOptions(mode, crop, overlap, batch, tuple(scales), flip, average)
    assume(all(round(side * scale) >= 1 for side in size for scale in scales))
    expected = slowly(predict, images, options)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(inference, "CHUNK_VALUES", chunk_values)
        probabilities, labels = (
            options.probabilities(predict, images),
            options.labels(predict, images),
        )
    torch.testing.assert_close(probabilities, expected, atol=1e-5, rtol=0)
    torch.testing.assert_close(probabilities.sum(1), torch.ones(count, *size), atol=1e-5, rtol=0)
    best = expected.gather(1, labels.long()[:, None])[:, 0]
    # a near tie may go either way
    torch.testing.assert_close(
        best, expected.max(1).values, atol=1e-5, rtol=0
    )


@settings(max_examples=200, deadline=None)
@given(length=st.integers(1, 400), crop=st.integers(1, 120), overlap=st.floats(0, 0.95))
def test_windows_cover_the_side_evenly_and_overlap_as_asked(
    length: int, crop: int, overlap: float
) -> None:
    starts = window_starts(length, crop, overlap)
    assert starts[0] == 0
    assert starts[-1] == max(0, length - crop)
    steps = [after - before for before, after in itertools.pairwise(starts)]
    assert all(step <= max(1, crop * (1 - overlap)) for step in steps)
    assert max(steps, default=0) - min(steps, default=0) <= 1


def test_windows_worked_by_hand() -> None:
    # 2048 wide, crop 1024, overlap 1/3: stride 682, so 1024 more pixels take 2 gaps of 512
    assert window_starts(2048, 1024, 1 / 3) == [0, 512, 1024]
    assert window_starts(1024, 1024, 1 / 3) == window_starts(360, 1024, 1 / 3) == [0]


def test_an_image_within_one_crop_is_one_window_like_whole() -> None:
    images, seen = images_of(13, 17), []

    def watched(windows: Tensor) -> Tensor:
        seen.append(tuple(windows.shape))
        return by_place(windows)

    sliding = InferenceOptions("sliding", (20, 20)).probabilities(watched, images)
    assert torch.equal(sliding, InferenceOptions("whole").probabilities(by_place, images))
    assert seen == [(1, 3, 13, 17)]


def test_windows_are_batched_and_the_last_batch_may_be_smaller() -> None:
    sizes = []

    def watched(windows: Tensor) -> Tensor:
        sizes.append(len(windows))
        return by_place(windows)

    InferenceOptions("sliding", (10, 10), overlap=0, windows_per_batch=3).probabilities(
        watched, images_of(10, 50)
    )
    assert sizes == [3, 2]


@pytest.mark.parametrize(("mode", "expected"), [("whole", [2, 2, 2, 2]), ("pooling", [4, 4])])
def test_pooling_predicts_all_views_of_a_size_at_once(mode: str, expected: list[int]) -> None:
    sizes = []

    def watched(windows: Tensor) -> Tensor:
        sizes.append(len(windows))
        return by_place(windows)

    InferenceOptions(mode, scales=(0.5, 1.0), flip=True).labels(watched, images_of(10, 50, count=2))
    assert sizes == expected


def test_each_part_of_the_work_is_watched() -> None:
    parts = []

    def watch(part: str) -> AbstractContextManager[object]:
        parts.append(part)
        return nullcontext()

    InferenceOptions("whole", scales=(0.5,), watch=watch).labels(by_place, images_of(10, 12))
    assert parts == ["resizing", "network", "accumulation", "resizing", "accumulation"]


@pytest.mark.parametrize(
    "options",
    [
        InferenceOptions("whole"),
        InferenceOptions("sliding", (64, 64)),
        InferenceOptions("sliding", (9, 11)),
        InferenceOptions("whole", flip=True),
        InferenceOptions("whole", scales=(0.5, 1.0)),
    ],
)
def test_labels_are_the_most_probable_classes(options: InferenceOptions) -> None:
    images = images_of(20, 31, 2)
    labels = options.labels(by_place, images)
    assert labels.dtype == torch.uint8
    assert torch.equal(labels.long(), options.probabilities(by_place, images).argmax(1))


def test_flipping_makes_the_result_symmetric() -> None:
    images, options = images_of(8, 12), InferenceOptions("sliding", (8, 7), flip=True)
    flipped = options.probabilities(by_place, images.flip(3)).flip(3)
    torch.testing.assert_close(options.probabilities(by_place, images), flipped)


def test_half_precision_logits_are_averaged_in_float32() -> None:
    options = InferenceOptions("sliding", (9, 12))
    probabilities = options.probabilities(
        lambda windows: by_place(windows).bfloat16(), images_of(9, 30)
    )
    assert probabilities.dtype == torch.float32
    torch.testing.assert_close(probabilities.sum(1), torch.ones(1, 9, 30))


@pytest.mark.parametrize(("values", "message"), [
    ({"mode": "slide"}, "unknown inference mode 'slide': choose sliding or whole or pooling"),
    ({"average": "votes"}, "cannot average 'votes': choose probabilities or logits"),
    ({"overlap": 1.0}, "sliding overlap 1.0 must be at least 0 and less than 1"),
    ({"crop": (0, 5)}, r"crop \(0, 5\)"),
    ({"scales": ()}, "give one or more positive factors"),
    ({"scales": (1.0, -0.5)}, "give one or more positive factors"),
])
def test_values_out_of_range_are_refused(values: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        InferenceOptions(**values)


def test_a_scale_that_leaves_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match=r"scale 0.01 leaves nothing of an image of 12x30"):
        InferenceOptions(scales=(1.0, 0.01)).probabilities(by_place, images_of(12, 30))


def test_a_flipped_view_is_flipped_back_before_it_is_averaged() -> None:
    def rising_logits(windows: Tensor) -> Tensor:
        """Class 1 is more probable to the right, whatever the image shows."""
        rise = torch.linspace(-1, 1, windows.shape[3]).expand(len(windows), 1, windows.shape[2], -1)
        return torch.cat([torch.zeros_like(rise), rise], dim=1)

    options = InferenceOptions("whole", flip=True, average="logits")
    # the rise and its flipped copy cancel
    probabilities = options.probabilities(rising_logits, images_of(4, 6))
    torch.testing.assert_close(probabilities, torch.full((1, 2, 4, 6), 0.5))


def test_the_flags_become_options() -> None:
    parser = FlagParser()
    inference.add_flags(parser)
    assert InferenceOptions.from_args(parser.parse_args([])) == InferenceOptions()
    flags = ["--crop_size", "8x12", "--sliding_overlap", "1/4", "--scales", "0.5,2", "--flip",
             "--batch_size", "3", "--average", "logits"]
    options = InferenceOptions.from_args(parser.parse_args(flags))
    assert options == InferenceOptions(
        crop=(8, 12), overlap=0.25, windows_per_batch=3, scales=(0.5, 2.0), flip=True,
        average="logits")
    assert str(options) == ("sliding windows of 8x12 overlapping by 0.25 at scale 0.5, 2, "
                            "flipped as well, logits averaged")


def test_the_old_name_warns_and_works() -> None:
    with pytest.warns(DeprecationWarning, match="Inference is now InferenceOptions"):
        assert inference.Inference is InferenceOptions
