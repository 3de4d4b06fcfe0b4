"""Which image is drawn at which position of which epoch, and by whom: a function of (seed, epoch, position) alone."""
from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from torch.utils.data import Sampler


@dataclass(frozen=True)
class SampleDraw:
    """One position of an epoch: which image, around which point (x, y) of it, and where its randomness comes from."""

    index: int
    seed: int = 0
    epoch: int = 0
    position: int = 0
    focus: tuple[int, int] | None = None

    def rng(self) -> np.random.Generator:
        """Returns a fresh generator that depends on (seed, epoch, position): ranks and workers change nothing."""
        return np.random.default_rng((self.seed, self.epoch, self.position))

    def substitutes(self, dataset_size: int) -> Iterator[SampleDraw]:
        """Yields, without end, what to draw here in the place of an image that cannot be used.

        They depend on (seed, epoch, position) alone, as `rng` does, and have a stream of their own.
        """
        stream = np.random.SeedSequence((self.seed, self.epoch, self.position), spawn_key=(1,))
        rng = np.random.default_rng(stream)
        while True:
            yield replace(self, index=int(rng.integers(dataset_size)), focus=None)


class EpochPlan:
    """The order in which each epoch goes through a dataset: every image once, shuffled by (seed, epoch).

    Raises:
        ValueError: the seed is negative.
    """

    def __init__(self, dataset_size: int, seed: int = 0) -> None:
        if seed < 0:
            raise ValueError(f"a seed of {seed} is negative: give --seed 0 or more")
        self.dataset_size = dataset_size
        self.seed = seed

    def __len__(self) -> int:
        return self.dataset_size

    def class_draws(self, epoch: int) -> dict[int, int]:
        """Returns how many of an epoch's draws are made for the sake of each class, by train id."""
        return {}

    def describe(self, names: Sequence[str]) -> list[str]:
        """Returns lines that tell what an epoch draws beyond every image once, given the classes' names."""
        return []

    def draws(self, epoch: int) -> list[SampleDraw]:
        """Returns the epoch's draws in order; the same on every rank and after every restart."""
        order = self._rng(epoch).permutation(self.dataset_size).tolist()
        return [SampleDraw(index, self.seed, epoch, position) for position, index in enumerate(order)]

    def _rng(self, *stream: int) -> np.random.Generator:
        # A spawn key keeps each stream apart from the samples': numpy takes (seed, epoch) and (seed, epoch, 0) for one.
        return np.random.default_rng(np.random.SeedSequence(self.seed, spawn_key=stream))


class EpochSampler(Sampler[list[SampleDraw]]):
    """Deals an epoch plan out to ranks, as a batch sampler.

    The global batch of step s holds positions [s * B * W, (s + 1) * B * W) for W ranks of B images; each rank takes a
    contiguous B of them. The incomplete last global batch is dropped.

    Args:
        batch_size: images per rank (B).
        rank, world_size: this process among W.

    Raises:
        ValueError: the dataset is smaller than one global batch.
    """

    def __init__(self, plan: EpochPlan, batch_size: int, rank: int = 0, world_size: int = 1) -> None:
        if len(plan) < batch_size * world_size:
            fits = len(plan) // world_size
            advice = f"lower --bs_mult to {fits} or use fewer processes" if fits else "use fewer processes"
            raise ValueError(f"{len(plan)} training images do not fill a batch of {batch_size} on each of {world_size} "
                             f"processes: {advice}.")
        self.plan = plan
        self.batch_size = batch_size
        self.rank = rank
        self.world_size = world_size
        self.set_position(epoch=0, step=0)

    def __len__(self) -> int:
        """Returns the steps of a whole epoch, wherever iteration starts."""
        return len(self.plan) // (self.batch_size * self.world_size)

    def set_position(self, epoch: int, step: int = 0) -> None:
        """Lets the next iteration go through the given epoch, from the given step on."""
        self.epoch = epoch
        self.step = step

    def __iter__(self) -> Iterator[list[SampleDraw]]:
        draws = self.plan.draws(self.epoch)
        for step in range(self.step, len(self)):
            start = (step * self.world_size + self.rank) * self.batch_size
            yield draws[start : start + self.batch_size]
