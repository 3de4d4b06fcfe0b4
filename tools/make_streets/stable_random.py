"""Random numbers that do not depend on the version of NumPy."""

from collections.abc import Sequence
from typing import TypeVar

import numpy as np

Choice = TypeVar("Choice")
Color = tuple[float, float, float]


class StableRandom:
    """Random numbers from the raw bits of PCG64.

    NumPy guarantees the bits of a bit generator, but not the numbers that `Generator` derives from
    them (NEP 19), and the stored hashes of label maps must stay valid. Each number takes a few
    exact operations, so it is the same on every machine.

    Args:
        entropy: seed and index of a scene, and further numbers for further streams.

    Raises:
        ValueError: an entry of the entropy is negative.
    """

    def __init__(self, *entropy: int) -> None:
        if min(entropy) < 0:
            raise ValueError("seed and index of a street scene must not be negative, got "
                             f"{entropy}")
        self._bits = np.random.PCG64(np.random.SeedSequence(entropy))
        self._pool: list[float] = []

    def unit(self) -> float:
        """Returns a float in [0, 1), a multiple of 2^-53."""
        if not self._pool:
            self._pool = self.units(1024).tolist()
        return self._pool.pop()

    def units(self, count: int) -> np.ndarray:
        """Returns (count,) float64 in [0, 1), multiples of 2^-53."""
        return (self._bits.random_raw(count) >> np.uint64(11)) * 2.0**-53

    def uniform(self, low: float, high: float) -> float:
        """Returns a float in [low, high)."""
        return low + (high - low) * self.unit()

    def integer(self, low: int, high: int) -> int:
        """Returns an integer in [low, high)."""
        return low + int((high - low) * self.unit())

    def chance(self, probability: float) -> bool:
        """Returns True with the given probability."""
        return self.unit() < probability

    def sign(self) -> int:
        """Returns 1 or -1."""
        return 1 if self.unit() < 0.5 else -1

    def pick(self, options: Sequence[Choice]) -> Choice:
        """Returns one of the options, each with the same probability."""
        return options[int(len(options) * self.unit())]

    def noise(self, height: int, width: int) -> np.ndarray:
        """Returns (height, width) float32 in [-1, 1] of independent triangular noise.

        Each entry is the sum of two uniform bytes, scaled.
        """
        count = height * width
        words = self._bits.random_raw(count // 4 + 1).astype("<u8", copy=False)
        pairs = words.view(np.uint8)[: 2 * count].astype(np.float32)
        return ((pairs[:count] + pairs[count:]) * np.float32(1 / 255) - 1).reshape(height, width)
