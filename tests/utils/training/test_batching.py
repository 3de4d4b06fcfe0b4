"""Batch sizes that are not given follow from those that are."""

from __future__ import annotations

import pytest

from utils.training import batching


@pytest.mark.parametrize(
    ("processes", "bs_mult", "accumulate", "global_batch", "expected"),
    [
        (1, None, None, None, (2, 2, 1)),
        (4, 3, 2, None, (24, 3, 2)),
        (1, None, None, 16, (16, 16, 1)),
        (8, None, None, 16, (16, 2, 1)),
        (2, 2, None, 16, (16, 2, 4)),
        (4, None, 2, 16, (16, 2, 2)),
    ],
)
def test_a_global_batch_is_shared_out(
    processes: int,
    bs_mult: int | None,
    accumulate: int | None,
    global_batch: int | None,
    expected: tuple[int, int, int],
) -> None:
    found = batching.batch_sizes(
        processes, bs_mult=bs_mult, accumulate=accumulate, global_batch=global_batch
    )
    assert (found.global_batch, found.bs_mult, found.accumulate) == expected


def test_other_processes_go_on_with_the_same_global_batch() -> None:
    # of 4 processes before
    found = batching.batch_sizes(1, bs_mult=4, accumulate=1, global_batch=16, resume=True)
    assert (found.bs_mult, found.accumulate) == (4, 4)


@pytest.mark.parametrize(
    ("how", "message"),
    [
        (
            (3, None, None, 16),
            r"16 images cannot be divided among 3 processes: start 1, 2, 4, 8, 16 of them",
        ),
        (
            (2, 3, None, 16),
            r"leaves each of 2 process\(es\) 8 images, which is not --bs_mult 3 times "
            "--accumulate 2",
        ),
    ],
)
def test_what_cannot_be_shared_evenly_is_refused(
    how: tuple[int, int | None, int | None, int], message: str
) -> None:
    processes, bs_mult, accumulate, global_batch = how
    with pytest.raises(ValueError, match=message):
        batching.batch_sizes(
            processes, bs_mult=bs_mult, accumulate=accumulate, global_batch=global_batch
        )


def test_a_synchronized_norm_sees_the_images_of_all_processes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sizes = batching.BatchSizes(global_batch=2, bs_mult=1, accumulate=1)
    assert batching.BatchingOptions(sizes).images_per_norm == 1
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert batching.BatchingOptions(sizes).images_per_norm == 2
    assert batching.BatchingOptions(sizes, syncbn=False).images_per_norm == 1
