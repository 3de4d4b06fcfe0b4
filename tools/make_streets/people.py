"""Pedestrians, bicycles and motorcycles, with and without riders."""
from __future__ import annotations

from tools.make_streets.canvas import CONTACT_SHADOW, VEIL_OF_BICYCLE
from tools.make_streets.labels import BICYCLE, MOTORCYCLE, PERSON, RIDER
from tools.make_streets.paint import BRICKS, CLOTHES, GRAYS, LACQUERS, SIGNALS, SKINS, color, lit
from tools.make_streets.stable_random import Color
from tools.make_streets.stage import CIRCLE, Figure, Point, Stage

HAIR: tuple[Color, ...] = ((40, 34, 30), (84, 62, 46), (140, 112, 78), (120, 118, 114))


def paint_person(stage: Stage, d: float, z: float) -> None:
    """Paints a pedestrian."""
    rng = stage.rng
    height = rng.uniform(1.2, 1.45) if rng.chance(0.12) else rng.uniform(1.6, 1.92)
    figure = Figure(stage, stage.pose(d, z), rng.sign() * rng.uniform(0.9, 1.2))
    coat, trousers = color(rng, CLOTHES, 14), color(rng, CLOTHES, 14)
    skin, hair = color(rng, SKINS, 10), rng.pick(HAIR)
    step, h = rng.uniform(0.02, 0.2), height
    legs = figure.material(PERSON, trousers)
    for sign, brightness in ((-1, 0.8), (1, 1.0)):
        leg = figure.material(PERSON, lit(trousers, brightness))
        foot = sign * step * h
        figure.limb((sign * 0.03 * h, 0.5 * h), (0.6 * foot, 0.26 * h), 0.11 * h, leg, 0.09 * h)
        figure.limb((0.6 * foot, 0.27 * h), (foot, 0.03 * h), 0.09 * h, leg, 0.06 * h)
        shoe = figure.material(PERSON, (40, 36, 34))
        figure.box(foot - 0.03 * h, foot + 0.08 * h, 0.0, 0.04 * h, shoe)
    swing = step * rng.uniform(0.4, 1.0) * h
    sleeve = figure.material(PERSON, lit(coat, 0.8))
    hand = (-0.12 * h - swing * 0.5, 0.48 * h)
    figure.limb((-0.1 * h, 0.8 * h), hand, 0.065 * h, sleeve, 0.05 * h)
    torso = figure.material(PERSON, coat)
    figure.shape([(-0.09 * h, 0.46 * h), (0.09 * h, 0.46 * h),
                  (0.125 * h, 0.81 * h), (-0.125 * h, 0.81 * h)], torso)
    if rng.chance(0.25):
        figure.shape([(-0.14 * h, 0.3 * h), (0.14 * h, 0.3 * h),
                      (0.09 * h, 0.52 * h), (-0.09 * h, 0.52 * h)], torso)
    else:
        figure.box(-0.085 * h, 0.085 * h, 0.45 * h, 0.5 * h, legs)
    along = 0.13 * h + swing * 0.5
    figure.limb((0.11 * h, 0.8 * h), (along, 0.48 * h), 0.065 * h, sleeve, 0.05 * h)
    figure.disc((along, 0.46 * h), 0.025 * h, 0.03 * h, figure.material(PERSON, skin))
    if rng.chance(0.3):
        bag = figure.material(PERSON, color(rng, (*CLOTHES, *LACQUERS)))
        figure.box(0.08 * h, 0.2 * h, 0.3 * h, 0.46 * h, bag)
    _paint_head(figure, PERSON, 0.0, 0.91 * h, 0.065 * h, skin, hair)
    figure.finish()
    _contact_shadow(stage, d, z, 0.4, 0.25)


def _paint_head(figure: Figure, label: int, along: float, up: float, radius: float, skin: Color,
                hair: Color) -> None:
    neck, face = figure.material(label, lit(skin, 0.85)), figure.material(label, skin)
    figure.box(along - radius * 0.45, along + radius * 0.45, up - radius * 1.7, up, neck)
    figure.disc((along, up), radius, radius * 1.25, figure.material(label, hair))
    if figure.stage.rng.chance(0.65):
        figure.disc((along + radius * 0.15, up - radius * 0.3), radius * 0.72, radius * 0.9, face)


