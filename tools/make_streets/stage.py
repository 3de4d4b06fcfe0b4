"""Poses of objects, and the ways to paint them: upright planes, solids and flat figures."""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt

import numpy as np

from tools.make_streets.camera import Camera
from tools.make_streets.canvas import (
    CONTACT_SHADOW,
    SUN_SHADOW,
    VEIL_OF_BICYCLE,
    VEIL_OF_FENCE,
    Canvas,
)
from tools.make_streets.light import Light
from tools.make_streets.paint import lit
from tools.make_streets.stable_random import Color, StableRandom

Point = tuple[float, float]
# meters right of, above and ahead of the center of a solid
Vertex = tuple[float, float, float]
# a convex outline, counter-clockwise seen from outside, and the number of its material
Face = tuple[Sequence[Vertex], int]
# rounded, so that it is the same on every machine
CIRCLE: tuple[Point, ...] = tuple(
    (round(float(np.cos(angle)), 6), round(float(np.sin(angle)), 6))
    for angle in np.arange(12) * (np.pi / 6))


@dataclass(frozen=True)
class Pose:
    """A point (x, z) of the ground in world coordinates, and the unit vector of a heading."""

    x: float
    z: float
    heading_x: float
    heading_z: float


@dataclass
class Stage:
    """The camera, the canvas, the light and the random numbers that every painter uses."""

    camera: Camera
    canvas: Canvas
    light: Light
    rng: StableRandom

    def pose(self, d: float, z: float, turn: Point = (0.0, 1.0)) -> Pose:
        """Returns the pose at (d, z) with a heading relative to the road.

        Args:
            turn: unit vector (right, ahead) of the heading; (0, -1) is oncoming.
        """
        x, ahead = self.camera.heading(z)
        right = turn[0] * ahead + turn[1] * x
        return Pose(self.camera.x_of(d, z), z, right, turn[1] * ahead - turn[0] * x)

    def flat(self, label: int, color: Color, grain: float) -> int:
        """Adds a material of the ground and returns its number."""
        return self.canvas.material(label, lit(color, self.light.above), 0.0, grain, ground=True)

    def paint_on_ground(self, outline: list[Point], material: int) -> None:
        """Fills a convex outline on the ground, given as (d, z)."""
        self.canvas.paint(self.camera.ground(outline), [len(outline)], [material])

    def cast_shadow(self, d: float, z: float, half_width: float, half_length: float,
                    height: float) -> None:
        """Adds the shadow of a box that stands at (d, z): under it, and in sunshine beside it."""
        corners = [(d - half_width, z - half_length), (d + half_width, z - half_length),
                   (d + half_width, z + half_length), (d - half_width, z + half_length)]
        if self.light.sun > 0.2:
            length = self.light.shadow_length * height
            away_x, away_z = -self.light.sun_x * length, -self.light.sun_z * length
            moved = [(a + away_x, max(b + away_z, 1.0)) for a, b in corners]
            sides = [[corners[k], corners[k - 1], moved[k - 1], moved[k]] for k in range(4)]
            pixels = self.camera.ground([corner for quad in (moved, *sides) for corner in quad])
            for k in range(0, 20, 4):
                self.canvas.shade(pixels[k : k + 4], SUN_SHADOW)
        self.canvas.shade(self.camera.ground(corners), CONTACT_SHADOW)


def paint_plane(stage: Stage, ends: tuple[Point, Point], texture: np.ndarray, swatch: np.ndarray,
                texels: float, see_through: bool = False) -> None:
    """Paints an upright plane between two points of the ground, with a ray per pixel column.

    Args:
        ends: world (x, z) of both points, which must be ahead of the camera.
        texture: (rows, columns) of indices into `swatch`, upwards and from the first end to the
            second; it is repeated in that direction.
        swatch: (S,) numbers of materials.
        texels: texture elements per meter.
        see_through: index 0 is a gap, which shows the material behind it and is labeled fence.
    """
    camera, materials = stage.camera, stage.canvas.materials
    (x0, z0), (x1, z1) = ends
    edges = sorted(camera.center + x * camera.scale(z) for x, z in ends)
    first = max(int(edges[0] + 0.5), 0)
    last = min(int(max(edges[1] + 0.5, 0.0)), camera.image_width)
    if first >= last:
        return
    ray = (np.arange(first, last) + (0.5 - camera.center)) / camera.focal
    run_x, run_z = x1 - x0, z1 - z0
    along = np.clip((ray * z0 - x0) / (run_x - ray * run_z), 0.0, 1.0)
    # meters per pixel, (columns,)
    meters = (z0 + along * run_z) / camera.focal
    length = sqrt(run_x * run_x + run_z * run_z)
    column = (along * (length * texels)).astype(np.intp) % texture.shape[1]

    # height of the upper edge above the eye
    rise = len(texture) / texels - camera.eye
    nearest, farthest = float(meters.min()), float(meters.max())
    top = camera.horizon - rise / (nearest if rise > 0 else farthest)
    bottom = camera.horizon + camera.eye / nearest
    above, below = max(int(top), 0), min(int(bottom) + 1, camera.image_height)
    if above >= below:
        return
    drop = (np.arange(above, below) + (0.5 - camera.horizon))[:, None].astype(np.float32)
    row = np.float32(camera.eye * texels) - drop * (meters * texels).astype(np.float32)
    inside = (row >= 0) & (row < len(texture))
    row[~inside] = 0
    index = row.astype(np.int32) * np.int32(texture.shape[1]) + column.astype(np.int32)
    sample = texture.ravel()[index]
    patch = materials[above:below, first:last]
    if see_through:
        patch[inside] |= np.uint16(VEIL_OF_FENCE)
        patch[inside] &= np.uint16(0xFFFF - VEIL_OF_BICYCLE)
        inside &= sample > 0
    np.copyto(patch, swatch[sample], where=inside)


