"""Epoch plans and how they are dealt out to ranks."""

import pickle

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from datasets.sampling import EpochPlan, EpochSampler, SampleDraw

FAST = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def epoch_of(sampler: EpochSampler, epoch: int, step: int = 0) -> list[list[SampleDraw]]:
    sampler.set_position(epoch, step)
    return list(sampler)


def test_an_epoch_draws_every_image_once() -> None:
    draws = EpochPlan(10, seed=3).draws(epoch=2)
    assert sorted(draw.index for draw in draws) == list(range(10))
    assert [(draw.seed, draw.epoch, draw.position) for draw in draws] == [
        (3, 2, position) for position in range(10)
    ]


def test_a_plan_depends_on_seed_and_epoch_alone() -> None:
    plan = EpochPlan(50, seed=3)
    later_first = (plan.draws(7), plan.draws(2))
    assert later_first == (EpochPlan(50, seed=3).draws(7), EpochPlan(50, seed=3).draws(2))
    orders = [
        [draw.index for draw in EpochPlan(50, seed).draws(epoch)]
        for seed, epoch in ((3, 2), (3, 3), (4, 2))
    ]
    assert len({tuple(order) for order in orders}) == 3


def test_the_order_is_the_same_on_every_machine() -> None:
    # NumPy may change its permutations in a release, which would change resumed runs.
    assert [draw.index for draw in EpochPlan(8, seed=0).draws(0)] == [5, 3, 0, 1, 2, 4, 7, 6]


def test_a_draws_randomness_depends_on_seed_epoch_and_position_alone() -> None:
    first = SampleDraw(index=5, seed=1, epoch=2, position=3)
    moved = SampleDraw(index=9, seed=1, epoch=2, position=3, focus=(4, 4))
    assert first.rng().random() == first.rng().random() == moved.rng().random()
    others = [
        SampleDraw(5, 2, 2, 3),
        SampleDraw(5, 1, 3, 3),
        SampleDraw(5, 1, 2, 4),
        SampleDraw(5, 3, 2, 1),
    ]
    assert len({draw.rng().random() for draw in (first, *others)}) == 5


def test_the_order_does_not_share_a_stream_with_the_first_sample() -> None:
    order = EpochPlan(8, seed=1).draws(2)
    assert [draw.index for draw in order] != np.random.default_rng((1, 2, 0)).permutation(
        8
    ).tolist()


@pytest.mark.parametrize("world_size", [1, 2, 4])
def test_ranks_are_disjoint_and_together_complete(world_size: int) -> None:
    plan = EpochPlan(21, seed=0)
    ranks = [
        epoch_of(EpochSampler(plan, 2, rank, world_size), epoch=1) for rank in range(world_size)
    ]
    steps = 21 // (2 * world_size)
    assert [len(batches) for batches in ranks] == [steps] * world_size
    together = [draw for step in range(steps) for batches in ranks for draw in batches[step]]
    assert together == plan.draws(1)[: steps * 2 * world_size]


def test_a_global_batch_does_not_depend_on_how_many_share_it() -> None:
    plan = EpochPlan(32, seed=5)
    alone = epoch_of(EpochSampler(plan, 8), epoch=0)
    four = [epoch_of(EpochSampler(plan, 2, rank, 4), epoch=0) for rank in range(4)]
    assert alone == [[draw for batches in four for draw in batches[step]] for step in range(4)]


def test_starting_in_mid_epoch_gives_the_tail_of_the_epoch() -> None:
    sampler = EpochSampler(EpochPlan(20, seed=0), batch_size=3)
    assert epoch_of(sampler, 4, step=2) == epoch_of(sampler, 4)[2:]
    assert len(sampler) == 6
    assert epoch_of(sampler, 4, step=6) == []


def test_a_draw_survives_pickling() -> None:
    draw = SampleDraw(1, 2, 3, 4, focus=(5, 6))
    assert pickle.loads(pickle.dumps(draw)) == draw


def test_fewer_images_than_one_global_batch_are_refused() -> None:
    with pytest.raises(
        ValueError,
        match=r"7 training images do not fill a batch of 4 on each of 2 .*--bs_mult to 3",
    ):
        EpochSampler(EpochPlan(7, seed=0), batch_size=4, world_size=2)


def test_a_negative_seed_is_refused() -> None:
    with pytest.raises(ValueError, match=r"--seed -1 is negative: give 0 or more"):
        EpochPlan(4, seed=-1)


@FAST
@given(seed=st.integers(0, 2**40), epoch=st.integers(0, 999), position=st.integers(0, 10**6))
def test_what_takes_a_place_depends_on_seed_epoch_and_position_alone(
    seed: int, epoch: int, position: int
) -> None:
    first_draws, other_draws = (
        SampleDraw(index, seed, epoch, position, focus).substitutes(1000)
        for index, focus in ((3, None), (7, (1, 2)))
    )
    first = [next(first_draws) for _ in range(5)]
    assert first == [next(other_draws) for _ in range(5)]
    assert {(draw.seed, draw.epoch, draw.position, draw.focus) for draw in first} == {
        (seed, epoch, position, None)
    }


def test_a_batch_larger_than_the_data_names_both_flags_that_set_its_size() -> None:
    with pytest.raises(ValueError, match="lower --bs_mult to 4, or --global_batch to 8 where"):
        EpochSampler(EpochPlan(9, 0), batch_size=8, rank=0, world_size=2)
