"""One scene: plan the street, paint from far to near, render."""
from __future__ import annotations

from functools import partial

import numpy as np

from tools.make_streets.barriers import Barrier, paint_barrier
from tools.make_streets.buildings import House, paint_house, shade_house
from tools.make_streets.camera import Camera
from tools.make_streets.canvas import Canvas
from tools.make_streets.labels import EGO_VEHICLE
from tools.make_streets.light import Light, photograph
from tools.make_streets.paint import LACQUERS, color, lit
from tools.make_streets.stable_random import StableRandom
from tools.make_streets.stage import Stage
from tools.make_streets.street import Lot, Side, Street
from tools.make_streets.surfaces import paint_backdrop, paint_ground, paint_markings
from tools.make_streets.traffic import Thing, far_to_near, traffic
from tools.make_streets.vegetation import paint_bush, paint_tree

SMALLEST = 16
# to be increased whenever the same seed and index draw another scene
VERSION = 1


def draw(seed: int, index: int, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Draws one street scene, a function of its arguments alone.

    Args:
        seed, index: not negative; each pair gives another scene.
        size: (height, width) in pixels. Another size shows the same scene.

    Returns:
        Image (height, width, 3) uint8 RGB, and Cityscapes label ids (height, width) uint8. Labels
        are bit-equal on every machine; gray levels of the image may differ by 2.

    Raises:
        ValueError: seed or index is negative, or a side is shorter than 16 pixels.
    """
    height, width = size
    if min(size) < SMALLEST:
        raise ValueError(f"a street scene needs at least {SMALLEST}x{SMALLEST} pixels, got "
                         f"{height}x{width}")
    rng = StableRandom(seed, index)
    stage = Stage(Camera.sample(rng, height, width), Canvas(height, width), Light.sample(rng), rng)
    street = Street.sample(rng)
    paint_backdrop(stage)
    paint_ground(stage, street)
    paint_markings(stage, street)
    things = traffic(stage, street)
    for side in street.sides:
        things += [thing for lot in side.lots for thing in _border(stage, side, lot)]
        if side.railing != "none":
            things += _railing(stage, side)
    for thing in far_to_near(things):
        thing.paint()
    _paint_hood(stage)
    noise = StableRandom(seed, index, height, width)
    image = photograph(stage.canvas, stage.camera, stage.light, noise)
    return image, stage.canvas.label_ids()


def _border(stage: Stage, side: Side, lot: Lot) -> list[Thing]:
    """Returns the house, the plants and the barrier of a lot.

    Their distance is the far end of the lot, so that everything in front of it is painted later.
    """
    things: list[Thing] = []
    if lot.kind == "crossing":
        return things
    if lot.kind != "park":
        things.append(_house(stage, side, lot))
    if lot.kind != "building":
        things += _plants(stage, side, lot)
    if lot.border != "none":
        d = side.sign * side.border
        barrier = Barrier.sample(stage.rng, lot.border, stage.rng.uniform(1.1, 2.4))
        paint = partial(paint_barrier, stage, barrier, side.sign, d, lot.near, lot.far)
        things.append(Thing(lot.far, d, paint))
    return things


def _house(stage: Stage, side: Side, lot: Lot) -> Thing:
    """Returns the house of a lot, and adds its shadow. A low house stands back from the street."""
    rng, sign = stage.rng, side.sign
    d = sign * side.border
    is_low = lot.kind == "house"
    house = House.sample(rng, low=is_low)
    back, near, far = 0.0, lot.near, lot.far
    if is_low:
        back = rng.uniform(3.0, 7.0)
        near += rng.uniform(0.5, 2)
        far -= rng.uniform(0.5, 2)
    facade = d + sign * back
    shade_house(stage, house, facade, near, far)
    return Thing(lot.far + 0.4, d, partial(paint_house, stage, house, sign, facade, near, far))


def _plants(stage: Stage, side: Side, lot: Lot) -> list[Thing]:
    """Returns the trees and bushes of a lot."""
    rng, things = stage.rng, []
    is_park = lot.kind == "park"
    for k in range(rng.integer(1, 5) if is_park else rng.integer(0, 3)):
        z = rng.uniform(lot.near, lot.far)
        back = rng.uniform(1.5, 14) if is_park else rng.uniform(1.0, 3.0)
        d = side.sign * (side.border + back)
        if k % 3:
            paint = partial(paint_tree, stage, d, z, rng.uniform(4, 9))
        else:
            paint = partial(paint_bush, stage, d, z, rng.uniform(0.8, 2.0))
        distance = lot.far + 0.2 + 0.001 * (z - lot.near)
        things.append(Thing(distance, side.sign * side.border, paint))
    return things


def _railing(stage: Stage, side: Side) -> list[Thing]:
    """Returns a fence or a low wall between roadway and sidewalk, open at a crossing."""
    d, z, step, things = side.sign * (side.edge + 0.25), 3.0, 3.0, []
    barrier = Barrier.sample(stage.rng, side.railing, stage.rng.uniform(0.8, 1.15))
    while z < 60:
        if not side.crossing_at(z) and not side.crossing_at(z + step):
            paint = partial(paint_barrier, stage, barrier, side.sign, d, z, z + step)
            things.append(Thing(z + step / 2, d, paint))
        z += step
    return things


def _paint_hood(stage: Stage) -> None:
    """Paints the hood of the car that carries the camera, in some scenes."""
    rng, camera = stage.rng, stage.camera
    if rng.chance(0.6):
        return
    height, width = camera.image_height, camera.image_width
    rise, paint = height * rng.uniform(0.03, 0.1), color(rng, LACQUERS)
    shape = ((-0.6, 1.2), (-0.45, 0.4), (-0.25, 0.08), (0.0, 0.0),
             (0.25, 0.08), (0.45, 0.4), (0.6, 1.2))
    for scale, brightness in ((1.0, 0.5), (0.82, 0.8)):
        material = stage.canvas.material(EGO_VEHICLE, lit(paint, brightness), 0.0)
        top = height - rise * scale
        outline = [(width * (0.5 + a * scale), top + rise * scale * b) for a, b in shape]
        stage.canvas.paint(np.array(outline), [len(outline)], [material])
