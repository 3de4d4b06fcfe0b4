"""Resizing in chunks of rows gives what resizing at once gives, forward and backward."""
from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

import loss
from tests.loss.cases import case, mean_cross_entropy
from utils import resizing

RESIZERS = (resizing.matrix_rows, resizing.lerp_rows)
sides = st.integers(1, 23)


def maps_of(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


def interpolated(maps: Tensor, size: tuple[int, int]) -> Tensor:
    return F.interpolate(maps, size=size, mode="bilinear", align_corners=True)


@pytest.mark.parametrize(("chunk_values", "expected"), [
    # a row has 2 * 3 * 5 = 30 values
    (None, [slice(0, 7)]), (30, [slice(i, i + 1) for i in range(7)]),
    (1, [slice(i, i + 1) for i in range(7)]), (119, [slice(0, 3), slice(3, 6), slice(6, 7)]),
])
def test_chunks_cover_the_rows_once(chunk_values: int | None, expected: list[slice]) -> None:
    assert resizing.row_chunks((2, 3, 7, 5), chunk_values) == expected


def test_an_interpolation_matrix_by_hand() -> None:
    # from 2 to 3 samples: the first, the middle, the last
    assert resizing.interpolation_matrix(2, 3).tolist() == [[1, 0], [0.5, 0.5], [0, 1]]


def test_rows_of_an_interpolation_matrix_sum_to_1() -> None:
    sums = resizing.interpolation_matrix(7, 19).sum(1)
    torch.testing.assert_close(sums, torch.ones(19))


def test_source_positions_by_hand() -> None:
    # 5 samples over 3: positions 0, 0.5, 1, 1.5, 2
    before, after, weight = resizing.source_positions(3, 5, torch.device("cpu"))
    assert before.tolist() == [0, 0, 1, 1, 1]
    assert after.tolist() == [1, 1, 2, 2, 2]
    assert weight.tolist() == [0, 0.5, 0, 0.5, 1]


@settings(max_examples=60, deadline=None)
@given(low=st.tuples(sides, sides), full=st.tuples(sides, sides),
       chunk_values=st.sampled_from([1, 100, None]), resizer=st.sampled_from(RESIZERS))
def test_chunks_are_bilinear_resizing(
        low: tuple[int, int], full: tuple[int, int], chunk_values: int | None,
        resizer: Callable[[Tensor, tuple[int, int]], resizing.RowResizer]) -> None:
    maps = maps_of(2, 3, *low)
    chunks: list[tuple[slice, Tensor]] = []
    resizing.for_each_chunk(maps, full, resizer, chunk_values,
                            lambda rows, chunk: chunks.append((rows, chunk)))
    chunks.sort(key=lambda entry: entry[0].start)
    assert [row for rows, _ in chunks for row in range(rows.start, rows.stop)] == [*range(full[0])]
    joined = torch.cat([chunk for _, chunk in chunks], dim=2)
    torch.testing.assert_close(joined, interpolated(maps, full), atol=1e-5, rtol=0)


@pytest.mark.parametrize("summed", [False, True])
def test_a_function_of_chunks_is_that_of_the_whole(
        summed: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resizing, "CHUNK_VALUES", 300)
    maps, weights = maps_of(2, 3, 5, 7).requires_grad_(), maps_of(2, 20, 31)

    def weighted(chunk: Tensor, rows: slice) -> Tensor:
        result = chunk.square().sum(1) * weights[:, rows]
        return result.sum() if summed else result

    result = resizing.map_row_chunks(maps, (20, 31), weighted, summed=summed)
    expected = weighted(interpolated(maps, (20, 31)), slice(0, 20))
    torch.testing.assert_close(result, expected)
    torch.testing.assert_close(torch.autograd.grad(result.sum(), maps),
                               torch.autograd.grad(expected.sum(), maps))


@pytest.mark.parametrize("chunk_values", [1, 700, 1 << 21])
@pytest.mark.parametrize("matrix_width", [0, 128])
def test_chunked_upsampling_changes_neither_loss_nor_gradient(
        monkeypatch: pytest.MonkeyPatch, chunk_values: int, matrix_width: int) -> None:
    monkeypatch.setattr(resizing, "CHUNK_VALUES", chunk_values)
    monkeypatch.setattr(resizing, "MATRIX_WIDTH", matrix_width)
    logits, labels = case((2, 5, 7, 9), (25, 33))
    expected = mean_cross_entropy(logits, labels)
    gradient, = torch.autograd.grad(expected, logits)
    result = loss.CrossEntropy()({"main": logits}, labels)["main"]
    torch.testing.assert_close(result, expected)
    torch.testing.assert_close(torch.autograd.grad(result, logits)[0], gradient)


def test_no_full_size_logits_are_held(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resizing, "CHUNK_VALUES", 3 * 31)
    shapes = []

    def record(chunk: Tensor, rows: slice) -> Tensor:
        shapes.append(tuple(chunk.shape))
        return chunk.sum(1)

    maps = maps_of(1, 3, 5, 7).requires_grad_()
    resizing.map_row_chunks(maps, (20, 31), record).sum().backward()
    # a row at a time, forward and backward
    assert shapes == [(1, 3, 1, 31)] * 40


def test_a_gpu_takes_larger_chunks_and_the_meta_device_those_of_a_gpu(
        monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resizing, "CHUNK_VALUES", 3 * 31)
    monkeypatch.setattr(resizing, "GPU_CHUNK_VALUES", 10 * 3 * 31)
    heights: list[int] = []

    def record(chunk: Tensor, rows: slice) -> Tensor:
        heights.append(chunk.shape[2])
        return chunk.sum(1)

    resizing.map_row_chunks(maps_of(1, 3, 5, 7).to("meta"), (20, 31), record)
    assert heights == [10, 10]


@pytest.mark.parametrize("summed", [False, True])
def test_threads_change_no_bit_of_result_and_gradient(summed: bool, threads: Callable[[int], None],
                                                      monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resizing, "CHUNK_VALUES", 300)
    maps = maps_of(2, 3, 5, 7).requires_grad_()

    def logarithm(chunk: Tensor, rows: slice) -> Tensor:
        values = chunk.logsumexp(1)
        return values.sum() if summed else values

    outcomes = []
    for number in (1, 3):
        threads(number)
        result = resizing.map_row_chunks(maps, (20, 31), logarithm, summed=summed)
        outcomes.append((result, *torch.autograd.grad(result.square().sum(), maps)))
    assert all(torch.equal(*pair) for pair in zip(*outcomes, strict=True))


def test_half_precision_is_upsampled_in_float32() -> None:
    maps = maps_of(1, 2, 3, 4)
    assert resizing.upsampled(maps.bfloat16(), (6, 8)).dtype == torch.float32
    assert resizing.upsampled(maps.double(), (6, 8)).dtype == torch.float64