def _contact_shadow(stage: Stage, d: float, z: float, along: float, deep: float) -> None:
    """Adds an elliptic contact shadow."""
    outline = [(d + along * a, z + deep * b) for a, b in CIRCLE]
    stage.canvas.shade(stage.camera.ground(outline), CONTACT_SHADOW)


def paint_bicycle(stage: Stage, d: float, z: float, ridden: bool, stretch: float) -> None:
    """Paints a bicycle, with or without a rider.

    Args:
        stretch: foreshortening; 1 is seen from the side, and a negative one is mirrored.
    """
    rng = stage.rng
    figure = Figure(stage, stage.pose(d, z), stretch)
    paint = color(rng, (*LACQUERS, *SIGNALS), 12)
    frame, tire = figure.material(BICYCLE, paint), figure.material(BICYCLE, (38, 38, 40))
    spoke, back, front = figure.material(BICYCLE, (150, 152, 154)), (-0.55, 0.36), (0.55, 0.36)
    for hub in (back, front):
        figure.veil(hub, 0.36, VEIL_OF_BICYCLE)
        for a, b in CIRCLE[:6:2]:
            start = (hub[0] - 0.33 * a, hub[1] - 0.33 * b)
            end = (hub[0] + 0.33 * a, hub[1] + 0.33 * b)
            figure.limb(start, end, 0.012, spoke)
        figure.ring(hub, 0.36, 0.065, tire)
    crank, seat, head = (-0.05, 0.32), (-0.22, 0.86), (0.4, 0.84)
    bars = ((crank, seat), (seat, head), (head, crank), (back, crank), (back, seat), (head, front))
    for start, end in bars:
        figure.limb(start, end, 0.065, frame)
    bar = figure.material(BICYCLE, (46, 46, 48))
    figure.box(-0.36, -0.1, 0.88, 0.96, bar)
    figure.limb(head, (0.46, 1.04), 0.05, bar)
    figure.limb((0.46, 1.04), (0.32, 1.08), 0.05, bar)
    if rng.chance(0.4):
        figure.box(-0.75, -0.3, 0.74, 0.8, bar)
    if ridden:
        _paint_cyclist(figure, crank)
    figure.finish()
    _contact_shadow(stage, d, z, 0.2 + 0.6 * abs(stretch), 0.3)


def _paint_cyclist(figure: Figure, crank: Point) -> None:
    rng = figure.stage.rng
    trousers = color(rng, CLOTHES, 14)
    hip, lean = (-0.2, 0.98), rng.uniform(0.15, 0.4)
    shoe = figure.material(RIDER, (40, 36, 34))
    for sign, brightness in ((-1, 0.8), (1, 1.0)):
        pedal = (crank[0] + sign * 0.1, crank[1] + sign * 0.13)
        knee = (0.24, 0.72 + sign * 0.09)
        leg = figure.material(RIDER, lit(trousers, brightness))
        figure.limb(hip, knee, 0.19, leg, 0.14)
        figure.limb(knee, pedal, 0.14, leg, 0.1)
        figure.box(pedal[0] - 0.06, pedal[0] + 0.16, pedal[1] - 0.07, pedal[1] + 0.02, shoe)
    _paint_seated(figure, hip, (hip[0] + lean, 1.5), (0.4, 1.08), rng.chance(0.55))


