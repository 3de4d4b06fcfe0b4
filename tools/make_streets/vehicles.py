"""Cars, trucks, buses and trams: blocks whose faces carry windows, doors, wheels and lamps."""
from __future__ import annotations

from itertools import pairwise

from tools.make_streets.bodies import Body, upright
from tools.make_streets.labels import BUS, CAR, TRAIN, TRUCK
from tools.make_streets.paint import GRAYS, LACQUERS, LIVERIES, color, lit, mix
from tools.make_streets.stable_random import Color
from tools.make_streets.stage import Pose, Stage

GLASS: Color = (54, 62, 72)
TAIL_LAMP: Color = (176, 36, 34)
HEAD_LAMP: Color = (232, 230, 214)
SIDES = ("left", "right")
# length, width, height, length of trunk and hood, and lean of the rear window, in meters
CAR_SHAPES = (
    (4.0, 1.75, 1.48, 0.15, 1.0, 0.35),
    (4.6, 1.8, 1.44, 0.8, 1.15, 0.55),
    (4.4, 1.85, 1.68, 0.1, 1.05, 0.25),
    (4.2, 1.78, 1.5, 0.2, 1.0, 0.45),
    (4.7, 1.9, 1.95, 0.05, 0.8, 0.12),
)


def paint_car(stage: Stage, pose: Pose) -> None:
    """Paints a hatchback, sedan, sport utility car or van."""
    rng = stage.rng
    length, width, height, trunk, hood, rake = rng.pick(CAR_SHAPES)
    grow = rng.uniform(0.94, 1.08)
    length, width, height = length * grow, width * grow, height * grow
    rear, front, belt = -length / 2, length / 2, 0.6 * height
    paint = color(rng, LACQUERS, 12)
    body = Body(stage, pose, CAR)
    body.tires(width * 0.96, 0.3, rear + 0.25, front - 0.25)
    hull = body.block(width, 0.24, belt, rear, front, paint, (0.1, 0.12, 0.04))
    dark = body.material(lit(paint, 0.45))
    for side in SIDES:
        body.panel(hull[side], 0.49, 0.5, 0.15, 0.98, dark)
        body.panel(hull[side], 0.0, 1.0, 0.0, 0.13, dark)
    body.wheels(width, 0.33, (rear + 0.8, front - 0.85))
    for side, lamp in (("rear", TAIL_LAMP), ("front", HEAD_LAMP)):
        body.panel(hull[side], 0.0, 1.0, 0.0, 0.22, dark)
        body.lamps(hull[side], lamp, 0.55, 0.82)
        body.panel(hull[side], 0.36, 0.64, 0.3, 0.48, body.material((214, 212, 200), side))
    body.panel(hull["front"], 0.25, 0.75, 0.52, 0.74, dark)
    glass = mix(GLASS, (150, 164, 178), rng.uniform(0.0, 0.5))
    lean = (rake, 0.75, 0.16)
    cabin = body.block(width - 0.1, belt, height, rear + trunk, front - hood, paint, lean)
    for side in SIDES:
        pane = body.material(glass, side)
        body.windows(cabin[side], 0.05, 0.95, 0.1, 0.86, 2, 0.04, pane)
    body.panel(cabin["rear"], 0.07, 0.93, 0.12, 0.88, body.material(glass, "rear"))
    body.panel(cabin["front"], 0.05, 0.95, 0.06, 0.92, body.material(glass, "front"))
    body.finish()


