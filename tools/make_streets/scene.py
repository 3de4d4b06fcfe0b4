"""One scene from first to last: plan, paint from far to near, photograph."""
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
VERSION = 1                                                  # of the scenes: another drawing, another number


def draw(seed: int, index: int, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Draws one street scene, a function of its arguments alone.

    Args:
        seed, index: not negative; one scene for each pair. The size changes the camera's pixels, not the scene.
        size: (height, width) in pixels.

    Returns:
        Image (height, width, 3) uint8 RGB, and Cityscapes label ids (height, width) uint8. Labels are the same bits on
        every machine; the image's gray levels may differ by 2.

    Raises:
        ValueError: when seed or index is negative or a side is shorter than 16 pixels.
    """
    height, width = size
    if min(size) < SMALLEST:
        raise ValueError(f"a street scene needs at least {SMALLEST}x{SMALLEST} pixels, got {height}x{width}")
    dice = StableRandom(seed, index)
    stage = Stage(Camera.drawn(dice, height, width), Canvas(height, width), Light.drawn(dice), dice)
    street = Street.drawn(dice)
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
    _paint_own_hood(stage)
    image = photograph(stage.canvas, stage.camera, stage.light, StableRandom(seed, index, height, width))
    return image, stage.canvas.label_ids()


def _border(stage: Stage, side: Side, lot: Lot) -> list[Thing]:
    """A lot's things. Its far end counts as their distance: what stands in front of the lot is painted later."""
    if lot.kind == "crossing":
        return []
    dice, sign, things = stage.dice, side.sign, []
    d = sign * side.border
    if lot.kind != "park":
        house = House.drawn(dice, low=lot.kind == "house")
        back = dice.uniform(3.0, 7.0) if lot.kind == "house" else 0.0
        near, far = (lot.near + dice.uniform(0.5, 2), lot.far - dice.uniform(0.5, 2)) if back else (lot.near, lot.far)
        shade_house(stage, house, d + sign * back, near, far)
        things.append(Thing(lot.far + 0.4, d, partial(paint_house, stage, house, sign, d + sign * back, near, far)))
    if lot.kind != "building":
        for k in range(dice.integer(1, 5) if lot.kind == "park" else dice.integer(0, 3)):
            z = dice.uniform(lot.near, lot.far)
            where = sign * (side.border + (dice.uniform(1.5, 14) if lot.kind == "park" else dice.uniform(1.0, 3.0)))
            paint, tall = (paint_tree, dice.uniform(4, 9)) if k % 3 else (paint_bush, dice.uniform(0.8, 2.0))
            things.append(Thing(lot.far + 0.2 + 0.001 * (z - lot.near), d, partial(paint, stage, where, z, tall)))
    if lot.border != "none":
        barrier = Barrier.drawn(dice, lot.border, dice.uniform(1.1, 2.4))
        things.append(Thing(lot.far, d, partial(paint_barrier, stage, barrier, sign, d, lot.near, lot.far)))
    return things


def _railing(stage: Stage, side: Side) -> list[Thing]:
    """A fence or a low wall between carriageway and pavement, open where a street crosses."""
    d, z, step, things = side.sign * (side.edge + 0.25), 3.0, 3.0, []
    barrier = Barrier.drawn(stage.dice, side.railing, stage.dice.uniform(0.8, 1.15))
    while z < 60:
        if not side.crossing_at(z) and not side.crossing_at(z + step):
            things.append(Thing(z + step / 2, d, partial(paint_barrier, stage, barrier, side.sign, d, z, z + step)))
        z += step
    return things


def _paint_own_hood(stage: Stage) -> None:
    """The hood of the car that carries the camera, in some scenes."""
    dice, camera = stage.dice, stage.camera
    if dice.chance(0.6):
        return
    height, width = camera.image_height, camera.image_width
    rise, paint = height * dice.uniform(0.03, 0.1), color(dice, LACQUERS)
    for share, brightness in ((1.0, 0.5), (0.82, 0.8)):
        material = stage.canvas.material(EGO_VEHICLE, lit(paint, brightness), 0.0)
        top = height - rise * share
        outline = [(width * (0.5 + a * share), top + rise * share * b) for a, b in
                   ((-0.6, 1.2), (-0.45, 0.4), (-0.25, 0.08), (0.0, 0.0), (0.25, 0.08), (0.45, 0.4), (0.6, 1.2))]
        stage.canvas.paint(np.array(outline), [len(outline)], [material])
