"""Which image is drawn at which position of which epoch: a function of (seed, epoch, position)."""
from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from torch.utils.data import Sampler

# an image, and the point (x, y) that its crop must contain
Choice = tuple[int, tuple[int, int] | None]


@dataclass(frozen=True)
class SampleDraw:
    """One position of an epoch: the image to draw and the origin of its random numbers.

    Args:
        index: of the image in the dataset.
        focus: point (x, y) of the image that the crop must contain; None for any crop.
    """

    index: int
    seed: int = 0
    epoch: int = 0
    position: int = 0
    focus: tuple[int, int] | None = None

    @classmethod
    def of(cls, key: int | SampleDraw) -> SampleDraw:
        """Returns the draw that a dataset's key stands for: itself, or of an index alone."""
        return key if isinstance(key, SampleDraw) else cls(index=key, position=key)

    def rng(self) -> np.random.Generator:
        """Returns a new generator that depends on (seed, epoch, position) alone.

        So a sample is the same for any number of ranks and workers.
        """
        return np.random.default_rng((self.seed, self.epoch, self.position))

    def substitutes(self, dataset_size: int) -> Iterator[SampleDraw]:
        """Yields, without end, draws that may replace this one if its image cannot be used.

        They depend on (seed, epoch, position) alone, but use other random numbers than `rng`.
        """
        stream = np.random.SeedSequence((self.seed, self.epoch, self.position), spawn_key=(1,))
        rng = np.random.default_rng(stream)
        while True:
            yield replace(self, index=int(rng.integers(dataset_size)), focus=None)


class EpochPlan:
    """The order in which each epoch draws a dataset: every image once, shuffled by (seed, epoch).

    Raises:
        ValueError: the seed is negative.
    """

    def __init__(self, dataset_size: int, seed: int = 0) -> None:
        if seed < 0:
            raise ValueError(f"--seed {seed} is negative: give 0 or more")
        self.dataset_size = dataset_size
        self.seed = seed

    def __len__(self) -> int:
        return self.dataset_size

    def class_draws(self, epoch: int) -> dict[int, int]:
        """Returns train id -> number of the epoch's draws that are made for this class."""
        return {}

    def describe(self, names: Sequence[str]) -> list[str]:
        """Returns lines about the draws that are made for classes, given the class names."""
        return []

    def draws(self, epoch: int) -> list[SampleDraw]:
        """Returns the draws of an epoch in order; the same on every rank and after a restart."""
        order = self._rng(epoch).permutation(self.dataset_size).tolist()
        return [SampleDraw(index, self.seed, epoch, position)
                for position, index in enumerate(order)]

    def _shuffled(self, chosen: Sequence[Choice], epoch: int, stream: int) -> list[SampleDraw]:
        """Returns the draws of an epoch's images and points, shuffled by (seed, epoch, stream)."""
        order = self._rng(epoch, stream).permutation(len(chosen)).tolist()
        draws = []
        for position, entry in enumerate(order):
            image, focus = chosen[entry]
            draws.append(SampleDraw(image, self.seed, epoch, position, focus))
        return draws

    def _slice_of_passes(self, size: int, start: int, count: int, *stream: int) -> np.ndarray:
        """Returns entries [start, start + count) of endless shuffled passes over range(size)."""
        first, last = start // size, (start + count - 1) // size
        passes = [self._rng(*stream, number).permutation(size) for number in range(first, last + 1)]
        entries = np.concatenate([np.empty(0, np.int64), *passes])
        return entries[start - first * size :][:count]

    def _rng(self, *stream: int) -> np.random.Generator:
        # The seeds (seed, epoch) and (seed, epoch, 0) give the same generator, so without a spawn
        # key the order of an epoch would use the random numbers of its first sample.
        return np.random.default_rng(np.random.SeedSequence(self.seed, spawn_key=stream))


class EpochSampler(Sampler[list[SampleDraw]]):
    """Batch sampler that distributes an epoch plan over the ranks.

    With W ranks of B images, the global batch of step s holds the positions from s * B * W up to
    (s + 1) * B * W; rank r takes the contiguous B positions from (s * W + r) * B. An incomplete
    last global batch is dropped.

    Args:
        batch_size: images per rank (B).
        rank, world_size: this process, and the number of processes (W).

    Raises:
        ValueError: the dataset is smaller than one global batch.
    """

    def __init__(self, plan: EpochPlan, batch_size: int, rank: int = 0,
                 world_size: int = 1) -> None:
        if len(plan) < batch_size * world_size:
            largest = len(plan) // world_size
            remedy = "use fewer processes" if world_size > 1 else "add images"
            if largest:
                # a launcher gives the size of the whole step, others that of each process
                remedy = (f"lower --bs_mult to {largest}, or --global_batch to "
                          f"{largest * world_size} where that is given")
            raise ValueError(f"{len(plan)} training images do not fill a batch of {batch_size} on "
                             f"each of {world_size} processes: {remedy}.")
        self.plan = plan
        self.batch_size = batch_size
        self.rank = rank
        self.world_size = world_size
        self.set_position(epoch=0, step=0)

    def __len__(self) -> int:
        """Returns the number of steps of a whole epoch, wherever iteration starts."""
        return len(self.plan) // (self.batch_size * self.world_size)

    def set_position(self, epoch: int, step: int = 0) -> None:
        """Sets the epoch of the next iteration and the step at which it starts."""
        self.epoch = epoch
        self.step = step

    def __iter__(self) -> Iterator[list[SampleDraw]]:
        draws = self.plan.draws(self.epoch)
        for step in range(self.step, len(self)):
            start = (step * self.world_size + self.rank) * self.batch_size
            yield draws[start : start + self.batch_size]
