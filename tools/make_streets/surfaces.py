"""The ground (roadway, markings, sidewalks, grass, rails) and the backdrop at the horizon."""
from __future__ import annotations

from itertools import pairwise

import numpy as np

from tools.make_streets.labels import BUILDING, RAIL_TRACK, ROAD, SIDEWALK, TERRAIN, VEGETATION
from tools.make_streets.paint import (
    ASPHALTS,
    BRICKS,
    GRAYS,
    LAWNS,
    LEAVES,
    PLASTERS,
    color,
    lit,
    mix,
)
from tools.make_streets.stable_random import Color
from tools.make_streets.stage import Stage
from tools.make_streets.street import CURB, END, Side, Street

TRACK_WIDTH = 3.0           # meters
GAUGE = 1.44                # meters
TRACK_LABELS = {"street": ROAD, "grass": TERRAIN, "ballast": RAIL_TRACK}


def paint_ground(stage: Stage, street: Street) -> None:
    """Paints every pixel below the horizon, by the position (d, z) of the ground that it shows."""
    camera, rng = stage.camera, stage.rng
    top = max(int(camera.horizon) + 1, 0)
    rows = np.arange(top, camera.image_height) + 0.5 - camera.horizon
    z = camera.focal * camera.eye / np.maximum(rows, 0.25)
    beyond = np.maximum(z - camera.bend_start, 0.0)
    middle = camera.bend * np.minimum(beyond * beyond, 4e4)
    across = (np.arange(camera.image_width) + 0.5 - camera.center) / camera.focal
    d = (across[None, :] * z[:, None] - middle[:, None]).astype(np.float32)

    asphalt = color(rng, ASPHALTS, 8, stray=0.0)
    limits, zones = _zones(stage, street, asphalt)
    zone = np.zeros(d.shape, np.uint8)
    for limit in limits:
        zone += d > np.float32(limit)
    by_row = np.repeat(zones[None], len(z), axis=0)
    road = zones[_first_road(limits)]
    for side in street.sides:
        outside = np.array([side.sign * limit >= side.edge - 1e-6 for limit in limits])
        columns = np.append(outside, False) if side.sign < 0 else np.append(False, outside)
        for lot in side.lots:
            if lot.kind == "crossing":
                by_row[np.ix_((z > lot.near) & (z < lot.far), columns)] = road
    ground = np.take_along_axis(by_row, zone.astype(np.intp), axis=1)
    _lay_slabs(stage, ground, d, z)
    stage.canvas.materials[top:] = ground
    _patch_asphalt(stage, street, asphalt)


def _first_road(limits: list[float]) -> int:
    """Returns the index of the zone of the camera's lane."""
    return sum(limit < 0 for limit in limits)


def _zones(stage: Stage, street: Street, asphalt: Color) -> tuple[list[float], np.ndarray]:
    """Returns the limits d between zones from left to right, and the material of each zone."""
    rng = stage.rng
    road = stage.flat(ROAD, asphalt, 5)
    curb = stage.flat(SIDEWALK, lit(color(rng, GRAYS[2:], 8), 1.1), 3)
    left, left_zones = _border(stage, street.left, curb)
    right, right_zones = _border(stage, street.right, curb)
    limits = [-limit for limit in reversed(left)]
    zones = list(reversed(left_zones))
    if street.tram is not None and street.track != "street":
        ballast = street.track == "ballast"
        label, palette, grain = (RAIL_TRACK, GRAYS, 12) if ballast else (TERRAIN, LAWNS, 9)
        bed = stage.flat(label, color(rng, palette), grain)
        limits += [street.tram - TRACK_WIDTH / 2, street.tram + TRACK_WIDTH / 2]
        zones += [road, bed]
    return limits + right, np.array([*zones, road, *right_zones], np.uint16)


def _border(stage: Stage, side: Side, curb: int) -> tuple[list[float], list[int]]:
    """Returns limits and materials from the roadway outwards."""
    rng = stage.rng
    grass = stage.flat(TERRAIN, color(rng, LAWNS), 10)
    walk = stage.flat(SIDEWALK, color(rng, (*GRAYS[1:], *GRAYS[2:], BRICKS[2], PLASTERS[1]), 10), 4)
    start, end = side.walk
    limits, zones = [side.edge, side.edge + CURB], [curb]
    if side.grass:
        limits.append(start)
        zones.append(grass)
    zones.append(walk)
    limits.append(end)
    zones.append(grass)
    return limits, zones


def _lay_slabs(stage: Stage, ground: np.ndarray, d: np.ndarray, z: np.ndarray) -> None:
    """Darkens the joints between the slabs of near sidewalks, in place."""
    slab = stage.rng.uniform(0.45, 0.9)
    # rows are ordered from far to near
    near = int(np.searchsorted(-z, -26.0))
    wide, deep = d[near:] * np.float32(1 / slab), z[near:] / slab
    joint = (wide - np.floor(wide) < np.float32(0.1)) | (deep - np.floor(deep) < 0.12)[:, None]
    colors, *_ = stage.canvas.tables()
    labels = stage.canvas.label_table()
    darker = np.arange(len(labels), dtype=np.uint16)
    for material in np.nonzero(labels == SIDEWALK)[0]:
        red, green, blue = colors[:, material].tolist()
        paint = lit((red, green, blue), 0.74)
        darker[material] = stage.canvas.material(SIDEWALK, paint, 0.0, 3, ground=True)
    patch = ground[near:]
    np.copyto(patch, darker[patch], where=joint)


