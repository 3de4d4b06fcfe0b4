"""Vehicles, people and furniture: a list of things to paint, each with its distance."""
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
from tools.make_streets.paint import GRAYS, LIVERIES, color
from tools.make_streets.people import paint_bicycle, paint_motorcycle, paint_person
from tools.make_streets.stage import Point, Stage
from tools.make_streets.street import Side, Street
from tools.make_streets.vegetation import paint_tree, shade_tree
from tools.make_streets.vehicles import paint_bus, paint_car, paint_tram_car, paint_truck


class Thing(NamedTuple):
    """Something to paint at (d, z) meters.

    Args:
        half_length: meters by which it extends before and behind z; 0 for small things.
    """

    z: float
    d: float
    paint: Callable[[], None]
    half_length: float = 0.0


AHEAD, ONCOMING, TO_RIGHT, TO_LEFT = (0.0, 1.0), (0.0, -1.0), (1.0, 0.0), (-1.0, 0.0)
# half width, half length and height in meters
SIZES = {"car": (1.0, 2.4, 1.5), "truck": (1.35, 5.0, 3.4), "bus": (1.4, 6.0, 3.1)}
SMALL_FURNITURE = (paint_sign, paint_sign, paint_sign, paint_traffic_light, paint_bollard,
                   paint_bin)
PAINTERS = {"car": paint_car, "truck": paint_truck, "bus": paint_bus}


def far_to_near(things: list[Thing]) -> list[Thing]:
    """Sorts things by distance, farthest first.

    A thing beside a long vehicle is painted before all of it if it is farther from the axis of the
    camera, and after all of it if it is nearer to the axis.
    """
    long = sorted((thing for thing in things if thing.half_length),
                  key=lambda thing: -thing.half_length)

    def distance(thing: Thing) -> tuple[float, float]:
        for other in long:
            is_beside = abs(thing.z - other.z) < other.half_length and thing.d * other.d > 0
            if is_beside and thing.half_length < other.half_length:
                return other.z + (0.01 if abs(thing.d) > abs(other.d) else -0.01), thing.z
        return thing.z, thing.z

    return sorted(things, key=distance, reverse=True)


def traffic(stage: Stage, street: Street) -> list[Thing]:
    """Returns everything that moves or stands in the street, and adds its shadows."""
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


def _vehicle(stage: Stage, street: Street, kind: str, d: float, z: float,
             turn: Point) -> list[Thing]:
    """Returns a vehicle, or nothing if the ground is occupied."""
    half_width, half_length, height = SIZES[kind]
    if turn[0]:
        half_width, half_length = half_length, half_width
    if not street.reserve(d, z, half_width + 0.15, half_length + 0.5):
        return []
    stage.cast_shadow(d, z, half_width - 0.1, half_length - 0.2, height)
    return [Thing(z, d, partial(PAINTERS[kind], stage, stage.pose(d, z, turn)), half_length)]


def _lanes(street: Street) -> list[tuple[float, Point]]:
    """Returns the center d of every lane without rails, and the direction of its traffic."""
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
    """Returns a tram of two to four cars, and the masts of its overhead wire."""
    rng = stage.rng
    livery = color(rng, LIVERIES, 12), color(rng, (*LIVERIES, *GRAYS), 12)
    length, count = rng.uniform(6.0, 7.5), rng.integer(2, 5)
    turn = rng.pick((AHEAD, ONCOMING))
    z, things = rng.uniform(8.0, 24.0), []
    for k in range(count):
        middle = z + length / 2 + k * (length + 0.7)
        is_farthest, is_nearest = k == count - 1, k == 0
        first, last = (is_farthest, is_nearest) if turn == AHEAD else (is_nearest, is_farthest)
        street.reserve(d, middle, 1.5, length / 2 + 1)
        stage.cast_shadow(d, middle, 1.2, length / 2, 3.4)
        pose = stage.pose(d, middle, turn)
        paint = partial(paint_tram_car, stage, pose, livery, length, first=first, last=last,
                        pantograph=k == min(1, count - 1))
        things.append(Thing(middle, d, paint, length / 2))
    left = street.left
    for k in range(3):
        mast_d, mast_z = -(left.edge + 0.4), 9.0 + 22.0 * k + rng.uniform(0, 3)
        if not left.crossing_at(mast_z) and street.reserve(mast_d, mast_z, 0.3, 0.3):
            paint = partial(paint_mast, stage, mast_d, mast_z, -1, left.edge + d + 0.4)
            things.append(Thing(mast_z, mast_d, paint))
    return things


def _large_vehicles(stage: Stage, street: Street) -> list[Thing]:
    """Returns at most one truck and one bus."""
    rng, things = stage.rng, []
    for kind, probability in (("truck", 0.5), ("bus", 0.55)):
        placed = not rng.chance(probability)
        for _ in range(4):
            d, turn = rng.pick(_lanes(street))
            z = rng.uniform(14.0, 26.0) if d == 0.0 else rng.uniform(11.0, 26.0)
            if rng.chance(0.25):
                # stopping at the curb
                d, turn = street.right.edge - 1.35, AHEAD
            if not placed:
                vehicle = _vehicle(stage, street, kind, d, z, turn)
                placed = bool(vehicle)
                things += vehicle
    return things


