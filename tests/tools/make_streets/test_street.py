"""The plan of a street."""

from __future__ import annotations

from itertools import pairwise

import pytest

from tools.make_streets.stable_random import StableRandom
from tools.make_streets.street import END, Street

STREETS = [Street.sample(StableRandom(seed)) for seed in range(40)]


def test_lots_follow_one_another_without_a_gap() -> None:
    for street in STREETS:
        for side in street.sides:
            assert all(first.far == second.near for first, second in pairwise(side.lots))
            assert side.lots[0].near == 2.0
            assert side.lots[-1].far >= END


def test_a_crossing_is_open_on_both_sides() -> None:
    crossed = [street for street in STREETS if street.crossing]
    assert 5 < len(crossed) < 30
    for street in crossed:
        near, far = street.crossing
        for side in street.sides:
            assert side.crossing_at((near + far) / 2)
            assert not side.crossing_at(near - 1.5)


def test_sidewalk_and_lots_are_outside_the_roadway() -> None:
    for street in STREETS:
        for side in street.sides:
            start, end = side.walk
            assert street.lane / 2 < side.edge < start < end <= side.border


def test_reserved_ground_is_not_given_twice() -> None:
    street = Street.sample(StableRandom(0))
    assert street.reserve(0.0, 10.0, 1.0, 2.0)
    assert not street.reserve(1.5, 12.0, 1.0, 2.0)
    # touching rectangles do not overlap
    assert street.reserve(2.0, 10.0, 1.0, 2.0)
    assert street.reserve(0.0, 14.0, 1.0, 2.0)


@pytest.mark.parametrize("street", STREETS[:5])
def test_the_same_entropy_gives_the_same_street(street: Street) -> None:
    again = Street.sample(StableRandom(STREETS.index(street)))
    assert (again.left, again.right, again.tram) == (street.left, street.right, street.tram)