def _patch_asphalt(stage: Stage, street: Street, asphalt: Color) -> None:
    """Paints rectangles of newer or older asphalt."""
    rng = stage.rng
    for _ in range(rng.integer(0, 5)):
        z, length = rng.uniform(5, 30), rng.uniform(1, 6)
        left, width = rng.uniform(-street.left.edge, street.right.edge - 2), rng.uniform(0.5, 2.5)
        right = min(left + width, street.right.edge)
        if street.tram is not None and left < street.tram + 2 and right > street.tram - 2:
            continue
        patch = stage.flat(ROAD, lit(asphalt, rng.uniform(0.75, 1.15)), 5)
        _rectangle(stage, left, right, z, z + length, patch)


def paint_markings(stage: Stage, street: Street) -> None:
    """Paints lane lines, edges of the roadway, stop lines, zebra crossings and rails."""
    rng = stage.rng
    paint = color(rng, ((222, 222, 218), (222, 222, 218), (214, 180, 84)), 8, stray=0.0)
    white = stage.flat(ROAD, mix(paint, (120, 120, 118), rng.uniform(0.0, 0.5)), 6)
    dashes = [-street.lane / 2]
    while dashes[-1] - street.lane > -street.left.edge + 2:
        dashes.append(dashes[-1] - street.lane)
    if street.right.edge > 1.5 * street.lane:
        dashes.append(street.lane / 2)
    track = street.tram if street.tram is not None else 1e6
    for d in dashes:
        if abs(d - track) > TRACK_WIDTH / 2 + 0.2:
            _line(stage, street, d, 0.14, white, dash=rng.pick((3.0, 4.0, 0.0)))
    for side in street.sides:
        if side.parking:
            _line(stage, street, side.sign * (side.edge - 2.2), 0.12, white, dash=0.0)
        elif rng.chance(0.4):
            _line(stage, street, side.sign * (side.edge - 0.3), 0.12, white, dash=0.0)
    if street.crossing:
        near, far = street.crossing
        _zebra(stage, street, near - 3.4, white)
        if rng.chance(0.6):
            _zebra(stage, street, far + 0.6, white)
    elif rng.chance(0.3):
        _zebra(stage, street, rng.uniform(9, 25), white)
    if street.tram is not None:
        _lay_rails(stage, street.tram, TRACK_LABELS[street.track])


def _line(stage: Stage, street: Street, d: float, width: float, material: int, dash: float) -> None:
    """Paints a line along the road; a dash of 0 is a solid line."""
    z, step = stage.rng.uniform(2.5, 4.0), dash or 5.0
    while z < 70:
        end = z + step
        if not (street.crossing and street.crossing[0] - 5 < end and z < street.crossing[1] + 5):
            _rectangle(stage, d - width / 2, d + width / 2, z, end, material)
        z = end + dash * 1.4


def _rectangle(stage: Stage, left: float, right: float, near: float, far: float,
               material: int) -> None:
    """Paints a rectangle on the ground, whose sides are straight between its corners."""
    stage.paint_on_ground([(left, near), (right, near), (right, far), (left, far)], material)


def _zebra(stage: Stage, street: Street, z: float, material: int) -> None:
    if z < 4:
        return
    d = -street.left.edge + 0.4
    while d + 0.5 < street.right.edge:
        if street.tram is None or abs(d + 0.25 - street.tram) > TRACK_WIDTH / 2:
            _rectangle(stage, d, d + 0.5, z, z + 2.8, material)
        d += 1.0
    _rectangle(stage, -street.lane / 2, street.right.edge - 0.4, z - 1.2, z - 0.85, material)


def _lay_rails(stage: Stage, middle: float, label: int) -> None:
    groove = stage.flat(label, (58, 56, 54), 3)
    steel = stage.flat(label, (176, 178, 180), 4)
    stations = [2.0, 4.0, 7.0, 11.0, 16.0, 22.0, 30.0, 40.0, 55.0, 75.0, END]
    for d in (middle - GAUGE / 2, middle + GAUGE / 2):
        for near, far in pairwise(stations):
            _rectangle(stage, d - 0.11, d + 0.11, near, far, groove)
            _rectangle(stage, d - 0.04, d + 0.05, near, far, steel)


def paint_backdrop(stage: Stage) -> None:
    """Paints trees and blocks of houses along the horizon."""
    camera, rng = stage.camera, stage.rng
    depth = rng.uniform(140, 260)
    v = camera.horizon + 1.5
    for _ in range(rng.integer(5, 16)):
        u = rng.uniform(-0.05, 1.05) * camera.image_width
        width = rng.uniform(0.03, 0.12) * camera.image_width
        height = rng.uniform(0.012, 0.05) * camera.image_width
        if rng.chance(0.5):
            material = stage.canvas.material(BUILDING, color(rng, PLASTERS), depth, 3)
            outline = [(u - width / 2, v), (u + width / 2, v),
                       (u + width / 2, v - height), (u - width / 2, v - height)]
        else:
            material = stage.canvas.material(VEGETATION, color(rng, LEAVES), depth, 8)
            shape = ((-1.0, 0.0), (-0.8, 0.4), (-0.4, 0.7), (0.3, 0.75), (0.8, 0.35), (1.0, 0.0))
            outline = [(u + a * width, v - b * height) for a, b in shape]
        stage.canvas.paint(np.array(outline), [len(outline)], [material])
    skirt = stage.canvas.material(VEGETATION, color(rng, LEAVES), depth, 8)
    low = 0.008 * camera.image_width
    right = camera.image_width + 5.0
    outline = [(-5.0, v), (right, v), (right, v - low), (-5.0, v - low)]
    stage.canvas.paint(np.array(outline), [4], [skirt])
