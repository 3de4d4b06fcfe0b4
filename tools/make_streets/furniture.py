"""Street furniture: lamp posts, traffic lights, signs, masts, bollards, bins."""
from __future__ import annotations

from tools.make_streets.canvas import CONTACT_SHADOW
from tools.make_streets.labels import POLE, STATIC, TRAFFIC_LIGHT, TRAFFIC_SIGN
from tools.make_streets.paint import BRICKS, GRAYS, LACQUERS, LEAVES, SIGNALS, color, lit
from tools.make_streets.stable_random import Color
from tools.make_streets.stage import CIRCLE, Figure, Stage

TRIANGLE = ((0.0, 1.0), (-0.9, -0.6), (0.9, -0.6))
OCTAGON = tuple(CIRCLE[k] for k in (0, 1, 3, 4, 6, 7, 9, 10))
DIAMOND = ((1.0, 0.0), (0.0, 1.0), (-1.0, 0.0), (0.0, -1.0))
SQUARE = ((0.8, 0.8), (-0.8, 0.8), (-0.8, -0.8), (0.8, -0.8))


def _post(figure: Figure, height: float, width: float) -> int:
    """Adds a post of a height in meters and returns its material."""
    stage = figure.stage
    metal = figure.material(POLE, color(stage.rng, (*GRAYS, *GRAYS, LEAVES[2], BRICKS[3]), 12))
    width = max(width, 0.005 * stage.camera.image_width / stage.camera.scale(figure.pose.z))
    figure.box(-width / 2, width / 2, 0.0, height, metal)
    return metal


def paint_lamp(stage: Stage, d: float, z: float, sign: int) -> None:
    """Paints a lamp post with an arm over the street."""
    rng = stage.rng
    figure = Figure(stage, stage.pose(d, z), -sign)
    height = rng.uniform(5.5, 9.0)
    metal = _post(figure, height, 0.24)
    figure.box(-0.18, 0.18, 0.0, 0.9, metal)
    arm = rng.uniform(0.8, 2.4)
    figure.limb((0.0, height - 0.1), (arm, height + 0.3), 0.12, metal)
    figure.box(arm - 0.1, arm + 0.7, height + 0.2, height + 0.4, metal)
    figure.finish()


def paint_mast(stage: Stage, d: float, z: float, sign: int, length: float) -> None:
    """Paints a mast whose arm of a length in meters holds the overhead wire of a tram."""
    figure = Figure(stage, stage.pose(d, z), -sign)
    metal = _post(figure, 6.6, 0.26)
    figure.limb((0.0, 5.9), (length, 5.9), 0.1, metal)
    figure.limb((0.0, 6.5), (length * 0.7, 5.95), 0.07, metal)
    figure.finish()


def paint_bollard(stage: Stage, d: float, z: float, sign: int) -> None:
    figure = Figure(stage, stage.pose(d, z), -sign)
    _post(figure, 0.95, 0.16)
    figure.finish()


def paint_bin(stage: Stage, d: float, z: float, sign: int) -> None:
    figure = Figure(stage, stage.pose(d, z), -sign)
    body = color(stage.rng, (*LACQUERS, *LEAVES), 12)
    figure.box(-0.3, 0.3, 0.0, 0.95, figure.material(STATIC, body))
    figure.box(-0.34, 0.34, 0.95, 1.1, figure.material(STATIC, lit(body, 0.7)))
    figure.finish()
    shadow = [(d + 0.5 * a, z + 0.3 * b) for a, b in CIRCLE]
    stage.canvas.shade(stage.camera.ground(shadow), CONTACT_SHADOW)


def paint_traffic_light(stage: Stage, d: float, z: float, sign: int) -> None:
    """Paints a signal beside the street, and sometimes a second one on an arm above it."""
    rng = stage.rng
    figure = Figure(stage, stage.pose(d, z), -sign)
    lamp = rng.integer(0, 3)
    housings = ((46, 48, 50), (60, 66, 60), (120, 112, 60), (96, 98, 100))
    housing = color(rng, housings, 8)
    if rng.chance(0.55):
        arm = rng.uniform(2.0, 4.5)
        metal = _post(figure, 5.9, 0.24)
        figure.limb((0.0, 5.7), (arm, 5.9), 0.16, metal)
        _signal(figure, arm, 5.2, 1.25, housing, lamp)
    else:
        _post(figure, 3.6, 0.2)
    _signal(figure, 0.0, 3.1, 1.1, housing, lamp)
    figure.finish()


