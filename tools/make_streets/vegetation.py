"""Trees and bushes: clumps of leaves, darker below and lighter above."""
from __future__ import annotations

from math import sqrt

from tools.make_streets.canvas import CONTACT_SHADOW, SUN_SHADOW
from tools.make_streets.labels import VEGETATION
from tools.make_streets.paint import BRICKS, GRAYS, LEAVES, color, lit
from tools.make_streets.stage import CIRCLE, Figure, Stage

CLUMPS = 16


def paint_tree(stage: Stage, d: float, z: float, height: float) -> None:
    """Paints a tree of a height in meters."""
    rng = stage.rng
    figure = Figure(stage, stage.pose(d, z))
    # radius of the crown
    crown = height * rng.uniform(0.2, 0.32)
    trunk = height - 1.7 * crown
    bark = figure.material(VEGETATION, color(rng, (BRICKS[3], GRAYS[0], GRAYS[1]), 10), 6)
    top = (rng.uniform(-0.2, 0.2), trunk + crown * 0.6)
    figure.limb((0.0, 0.0), top, height * 0.045, bark, height * 0.025)
    _paint_leaves(figure, 0.0, height - crown, crown, crown * rng.uniform(0.8, 1.2))
    figure.finish()


def paint_bush(stage: Stage, d: float, z: float, size: float) -> None:
    """Paints a bush of a height in meters."""
    figure = Figure(stage, stage.pose(d, z))
    _paint_leaves(figure, 0.0, size * 0.5, size, size * 0.5)
    figure.finish()


def shade_tree(stage: Stage, d: float, z: float, height: float) -> None:
    """Adds the shadow of a tree: around the trunk, and in sunshine that of the crown."""
    light = stage.light
    length = light.shadow_length * height * 0.7
    radius = height * 0.25
    trunk = [(d + 0.5 * a, z + 0.5 * b) for a, b in CIRCLE]
    stage.canvas.shade(stage.camera.ground(trunk), CONTACT_SHADOW)
    if light.sun > 0.2:
        middle_d, middle_z = d - light.sun_x * length, z - light.sun_z * length
        outline = [(middle_d + radius * a, max(middle_z + radius * b, 1.0)) for a, b in CIRCLE]
        stage.canvas.shade(stage.camera.ground(outline), SUN_SHADOW)


def _paint_leaves(figure: Figure, along: float, up: float, wide: float, high: float) -> None:
    """Adds clumps of leaves within an ellipse, from its dark lower to its bright upper part."""
    rng, light = figure.stage.rng, figure.stage.light
    paint = color(rng, LEAVES, 12, stray=0.03)
    # from dark to bright
    tones = []
    for k in range(5):
        brightness = 0.62 + 0.12 * k + 0.2 * light.sun * k / 4
        tones.append(figure.material(VEGETATION, lit(paint, brightness), 15))
    figure.disc((along, up), wide * 0.8, high * 0.8, tones[1])
    for k in range(CLUMPS):
        b = -0.85 + 1.7 * k / CLUMPS + rng.uniform(-0.15, 0.15)
        # the ellipse at height b is sqrt(1 - b^2) wide
        limit = sqrt(1.0 - min(b * b, 0.95))
        a = rng.uniform(-limit, limit)
        size = rng.uniform(0.22, 0.42)
        tone = min(max(int(2.4 + 1.8 * b + rng.uniform(-1.0, 1.0)), 0), 4)
        center = (along + a * wide * 0.85, up + b * high * 0.8)
        figure.disc(center, size * wide, size * high * 0.8, tones[tone])
