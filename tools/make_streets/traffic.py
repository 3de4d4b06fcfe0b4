"""Who and what is in the street, and where: a list of things to paint, each with its distance."""
from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

from tools.make_streets.furniture import (
    paint_bin,
    paint_bollard,
    paint_lamp,
    paint_mast,
    paint_sign,
    paint_traffic_light,
)
from tools.make_streets.paint import GREYS, LIVERIES, color
from tools.make_streets.people import paint_bicycle, paint_motorcycle, paint_person
from tools.make_streets.stage import Point, Stage
from tools.make_streets.street import Side, Street
from tools.make_streets.vegetation import paint_tree, shade_tree
from tools.make_streets.vehicles import paint_bus, paint_car, paint_tram_car, paint_truck


class Thing(NamedTuple):
    """Something to paint at (d, z), meters; `reach` is how far it extends before and behind z."""

    z: float
    d: float
    paint: Callable[[], None]
    reach: float = 0.0


AHEAD, ONCOMING, TO_RIGHT, TO_LEFT = (0.0, 1.0), (0.0, -1.0), (1.0, 0.0), (-1.0, 0.0)
SIZES = {                                                    # half width, half length, height in meters
    "car": (1.0, 2.4, 1.5), "truck": (1.35, 5.0, 3.4), "bus": (1.4, 6.0, 3.1),
}
SMALL_FURNITURE = (paint_sign, paint_sign, paint_sign, paint_traffic_light, paint_bollard, paint_bin)
PAINTERS = {"car": paint_car, "truck": paint_truck, "bus": paint_bus}


def far_to_near(things: list[Thing]) -> list[Thing]:
    """Things in the order in which to paint them.

    Distance decides; but beside a long vehicle whatever is farther out from the camera's axis is behind it, and
    whatever is farther in is before it, wherever along its length it stands.
    """
    long = sorted((thing for thing in things if thing.reach), key=lambda thing: -thing.reach)

    def distance(thing: Thing) -> tuple[float, float]:
        for other in long:
            if abs(thing.z - other.z) < other.reach and thing.d * other.d > 0 and thing.reach < other.reach:
                return other.z + (0.01 if abs(thing.d) > abs(other.d) else -0.01), thing.z
        return thing.z, thing.z

    return sorted(things, key=distance, reverse=True)


def traffic(stage: Stage, street: Street) -> list[Thing]:
    """Everything that moves or stands in the street. Casts the shadows of what it places."""
    things: list[Thing] = []
    if street.tram is not None:
        things += _tram(stage, street, street.tram)
    things += _large_vehicles(stage, street)
    if street.crossing:
        things += _crossing(stage, street, *street.crossing)
    things += _two_wheelers(stage, street)
    things += _cars(stage, street)
    for side in street.sides:
        things += _furniture(stage, street, side)
        things += _people(stage, street, side)
    return things


def _vehicle(stage: Stage, street: Street, kind: str, d: float, z: float, turn: Point) -> list[Thing]:
    """One vehicle, if there is room for it."""
    half_width, half_length, height = SIZES[kind]
    if turn[0]:
        half_width, half_length = half_length, half_width
    if not street.claim(d, z, half_width + 0.15, half_length + 0.5):
        return []
    stage.cast(d, z, half_width - 0.1, half_length - 0.2, height)
    return [Thing(z, d, partial(PAINTERS[kind], stage, stage.pose(d, z, turn)), half_length)]


def _lanes(street: Street) -> list[tuple[float, Point]]:
    """The middle of every lane without rails, and the direction of its traffic."""
    lanes = [(0.0, AHEAD)]
    d = -street.lane
    while d - street.lane / 2 > -street.left.edge - 0.2:
        if street.tram is None or abs(d - street.tram) > street.lane / 2 + 1.0:
            lanes.append((d, ONCOMING))
        d -= street.lane
    if street.right.edge > 1.5 * street.lane:
        lanes.append((street.lane, AHEAD))
    return lanes


def _tram(stage: Stage, street: Street, d: float) -> list[Thing]:
    """A tram of two to four cars, and the masts of its wire."""
    dice = stage.dice
    livery = color(dice, LIVERIES, 12), color(dice, (*LIVERIES, *GREYS), 12)
    length, count, turn = dice.uniform(6.0, 7.5), dice.integer(2, 5), dice.pick((AHEAD, ONCOMING))
    z, things = dice.uniform(8.0, 24.0), []
    for k in range(count):
        middle = z + length / 2 + k * (length + 0.7)
        nose, tail = (k == count - 1, k == 0) if turn == AHEAD else (k == 0, k == count - 1)
        street.claim(d, middle, 1.5, length / 2 + 1)
        stage.cast(d, middle, 1.2, length / 2, 3.4)
        pose = stage.pose(d, middle, turn)
        painter = partial(paint_tram_car, stage, pose, livery, length, nose, tail, k == min(1, count - 1))
        things.append(Thing(middle, d, painter, length / 2))
    left = street.left
    for k in range(3):
        post, at = -(left.edge + 0.4), 9.0 + 22.0 * k + dice.uniform(0, 3)
        if not left.crossing_at(at) and street.claim(post, at, 0.3, 0.3):
            things.append(Thing(at, post, partial(paint_mast, stage, post, at, -1, left.edge + d + 0.4)))
    return things


