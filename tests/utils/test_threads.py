"""Pieces of work in threads: the caller's results, modes and errors, and one thread a piece."""
from __future__ import annotations

import threading
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from utils.threads import map_in_threads

CPU = torch.device("cpu")
SetThreads = Callable[[int], None]


@pytest.mark.parametrize("number", [1, 2, 3])
def test_results_keep_the_order_of_the_items(threads: SetThreads, number: int) -> None:
    threads(number)
    assert map_in_threads(lambda item: item * item, range(9), CPU) == [i * i for i in range(9)]
    assert map_in_threads(lambda item: item, [], CPU) == []


def test_operations_have_one_thread_and_the_caller_keeps_its_own(threads: SetThreads) -> None:
    threads(3)
    meeting = threading.Barrier(3, timeout=30)

    def number_of_threads(item: int) -> int:
        # three pieces are computed at once, or this raises an error after 30 seconds
        meeting.wait()
        return torch.get_num_threads()

    assert map_in_threads(number_of_threads, range(3), CPU) == [1, 1, 1]
    assert torch.get_num_threads() == 3
    # so do threads that are started later
    numbers: list[int] = []
    later = threading.Thread(target=lambda: numbers.append(torch.get_num_threads()))
    later.start()
    later.join()
    assert numbers == [3]


@pytest.mark.parametrize(("number", "items", "device"), [
    (1, 4, "cpu"), (3, 2, "cpu"), (2, 4, "meta")])
def test_pieces_stay_in_the_callers_thread_where_threads_do_not_pay(
        threads: SetThreads, number: int, items: int, device: str) -> None:
    threads(number)
    used = map_in_threads(lambda item: threading.get_ident(), range(items), torch.device(device))
    assert used == items * [threading.get_ident()]


def modes(item: int) -> tuple[bool, bool]:
    return torch.is_grad_enabled(), torch.is_inference_mode_enabled()


def test_the_modes_are_those_of_the_caller(threads: SetThreads) -> None:
    threads(2)
    for context in (torch.enable_grad, torch.no_grad, torch.inference_mode):
        with context():
            assert map_in_threads(modes, range(2), CPU) == 2 * [modes(0)]


def test_a_tensor_of_the_inference_mode_can_be_written(threads: SetThreads) -> None:
    threads(2)
    with torch.inference_mode():
        values = torch.zeros(2)

        def write(item: int) -> Tensor:
            values[item] = item + 1
            return values

        map_in_threads(write, range(2), CPU)
    assert values.tolist() == [1, 2]


def test_an_error_of_a_piece_is_raised_and_the_threads_are_restored(threads: SetThreads) -> None:
    threads(2)
    with pytest.raises(ZeroDivisionError):
        map_in_threads(lambda item: 1 // item, [1, 0, 2], CPU)
    assert torch.get_num_threads() == 2