def paint_bus(stage: Stage, pose: Pose) -> None:
    """Paints a city bus, sometimes with an upper deck."""
    rng = stage.rng
    double = rng.chance(0.2)
    length, width = rng.uniform(9.5, 12.0), 2.55
    height = 4.2 if double else rng.uniform(2.95, 3.2)
    rear, front = -length / 2, length / 2
    paint, band = color(rng, LIVERIES, 12), color(rng, (*LIVERIES, *GRAYS), 12)
    glass = mix(GLASS, (140, 154, 168), rng.uniform(0.0, 0.4))
    decks = ((0.30, 0.47), (0.66, 0.86)) if double else ((0.42, 0.78),)
    body = Body(stage, pose, BUS)
    body.tires(width * 0.96, 0.45, rear + 0.3, front - 0.3)
    hull = body.block(width, 0.32, height, rear, front, paint, (0.04, 0.1, 0.06))
    dark = body.material((40, 42, 46))
    for side in SIDES:
        body.panel(hull[side], 0.0, 1.0, 0.0, 0.16, body.material(band, side))
        for low, high in decks:
            body.panel(hull[side], 0.02, 0.98, low - 0.02, high + 0.02, dark)
            pane = body.material(glass, side)
            body.windows(hull[side], 0.025, 0.975, low, high, 7, 0.018, pane)
    door = body.material(lit(glass, 0.7), "right")
    for left in (0.07, 0.5, 0.84):
        body.panel(hull["right"], left, left + 0.1, 0.03, decks[0][1], door)
    body.wheels(width, 0.48, (rear + 2.4, front - 2.6))
    for low, high in decks:
        body.panel(hull["rear"], 0.1, 0.9, low + 0.06, high, body.material(glass, "rear"))
        body.panel(hull["front"], 0.04, 0.96, low - 0.1, high + 0.02, body.material(glass, "front"))
    body.panel(hull["rear"], 0.2, 0.8, 0.06, 0.26, dark)
    body.lamps(hull["rear"], TAIL_LAMP, 0.12, 0.3, 0.1)
    body.lamps(hull["front"], HEAD_LAMP, 0.06, 0.16, 0.16)
    # mirrors
    for left in (-1.5, 1.3):
        body.faces.append((upright(left, left + 0.2, 1.75, 2.45, front + 0.1, -1), dark))
        body.faces.append((upright(left, left + 0.2, 1.75, 2.45, front + 0.1, 1), dark))
    amber = body.material((226, 168, 64), grain=0.0)
    for side in ("front", "rear"):
        body.panel(hull[side], 0.15, 0.85, 0.86, 0.96, dark)
        body.panel(hull[side], 0.22, 0.7, 0.885, 0.935, amber)
    body.finish()


def paint_truck(stage: Stage, pose: Pose) -> None:
    """Paints a truck with a box, a curtained load, a ribbed container or a tipper."""
    rng = stage.rng
    kind = rng.pick(("box", "curtain", "container", "tipper"))
    cargo, width = rng.uniform(4.8, 7.2), 2.5
    height = rng.uniform(2.0, 2.4) if kind == "tipper" else rng.uniform(3.3, 3.9)
    cab, gap = rng.uniform(1.9, 2.3), rng.uniform(0.35, 0.6)
    length = cargo + gap + cab
    rear, front = -length / 2, length / 2
    body = Body(stage, pose, TRUCK)
    body.tires(width * 0.96, 0.48, rear + 0.2, front - 0.2)
    body.block(width * 0.8, 0.55, 1.0, rear + 0.1, front - 0.2, (52, 52, 54))
    # the nearer part is painted last; of a truck that drives away from the camera, this is the load
    drives_away = pose.z * pose.heading_z + pose.x * pose.heading_x > 0
    if drives_away:
        _paint_cab(body, front - cab, front)
    _paint_load(body, kind, rear, rear + cargo, height)
    if not drives_away:
        _paint_cab(body, front - cab, front)
    body.wheels(width, 0.5, (rear + 1.0, rear + 2.1, front - 1.1))
    body.finish()


def _paint_cab(body: Body, rear: float, front: float) -> None:
    """Adds the cab of a truck."""
    rng = body.stage.rng
    paint = color(rng, LACQUERS, 12)
    cab = body.block(2.4, 0.45, rng.uniform(2.6, 3.1), rear, front, paint, (0.0, 0.22, 0.06))
    glass = mix(GLASS, (150, 164, 178), rng.uniform(0.0, 0.5))
    for side, (left, right) in (("left", (0.1, 0.62)), ("right", (0.38, 0.9))):
        body.panel(cab[side], left, right, 0.5, 0.84, body.material(glass, side))
    body.panel(cab["front"], 0.06, 0.94, 0.46, 0.84, body.material(glass, "front"))
    body.panel(cab["front"], 0.2, 0.8, 0.16, 0.38, body.material((44, 44, 48)))
    body.panel(cab["front"], 0.0, 1.0, 0.0, 0.1, body.material((60, 60, 62)))
    body.lamps(cab["front"], HEAD_LAMP, 0.03, 0.13)