def paint_solid(stage: Stage, pose: Pose, faces: Sequence[Face]) -> None:
    """Paints the faces whose outer side is visible, in the given order."""
    vertices = np.array([vertex for face, _ in faces for vertex in face])
    right, up, ahead = vertices.T
    x = pose.x + right * pose.heading_z + ahead * pose.heading_x
    z = pose.z + ahead * pose.heading_z - right * pose.heading_x
    pixels = stage.camera.project(x, up, z)
    sizes = np.array([len(face) for face, _ in faces])
    ends = np.cumsum(sizes)
    a, b, c = (pixels[ends - sizes + sizes * third // 3] for third in range(3))
    turn = (b[:, 0] - a[:, 0]) * (c[:, 1] - a[:, 1]) - (c[:, 0] - a[:, 0]) * (b[:, 1] - a[:, 1])
    # counter-clockwise, with v pointing down
    visible = turn < 0
    materials = np.array([material for _, material in faces])
    stage.canvas.paint(pixels[np.repeat(visible, sizes)], sizes[visible].tolist(),
                       materials[visible].tolist())


@dataclass
class Figure:
    """A flat figure that stands upright at a pose; its points are (meters along, meters up).

    Args:
        stretch: foreshortening of the meters along; a negative one mirrors the figure.
    """

    stage: Stage
    pose: Pose
    stretch: float = 1.0

    def __post_init__(self) -> None:
        camera = self.stage.camera
        scale = camera.scale(self.pose.z)
        self._origin = np.array(
            [camera.center + self.pose.x * scale, camera.horizon + camera.eye * scale])
        self._axes = np.array([scale * self.stretch, -scale])
        self._points: list[Point] = []
        self._sizes: list[int] = []
        self._materials: list[int] = []

    def pixels(self, points: Sequence[Point]) -> np.ndarray:
        return self._origin + np.array(points) * self._axes

    def material(self, label: int, color: Color, grain: float = 2.0) -> int:
        return self.stage.canvas.material(label, color, self.pose.z, grain)

    def shape(self, points: Sequence[Point], material: int) -> None:
        """Adds a convex outline."""
        self._points.extend(points)
        self._sizes.append(len(points))
        self._materials.append(material)

    def box(self, left: float, right: float, low: float, high: float, material: int) -> None:
        self.shape([(left, low), (right, low), (right, high), (left, high)], material)

    def limb(self, start: Point, end: Point, width: float, material: int,
             end_width: float | None = None) -> None:
        """Adds a straight bar in the plane of the figure."""
        (a, b), (c, d) = start, end
        length = sqrt((c - a) * (c - a) + (d - b) * (d - b)) + 1e-9
        # the foreshortening of the figure must not make an upright bar thinner
        along = (b - d) / length / 2 / max(abs(self.stretch), 0.2)
        up = (c - a) / length / 2
        tip = width if end_width is None else end_width
        self.shape([(a + along * width, b + up * width), (c + along * tip, d + up * tip),
                    (c - along * tip, d - up * tip), (a - along * width, b - up * width)], material)

    def disc(self, center: Point, along: float, up: float, material: int) -> None:
        self.shape([(center[0] + a * along, center[1] + b * up) for a, b in CIRCLE], material)

    def ring(self, center: Point, radius: float, width: float, material: int) -> None:
        inner, outer = radius - width, radius
        for k, (a, b) in enumerate(CIRCLE):
            c, d = CIRCLE[k - 1]
            corners = ((a, b, outer), (c, d, outer), (c, d, inner), (a, b, inner))
            self.shape([(center[0] + p * r, center[1] + q * r) for p, q, r in corners], material)

    def veil(self, center: Point, radius: float, veil: int) -> None:
        """Gives a disc the label of a veil, after painting the shapes that were added."""
        self.finish()
        outline = [(center[0] + a * radius, center[1] + b * radius) for a, b in CIRCLE]
        self.stage.canvas.veil(self.pixels(outline), veil)

    def finish(self) -> None:
        """Paints the shapes that were added."""
        if self._points:
            self.stage.canvas.paint(self.pixels(self._points), self._sizes, self._materials)
        self._points, self._sizes, self._materials = [], [], []
