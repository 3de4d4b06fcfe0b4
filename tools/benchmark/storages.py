"""The memory of tensors, followed storage by storage: those that live, and the most at a time."""
from __future__ import annotations

import weakref
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

# a GPU's allocator rounds every block up to a multiple of this, in bytes
BLOCK = 512


class StorageTracker(TorchDispatchMode):
    """Adds up the storages of the tensors that operations return inside the context.

    A view shares its storage with its tensor, and counts once. What an operation allocates and
    frees inside its own kernel, such as the work space of a convolution, is not seen.

    Args:
        device_type: of the tensors that are followed. On "meta" they have sizes but no memory.

    Attributes:
        current: bytes of the storages that live.
        peak: the largest value of `current`.
    """

    def __init__(self, device_type: str) -> None:
        super().__init__()
        self.device_type = device_type
        self.current = self.peak = 0
        self.known: set[int] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple[Any, ...] = (),
                           kwargs: dict[str, Any] | None = None) -> Any:
        outputs = func(*args, **(kwargs or {}))
        for output in tree_leaves(outputs):
            if isinstance(output, Tensor) and output.device.type == self.device_type:
                self._follow(output.untyped_storage())
        return outputs

    def _follow(self, storage: torch.UntypedStorage) -> None:
        if id(storage) in self.known:
            return
        size = rounded(storage.nbytes())
        self.known.add(id(storage))
        weakref.finalize(storage, self._forget, id(storage), size).atexit = False
        self.current += size
        self.peak = max(self.peak, self.current)

    def _forget(self, identity: int, size: int) -> None:
        self.known.discard(identity)
        self.current -= size


def rounded(size: int) -> int:
    """Returns the bytes of the block that a GPU's allocator gives for a size."""
    return -(-size // BLOCK) * BLOCK