def _paint_load(body: Body, kind: str, rear: float, front: float, height: float) -> None:
    """Adds the load of a truck."""
    rng = body.stage.rng
    paint = color(rng, (*LIVERIES, *GRAYS, *LACQUERS), 14)
    load = body.block(2.5, 0.95, height, rear, front, paint)
    if kind == "box":
        stripe = color(rng, (*LIVERIES, *LACQUERS), 12)
        low = rng.uniform(0.2, 0.5)
        for side in SIDES:
            body.panel(load[side], 0.12, 0.88, low, low + 0.25, body.material(stripe, side))
    else:
        ribs = 7 if kind == "tipper" else 12
        for side in SIDES:
            rib = body.material(lit(paint, 1.18 if kind == "curtain" else 0.8), side)
            body.windows(load[side], 0.01, 0.99, 0.05, 0.96, ribs, 0.055, rib)
    seam = body.material(lit(paint, 0.5), "rear")
    body.panel(load["rear"], 0.49, 0.51, 0.02, 0.98, seam)
    for left in (0.02, 0.26, 0.72, 0.95):
        body.panel(load["rear"], left, left + 0.03, 0.02, 0.98, seam)
    if kind == "tipper":
        heap = lit(color(rng, (*GRAYS, *LIVERIES)), 0.8)
        body.block(2.2, height, height + 0.45, rear + 0.3, front - 0.3, heap, (1.2, 1.2, 0.7))
    bumper = upright(-1.15, 1.15, 0.5, 0.72, rear, 1)
    body.faces.append((bumper, body.material((70, 70, 72))))
    for left in (-1.15, 0.75):
        lamp = upright(left, left + 0.4, 0.74, 0.93, rear, 1)
        body.faces.append((lamp, body.material(TAIL_LAMP)))


def paint_tram_car(stage: Stage, pose: Pose, livery: tuple[Color, Color], length: float, *,
                   first: bool, last: bool, pantograph: bool) -> None:
    """Paints one car of a tram; the first one has the front of the train, the last one its rear."""
    paint, band = livery
    rear, front, width, height = -length / 2, length / 2, 2.5, 3.4
    body = Body(stage, pose, TRAIN)
    glass = mix(GLASS, (120, 134, 148), 0.3)
    dark = body.material((36, 38, 42))
    if not first:
        body.block(2.0, 0.5, 3.1, front - 0.1, front + 0.8, (48, 48, 50))
    body.block(2.1, 0.05, 0.4, rear + 0.8, front - 0.8, (40, 40, 42))
    lean = (0.5 if last else 0.0, 0.5 if first else 0.0, 0.12)
    hull = body.block(width, 0.3, height, rear, front, paint, lean)
    for side in SIDES:
        body.panel(hull[side], 0.0, 1.0, 0.02, 0.2, body.material(band, side))
        body.panel(hull[side], 0.0, 1.0, 0.42, 0.8, dark)
        pane = body.material(glass, side)
        body.windows(hull[side], 0.04, 0.96, 0.45, 0.77, 4, 0.03, pane)
        for left in (0.2, 0.68):
            body.panel(hull[side], left, left + 0.15, 0.02, 0.8, body.material(band, side))
            door = body.material(lit(glass, 0.75), side)
            body.panel(hull[side], left + 0.02, left + 0.13, 0.1, 0.76, door)
    for side, lamp, end in (("front", HEAD_LAMP, first), ("rear", TAIL_LAMP, last)):
        if end:
            body.panel(hull[side], 0.06, 0.94, 0.36, 0.78, body.material(glass, side))
            body.panel(hull[side], 0.2, 0.8, 0.82, 0.93, dark)
            body.panel(hull[side], 0.28, 0.6, 0.85, 0.9, body.material((226, 168, 64), grain=0.0))
            body.panel(hull[side], 0.0, 1.0, 0.02, 0.14, body.material(band, side))
            body.lamps(hull[side], lamp, 0.2, 0.28, 0.12)
    body.block(1.7, height, height + 0.4, rear + 0.9, front - 0.9, lit(paint, 0.75))
    if pantograph:
        _paint_pantograph(body, height + 0.4)
    body.finish()


def _paint_pantograph(body: Body, base: float) -> None:
    """Adds two bent arms and the shoe that touches the wire, visible from both ends."""
    metal = body.material((52, 52, 56))
    for turn in (1, -1):
        for sign in (-1, 1):
            knee, foot, shoe = sign * 0.75, sign * 0.35, sign * 0.3
            joints = ((foot, base), (knee, base + 0.65), (shoe, base + 1.3))
            for (x0, y0), (x1, y1) in pairwise(joints):
                bar = [(x0 - 0.07, y0, 0.0), (x0 + 0.07, y0, 0.0),
                       (x1 + 0.07, y1, 0.0), (x1 - 0.07, y1, 0.0)]
                body.faces.append((bar if turn > 0 else bar[::-1], metal))
        body.faces.append((upright(-0.9, 0.9, base + 1.3, base + 1.42, 0.0, turn), metal))
