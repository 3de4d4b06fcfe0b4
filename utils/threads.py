"""Independent work on a CPU, each piece in one thread.

torch splits every operation over its threads and waits for the slowest. Where another process takes
a core away for some milliseconds, each of hundreds of small operations waits that long. Threads
that compute different pieces wait for one another once, at the end.
"""
from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch

Item = TypeVar("Item")
Result = TypeVar("Result")


def map_in_threads(function: Callable[[Item], Result], items: Sequence[Item],
                   device: torch.device) -> list[Result]:
    """Returns the function's results for the items, in their order.

    On a CPU the items are distributed over as many threads as torch has, and each operation of the
    function runs in its item's thread. On other devices, and where there are fewer items than
    threads, the items are computed one after the other.

    Args:
        function: is called in the gradient and inference mode of the caller, but without its
            autocast; its calls must not depend on each other.
        device: of the function's tensors.
    """
    num_threads = torch.get_num_threads()
    is_parallel = device.type == "cpu" and 1 < num_threads <= len(items)
    if not is_parallel or torch.compiler.is_compiling():
        return [function(item) for item in items]
    inference, gradient = torch.is_inference_mode_enabled(), torch.is_grad_enabled()

    def compute(item: Item) -> Result:
        # torch's modes belong to a thread
        with torch.inference_mode(inference), torch.set_grad_enabled(gradient):
            return function(item)

    try:
        # the number of threads too belongs to the thread that sets it ...
        with ThreadPoolExecutor(num_threads, initializer=torch.set_num_threads,
                                initargs=(1,)) as pool:
            return list(pool.map(compute, items))
    finally:
        # ... but a thread that is new to torch takes the number that was set last
        torch.set_num_threads(num_threads)
