"""Placing vehicles, people and furniture, and the order in which they are painted."""

from __future__ import annotations

from tools.make_streets.stable_random import StableRandom
from tools.make_streets.stage import Stage
from tools.make_streets.street import Street
from tools.make_streets.traffic import Thing, far_to_near, traffic


def nothing() -> None:
    pass


def test_things_are_painted_from_far_to_near() -> None:
    things = [Thing(float(z), 1.0, nothing) for z in (3, 30, 7)]
    assert [thing.z for thing in far_to_near(things)] == [30.0, 7.0, 3.0]


def test_things_beside_a_long_vehicle_are_painted_before_or_after_all_of_it() -> None:
    bus = Thing(20.0, 3.0, nothing, 6.0)
    post, rider = Thing(16.0, 7.0, nothing), Thing(24.0, 1.0, nothing)
    house = Thing(18.0, 9.0, nothing)
    far, near = Thing(40.0, 5.0, nothing), Thing(6.0, 5.0, nothing)
    order = far_to_near([near, rider, post, bus, far, house])
    assert order == [far, house, post, bus, rider, near]


def test_no_two_reserved_rectangles_overlap_but_those_of_a_tram(stage: Stage) -> None:
    for seed in range(10):
        stage.rng = StableRandom(seed)
        street = Street.sample(stage.rng)
        things = traffic(stage, street)
        assert things
        on_track = [r for r in street.reserved if street.tram is None or r[0] != street.tram]
        for number, (d, z, half_width, half_length) in enumerate(on_track):
            for other in on_track[:number]:
                assert (abs(d - other[0]) >= half_width + other[2]
                        or abs(z - other[1]) >= half_length + other[3])


def test_nothing_stands_behind_the_camera(stage: Stage) -> None:
    for seed in range(10):
        stage.rng = StableRandom(seed)
        street = Street.sample(stage.rng)
        assert all(thing.z > thing.half_length for thing in traffic(stage, street))