def _paint_seated(figure: Figure, hip: Point, neck: Point, hands: Point, helmet: bool) -> None:
    """Adds trunk, arm and head of a rider."""
    rng = figure.stage.rng
    jacket = color(rng, (*CLOTHES, *SIGNALS, *SIGNALS), 14)
    figure.limb((hip[0], hip[1] - 0.1), neck, 0.3, figure.material(RIDER, jacket), 0.38)
    elbow = ((neck[0] + hands[0]) / 2 - 0.02, (neck[1] + hands[1]) / 2 - 0.12)
    sleeve = figure.material(RIDER, lit(jacket, 0.75))
    figure.limb((neck[0], neck[1] - 0.08), elbow, 0.13, sleeve, 0.11)
    figure.limb(elbow, hands, 0.11, sleeve, 0.09)
    head = (neck[0] + 0.08, neck[1] + 0.2)
    _paint_head(figure, RIDER, head[0], head[1], 0.12, color(rng, SKINS, 10), rng.pick(HAIR))
    if helmet:
        shell = figure.material(RIDER, color(rng, (*LACQUERS, *SIGNALS), 12))
        outline = [(head[0] + 0.16 * a, head[1] + 0.03 + 0.16 * b) for a, b in CIRCLE[:7]]
        figure.shape(outline, shell)


def paint_motorcycle(stage: Stage, d: float, z: float, ridden: bool, stretch: float) -> None:
    """Paints a motorcycle or scooter, as `paint_bicycle` does."""
    rng = stage.rng
    figure = Figure(stage, stage.pose(d, z), stretch)
    paint = color(rng, (*LACQUERS, *SIGNALS), 12)
    body, dark = figure.material(MOTORCYCLE, paint), figure.material(MOTORCYCLE, (38, 38, 42))
    metal = figure.material(MOTORCYCLE, (140, 142, 146))
    hub = figure.material(MOTORCYCLE, (96, 98, 102))
    for along in (-0.72, 0.74):
        figure.disc((along, 0.33), 0.33, 0.33, dark)
        figure.disc((along, 0.33), 0.19, 0.19, hub)
    figure.shape([(-0.45, 0.28), (0.4, 0.24), (0.45, 0.62), (-0.4, 0.66)], metal)
    figure.shape([(-0.3, 0.36), (0.28, 0.32), (0.26, 0.52), (-0.26, 0.54)], dark)
    figure.limb((-0.9, 0.36), (-0.2, 0.3), 0.12, metal)
    figure.limb((0.74, 0.33), (0.46, 1.02), 0.12, metal)
    figure.shape([(-1.0, 0.72), (-0.3, 0.6), (0.1, 0.62), (0.05, 0.84), (-0.95, 0.9)], body)
    figure.shape([(-0.95, 0.84), (0.0, 0.78), (-0.02, 0.92), (-0.9, 0.98)], dark)
    figure.shape([(-0.02, 0.66), (0.42, 0.62), (0.5, 0.92), (0.3, 1.04), (0.0, 0.98)], body)
    figure.shape([(0.44, 0.78), (0.68, 0.84), (0.66, 1.04), (0.48, 1.1)], body)
    figure.disc((0.68, 0.94), 0.08, 0.1, figure.material(MOTORCYCLE, (232, 230, 214)))
    figure.box(0.98, 1.0, 0.4, 0.42, dark)
    figure.limb((0.48, 1.06), (0.36, 1.2), 0.06, dark)
    screen = figure.material(MOTORCYCLE, (120, 130, 140))
    figure.shape([(0.5, 1.08), (0.66, 1.04), (0.56, 1.34), (0.5, 1.34)], screen)
    figure.shape([(0.42, 0.6), (1.08, 0.5), (0.98, 0.68), (0.56, 0.72)], body)
    if ridden:
        trousers = figure.material(RIDER, color(rng, (*CLOTHES, BRICKS[3], GRAYS[0]), 14))
        figure.limb((-0.3, 0.96), (0.16, 0.7), 0.22, trousers, 0.17)
        figure.limb((0.16, 0.7), (-0.05, 0.3), 0.17, trousers, 0.12)
        figure.box(-0.12, 0.16, 0.22, 0.32, figure.material(RIDER, (36, 34, 34)))
        neck = (-0.1 + rng.uniform(0.0, 0.2), 1.56)
        _paint_seated(figure, hip=(-0.32, 0.98), neck=neck, hands=(0.38, 1.2), helmet=True)
    figure.finish()
    _contact_shadow(stage, d, z, 0.25 + 0.9 * abs(stretch), 0.35)
