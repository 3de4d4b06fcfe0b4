"""Random numbers that are the same for ever."""

from collections.abc import Sequence
from typing import TypeVar

import numpy as np

Choice = TypeVar("Choice")
Color = tuple[float, float, float]


class StableRandom:
    """Throws from the raw bits of PCG64.

    NumPy keeps a bit generator's stream for ever but may change what `Generator` makes of it (NEP 19), and a stored
    hash of a label map must survive that. Every throw is a few exact operations, the same on every machine.

    Raises:
        ValueError: when a part of the entropy is negative.
    """

    def __init__(self, *entropy: int) -> None:
        if min(entropy) < 0:
            raise ValueError(f"seed and index of a street scene must not be negative, got {entropy}")
        self._bits = np.random.PCG64(np.random.SeedSequence(entropy))
        self._pool: list[float] = []

    def unit(self) -> float:
        """A float in [0, 1)."""
        if not self._pool:
            self._pool = self.units(1024).tolist()
        return self._pool.pop()

    def units(self, count: int) -> np.ndarray:
        """(count,) float64 in [0, 1)."""
        return (self._bits.random_raw(count) >> np.uint64(11)) * 2.0**-53

    def uniform(self, low: float, high: float) -> float:
        return low + (high - low) * self.unit()

    def integer(self, low: int, high: int) -> int:
        """An integer in [low, high)."""
        return low + int((high - low) * self.unit())

    def chance(self, probability: float) -> bool:
        return self.unit() < probability

    def sign(self) -> int:
        return 1 if self.unit() < 0.5 else -1

    def pick(self, options: Sequence[Choice]) -> Choice:
        return options[int(len(options) * self.unit())]

    def noise(self, height: int, width: int) -> np.ndarray:
        """(height, width) float32 in (-1, 1), triangular, without correlation."""
        count = height * width
        words = self._bits.random_raw(count // 4 + 1).astype("<u8", copy=False)
        pairs = words.view(np.uint8)[: 2 * count].astype(np.float32)
        return ((pairs[:count] + pairs[count:]) * np.float32(1 / 255) - 1).reshape(height, width)