def _large_vehicles(stage: Stage, street: Street) -> list[Thing]:
    dice, things = stage.dice, []
    for kind, probability in (("truck", 0.5), ("bus", 0.55)):
        placed = not dice.chance(probability)
        for _ in range(4):
            d, turn = dice.pick(_lanes(street))
            z = dice.uniform(14.0, 26.0) if d == 0.0 else dice.uniform(11.0, 26.0)
            if dice.chance(0.25):
                d, turn = street.right.edge - 1.35, AHEAD     # stopping at the kerb
            if not placed:
                vehicle = _vehicle(stage, street, kind, d, z, turn)
                placed = bool(vehicle)
                things += vehicle
    return things


def _crossing(stage: Stage, street: Street, near: float, far: float) -> list[Thing]:
    """Traffic from the side, people on the zebra, signals."""
    dice, things = stage.dice, []
    for lane, turn in ((near + (far - near) * 0.28, TO_RIGHT), (near + (far - near) * 0.72, TO_LEFT)):
        d = dice.uniform(-12.0, -6.0)
        while d < 14.0:
            if dice.chance(0.35):
                things += _vehicle(stage, street, dice.pick(("car", "car", "bus", "truck")), d, lane, turn)
            d += dice.uniform(5.0, 9.0)
    for _ in range(dice.integer(0, 5)):
        d, z = dice.uniform(-street.left.edge, street.right.edge), near - dice.uniform(0.8, 3.0)
        if street.claim(d, z, 0.3, 0.3):
            things.append(Thing(z, d, partial(paint_person, stage, d, z)))
    for side in street.sides:
        d = side.sign * (side.edge + 0.5)
        for z in (near - 4.2, far + 1.0):
            if z > 6 and dice.chance(0.75) and street.claim(d, z, 0.3, 0.3):
                things.append(Thing(z, d, partial(paint_traffic_light, stage, d, z, side.sign)))
    return things


def _two_wheelers(stage: Stage, street: Street) -> list[Thing]:
    """Riders in the lanes and across them, machines parked at the kerb."""
    dice, things = stage.dice, []
    for paint, riders, parked in ((paint_bicycle, 2, 3), (paint_motorcycle, 2, 2)):
        for _ in range(dice.integer(0, riders + 1)):
            d, z = dice.uniform(-street.left.edge + 0.8, street.right.edge - 0.8), dice.uniform(5.5, 15.0)
            stretch = dice.sign() * dice.uniform(0.4, 1.0)
            if street.claim(d, z, 1.1 * abs(stretch), 0.6):
                things.append(Thing(z, d, partial(paint, stage, d, z, True, stretch)))
        if dice.chance(0.5):
            side = dice.pick(street.sides)
            z = dice.uniform(6.5, 16.0)
            for _ in range(dice.integer(1, parked + 1)):
                d = side.sign * (side.edge + 1.0)
                stretch = dice.sign() * dice.uniform(0.55, 1.0)
                if not side.crossing_at(z) and street.claim(d, z, 1.0 * abs(stretch), 0.4):
                    things.append(Thing(z, d, partial(paint, stage, d, z, False, stretch)))
                z += dice.uniform(0.9, 1.6)
    return things


def _cars(stage: Stage, street: Street) -> list[Thing]:
    dice, things = stage.dice, []
    density = dice.uniform(0.15, 0.7)
    for d, turn in _lanes(street):
        z = dice.uniform(9.0, 20.0) if d == 0.0 else dice.uniform(6.0, 14.0)
        while z < 75:
            if dice.chance(density):
                things += _vehicle(stage, street, "car", d + dice.uniform(-0.25, 0.25), z, turn)
            z += dice.uniform(7.0, 16.0)
    for side in street.sides:
        z, full = dice.uniform(4.5, 8.0), dice.uniform(0.4, 0.95)
        while side.parking and z < 70:
            if dice.chance(full) and not side.crossing_at(z - 3) and not side.crossing_at(z + 3):
                turn = AHEAD if side.sign > 0 else ONCOMING
                things += _vehicle(stage, street, "car", side.sign * (side.edge - 1.1), z, turn)
            z += dice.uniform(5.4, 7.0)
    return things


def _furniture(stage: Stage, street: Street, side: Side) -> list[Thing]:
    """What stands in a line along the kerb: lamps, trees, signs, signals, bollards, bins."""
    dice, things = stage.dice, []
    d = side.sign * (side.edge + 0.5)
    spacing, trees, lamps = dice.uniform(4.0, 7.5), dice.chance(0.45), dice.chance(0.7)
    z, count = dice.uniform(5.0, 10.0), 0
    while z < 80:
        count += 1
        if not side.crossing_at(z) and street.claim(d, z, 0.35, 0.35):
            if lamps and count % 4 == 1:
                things.append(Thing(z, d, partial(paint_lamp, stage, d, z, side.sign)))
            elif trees and count % 2 == 0:
                height = dice.uniform(4.5, 8.0)
                shade_tree(stage, d, z, height)
                things.append(Thing(z, d, partial(paint_tree, stage, d, z, height)))
            elif dice.chance(0.7):
                things.append(Thing(z, d, partial(dice.pick(SMALL_FURNITURE), stage, d, z, side.sign)))
        z += spacing * dice.uniform(0.8, 1.25)
    return things


def _people(stage: Stage, street: Street, side: Side) -> list[Thing]:
    dice, things = stage.dice, []
    start, end = side.walk
    for _ in range(dice.integer(0, 10)):
        d, z = side.sign * dice.uniform(start + 0.3, max(end - 0.3, start + 0.4)), dice.uniform(6.0, 18.0)
        if not side.crossing_at(z) and street.claim(d, z, 0.35, 0.3):
            things.append(Thing(z, d, partial(paint_person, stage, d, z)))
    return things