def _crossing(stage: Stage, street: Street, near: float, far: float) -> list[Thing]:
    """Returns crossing vehicles, people on the zebra crossing, and signals."""
    rng, things = stage.rng, []
    lanes = ((near + (far - near) * 0.28, TO_RIGHT), (near + (far - near) * 0.72, TO_LEFT))
    for z, turn in lanes:
        d = rng.uniform(-12.0, -6.0)
        while d < 14.0:
            if rng.chance(0.35):
                kind = rng.pick(("car", "car", "bus", "truck"))
                things += _vehicle(stage, street, kind, d, z, turn)
            d += rng.uniform(5.0, 9.0)
    for _ in range(rng.integer(0, 5)):
        d = rng.uniform(-street.left.edge, street.right.edge)
        z = near - rng.uniform(0.8, 3.0)
        if street.reserve(d, z, 0.3, 0.3):
            things.append(Thing(z, d, partial(paint_person, stage, d, z)))
    for side in street.sides:
        d = side.sign * (side.edge + 0.5)
        for z in (near - 4.2, far + 1.0):
            if z > 6 and rng.chance(0.75) and street.reserve(d, z, 0.3, 0.3):
                paint = partial(paint_traffic_light, stage, d, z, side.sign)
                things.append(Thing(z, d, paint))
    return things


def _two_wheelers(stage: Stage, street: Street) -> list[Thing]:
    """Returns riders in the lanes and across them, and two-wheelers parked at the curb."""
    rng, things = stage.rng, []
    for paint, riders, parked in ((paint_bicycle, 2, 3), (paint_motorcycle, 2, 2)):
        for _ in range(rng.integer(0, riders + 1)):
            d = rng.uniform(-street.left.edge + 0.8, street.right.edge - 0.8)
            z = rng.uniform(5.5, 15.0)
            stretch = rng.sign() * rng.uniform(0.4, 1.0)
            if street.reserve(d, z, 1.1 * abs(stretch), 0.6):
                things.append(Thing(z, d, partial(paint, stage, d, z, True, stretch)))
        if rng.chance(0.5):
            side = rng.pick(street.sides)
            z = rng.uniform(6.5, 16.0)
            for _ in range(rng.integer(1, parked + 1)):
                d = side.sign * (side.edge + 1.0)
                stretch = rng.sign() * rng.uniform(0.55, 1.0)
                if not side.crossing_at(z) and street.reserve(d, z, 1.0 * abs(stretch), 0.4):
                    things.append(Thing(z, d, partial(paint, stage, d, z, False, stretch)))
                z += rng.uniform(0.9, 1.6)
    return things


def _cars(stage: Stage, street: Street) -> list[Thing]:
    """Returns cars in the lanes and in the parking spaces."""
    rng, things = stage.rng, []
    density = rng.uniform(0.15, 0.7)
    for d, turn in _lanes(street):
        z = rng.uniform(9.0, 20.0) if d == 0.0 else rng.uniform(6.0, 14.0)
        while z < 75:
            if rng.chance(density):
                things += _vehicle(stage, street, "car", d + rng.uniform(-0.25, 0.25), z, turn)
            z += rng.uniform(7.0, 16.0)
    for side in street.sides:
        z, full = rng.uniform(4.5, 8.0), rng.uniform(0.4, 0.95)
        while side.parking and z < 70:
            if rng.chance(full) and not side.crossing_at(z - 3) and not side.crossing_at(z + 3):
                turn = AHEAD if side.sign > 0 else ONCOMING
                things += _vehicle(stage, street, "car", side.sign * (side.edge - 1.1), z, turn)
            z += rng.uniform(5.4, 7.0)
    return things


def _furniture(stage: Stage, street: Street, side: Side) -> list[Thing]:
    """Returns a line of lamps, trees, signs, signals, bollards and bins along the curb."""
    rng, things = stage.rng, []
    d = side.sign * (side.edge + 0.5)
    spacing, trees, lamps = rng.uniform(4.0, 7.5), rng.chance(0.45), rng.chance(0.7)
    z, count = rng.uniform(5.0, 10.0), 0
    while z < 80:
        count += 1
        if not side.crossing_at(z) and street.reserve(d, z, 0.35, 0.35):
            if lamps and count % 4 == 1:
                things.append(Thing(z, d, partial(paint_lamp, stage, d, z, side.sign)))
            elif trees and count % 2 == 0:
                height = rng.uniform(4.5, 8.0)
                shade_tree(stage, d, z, height)
                things.append(Thing(z, d, partial(paint_tree, stage, d, z, height)))
            elif rng.chance(0.7):
                paint = rng.pick(SMALL_FURNITURE)
                things.append(Thing(z, d, partial(paint, stage, d, z, side.sign)))
        z += spacing * rng.uniform(0.8, 1.25)
    return things


def _people(stage: Stage, street: Street, side: Side) -> list[Thing]:
    """Returns pedestrians on the sidewalk."""
    rng, things = stage.rng, []
    start, end = side.walk
    for _ in range(rng.integer(0, 10)):
        d = side.sign * rng.uniform(start + 0.3, max(end - 0.3, start + 0.4))
        z = rng.uniform(6.0, 18.0)
        if not side.crossing_at(z) and street.reserve(d, z, 0.35, 0.3):
            things.append(Thing(z, d, partial(paint_person, stage, d, z)))
    return things