def _signal(figure: Figure, along: float, up: float, half: float, housing: Color,
            lamp: int) -> None:
    """Adds three lamps in a housing; number `lamp` from the top is lit."""
    half *= 0.62
    board = figure.material(TRAFFIC_LIGHT, lit(housing, 0.7))
    body = figure.material(TRAFFIC_LIGHT, housing)
    figure.box(along - half * 0.52, along + half * 0.52, up - half, up + half, board)
    figure.box(along - half * 0.4, along + half * 0.4, up - half * 0.9, up + half * 0.9, body)
    lights = ((240, 60, 44), (244, 186, 60), (80, 232, 150))
    for k, light in enumerate(lights):
        glow = light if k == lamp else lit(light, 0.22)
        lens = figure.material(TRAFFIC_LIGHT, glow, 0.0)
        figure.disc((along, up + half * (0.58 - 0.58 * k)), half * 0.27, half * 0.27, lens)


def paint_sign(stage: Stage, d: float, z: float, sign: int) -> None:
    """Paints one or two plates on a post, or a large board on two posts."""
    rng = stage.rng
    figure = Figure(stage, stage.pose(d, z), -sign)
    if rng.chance(0.2):
        _direction_board(figure)
    else:
        height = rng.uniform(2.3, 3.0)
        _post(figure, height, 0.16)
        _plate(figure, height, rng.uniform(0.42, 0.6))
        if rng.chance(0.4):
            _plate(figure, height - 1.05, rng.uniform(0.36, 0.46))
    figure.finish()


def _plate(figure: Figure, up: float, radius: float) -> None:
    rng = figure.stage.rng
    outline = rng.pick((CIRCLE, TRIANGLE, OCTAGON, DIAMOND, SQUARE))
    ground, rim = rng.pick(SIGNALS), rng.pick(SIGNALS)
    if rng.chance(0.15):
        # seen from behind
        ground = rim = rng.pick(GRAYS)
    layers = ((1.0, rim), (0.76, ground)) if rim != ground else ((1.0, lit(rim, 1.3)), (0.88, rim))
    for scale, paint in layers:
        material = figure.material(TRAFFIC_SIGN, color(rng, (paint,), 10))
        figure.shape([(a * radius * scale, up + b * radius * scale) for a, b in outline], material)
    symbol = figure.material(TRAFFIC_SIGN, lit(ground, 0.25 if sum(ground) > 330 else 2.2))
    wide, high = rng.pick(((0.5, 0.13), (0.13, 0.42), (0.3, 0.3)))
    if ground != rim:
        figure.box(-wide * radius, wide * radius, up - high * radius, up + high * radius, symbol)


def _direction_board(figure: Figure) -> None:
    rng = figure.stage.rng
    width, low, high = rng.uniform(1.0, 1.7), rng.uniform(2.2, 2.8), rng.uniform(3.6, 4.4)
    metal = _post(figure, low, 0.01)
    for along in (-width * 0.6, width * 0.6):
        figure.box(along - 0.09, along + 0.09, 0.0, low, metal)
    ground = color(rng, SIGNALS, 10)
    script = figure.material(TRAFFIC_SIGN, lit(ground, 0.3 if sum(ground) > 360 else 2.0))
    figure.box(-width, width, low, high, script)
    board = figure.material(TRAFFIC_SIGN, ground)
    figure.box(-width + 0.06, width - 0.06, low + 0.06, high - 0.06, board)
    for k in range(3):
        up = high - 0.35 - 0.42 * k
        figure.box(-width * 0.75, width * rng.uniform(-0.1, 0.7), up - 0.09, up + 0.09, script)
