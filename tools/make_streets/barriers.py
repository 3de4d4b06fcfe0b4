"""Walls, fences and hedges along the street."""
from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from tools.make_streets.labels import FENCE, VEGETATION, WALL
from tools.make_streets.paint import BRICKS, GRAYS, LACQUERS, LEAVES, color, lit
from tools.make_streets.stable_random import Color, StableRandom
from tools.make_streets.stage import Stage, paint_plane

TEXELS = 12.0               # per meter
GAP, BAR, POST = range(3)
FACE, JOINT, COPING = range(3)
LABELS = {"wall": WALL, "fence": FENCE, "hedge": VEGETATION}
Texture = tuple[np.ndarray, tuple[Color, ...]]


@dataclass(frozen=True)
class Barrier:
    """The look of a barrier.

    Args:
        texture: (rows, columns) of indices into `colors`, rows upwards; repeated along the street.
        grain: strength of the texture of its materials in gray levels.
    """

    label: int
    texture: np.ndarray
    colors: tuple[Color, ...]
    grain: float

    @staticmethod
    def sample(rng: StableRandom, kind: str, height: float) -> Barrier:
        """Returns a random wall, fence or hedge of a height in meters."""
        draw_texture = {"wall": _wall, "fence": _fence, "hedge": _hedge}[kind]
        texture, colors = draw_texture(rng, int(height * TEXELS))
        return Barrier(LABELS[kind], texture, colors, 12.0 if kind == "hedge" else 3.5)


def paint_barrier(stage: Stage, barrier: Barrier, sign: int, d: float, near: float,
                  far: float) -> None:
    """Paints a barrier at d on one side of the street, following the curve."""
    brightness = stage.light.facing(-sign, 0.0)
    pieces = max(int((far - near) / 7), 1)
    stations = [near + (far - near) * k / pieces for k in range(pieces + 1)]
    for start, end in reversed(list(pairwise(stations))):
        distance = (start + end) / 2
        swatch = [
            stage.canvas.material(barrier.label, lit(paint, brightness), distance, barrier.grain)
            for paint in barrier.colors]
        ends = stage.camera.ground_point(d, start), stage.camera.ground_point(d, end)
        paint_plane(stage, ends, barrier.texture, np.array(swatch, np.uint16), TEXELS,
                    see_through=barrier.label == FENCE)


def _wall(rng: StableRandom, rows: int) -> Texture:
    """Courses of bricks or large concrete panels, with a coping."""
    paint = color(rng, (*BRICKS, *GRAYS), 12)
    joint = lit(paint, rng.pick((0.65, 1.35)))
    if rng.chance(0.6):
        texture = np.zeros((rows, 12), np.uint8)
        texture[::3, :] = JOINT
        for course in range(0, rows, 3):
            texture[course : course + 3, 0 if course % 2 else 6] = JOINT
    else:
        texture = np.zeros((rows, 30), np.uint8)
        texture[:, :2] = JOINT
        texture[rows // 2, :] = JOINT
    texture[-3:, :] = COPING
    return texture, (paint, joint, lit(paint, rng.pick((0.75, 1.25))))


def _fence(rng: StableRandom, rows: int) -> Texture:
    """Upright bars, wire mesh or wooden boards between posts."""
    texture = np.zeros((rows, 30), np.uint8)
    style = rng.integer(0, 3)
    if style == 0:
        texture[:, ::3] = BAR
        texture[[2, -3], :] = BAR
    elif style == 1:
        for row in range(rows):
            texture[row, (row + 5 * np.arange(6)) % 30] = BAR
            texture[row, (-row + 5 * np.arange(6)) % 30] = BAR
        texture[-1, :] = BAR
    else:
        for left in range(0, 30, 5):
            texture[:, left : left + 3] = BAR
        texture[[3, 4, -5, -4], :] = BAR
    texture[:, :2] = POST
    paint = color(rng, (*LACQUERS, *BRICKS, *GRAYS, *LEAVES), 12)
    return texture, (paint, paint, lit(paint, 0.8))


def _hedge(rng: StableRandom, rows: int) -> Texture:
    """Tufts of leaves, light above and dark below."""
    rows, columns = rows // 2 * 2, 48
    tufts = (rng.units(rows // 2 * columns // 2) * 3).astype(np.uint8)
    tufts = tufts.reshape(rows // 2, columns // 2)
    texture = tufts.repeat(2, axis=0).repeat(2, axis=1)
    paint = color(rng, LEAVES, 10, stray=0.03)
    return texture, (paint, lit(paint, 0.75), lit(paint, 1.2))
