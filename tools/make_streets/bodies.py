"""The body of a vehicle: convex blocks with panels, windows, lamps and wheels on their faces."""
from __future__ import annotations

from dataclasses import dataclass, field

from tools.make_streets.paint import lit
from tools.make_streets.stable_random import Color
from tools.make_streets.stage import CIRCLE, Face, Pose, Stage, Vertex, paint_solid

TIRE: Color = (34, 34, 36)


@dataclass
class Body:
    """Collects the faces of one vehicle at a pose, in the order in which they are painted."""

    stage: Stage
    pose: Pose
    label: int
    faces: list[Face] = field(default_factory=list)

    def __post_init__(self) -> None:
        x, z = self.pose.heading_x, self.pose.heading_z
        light = self.stage.light
        self._brightness = {"front": light.facing(x, z), "rear": light.facing(-x, -z),
                            "right": light.facing(z, -x), "left": light.facing(-z, x),
                            "top": light.above}
        # the camera in the coordinates of the vehicle
        right = self.pose.z * x - self.pose.x * z
        ahead = -self.pose.x * x - self.pose.z * z
        self._eye = (right, self.stage.camera.eye, ahead)

    def material(self, paint: Color, side: str = "", grain: float = 2.0) -> int:
        """Adds a material with the light of a side and returns its number."""
        brightness = self._brightness.get(side, 1.0)
        return self.stage.canvas.material(self.label, lit(paint, brightness), self.pose.z, grain)

    def block(self, width: float, low: float, high: float, rear: float, front: float, paint: Color,
              lean: tuple[float, float, float] = (0.0, 0.0, 0.0)) -> dict[str, list[Vertex]]:
        """Adds a block, which may be narrower at its top.

        Args:
            low, high: height of the bottom and the top.
            rear, front: meters ahead of the center of the vehicle.
            lean: meters by which rear, front and sides lean in at the top.

        Returns:
            Name of a face -> its corners, counter-clockwise seen from outside, from the lower left
            one on; no corners for a face that the camera does not see.
        """
        half, slim = width / 2, width / 2 - lean[2]
        back, ahead = rear + lean[0], front - lean[1]
        # corners of the bottom and of the top, from rear left counter-clockwise
        a, b, c, d = (-half, low, rear), (half, low, rear), (half, low, front), (-half, low, front)
        e, f = (-slim, high, back), (slim, high, back)
        g, h = (slim, high, ahead), (-slim, high, ahead)
        faces = {"front": [c, d, h, g],
                 "rear": [a, b, f, e],
                 "left": [d, a, e, h],
                 "right": [b, c, g, f],
                 "top": [e, f, g, h]}
        shown: dict[str, list[Vertex]] = {}
        for side, corners in faces.items():
            shown[side] = corners if _in_front(corners, self._eye) else []
            if shown[side]:
                self.faces.append((corners, self.material(paint, side)))
        return shown

    def panel(self, corners: list[Vertex], left: float, right: float, low: float, high: float,
              material: int) -> None:
        """Adds a rectangle on a face, given in fractions of its width and height."""
        if corners:
            fractions = ((left, low), (right, low), (right, high), (left, high))
            self.faces.append(([_point_on(corners, a, b) for a, b in fractions], material))

    def windows(self, corners: list[Vertex], left: float, right: float, low: float, high: float,
                count: int, gap: float, material: int) -> None:
        """Adds a row of equal windows between `left` and `right`."""
        pitch = (right - left) / count
        for k in range(count if corners else 0):
            start = left + k * pitch + gap / 2
            end = left + (k + 1) * pitch - gap / 2
            self.panel(corners, start, end, low, high, material)

    def wheels(self, width: float, radius: float, axles: tuple[float, ...]) -> None:
        """Adds wheels on both sides."""
        tire, hub = self.material(TIRE), self.material((116, 118, 120))
        for sign in (-1, 1):
            x = sign * width / 2
            for z in axles:
                for scale, material in ((1.0, tire), (0.55, hub)):
                    circle = [(x, radius * (1 + scale * b), z + sign * radius * scale * a)
                              for a, b in CIRCLE]
                    self.faces.append((circle, material))

    def tires(self, width: float, radius: float, rear: float, front: float) -> None:
        """Adds the tires and the shade that are visible below rear, front and sides."""
        tire, shade = self.material(TIRE), self.material((24, 24, 26))
        tread = 0.12 * width
        for z, turn in ((rear, 1), (front, -1)):
            below = upright(-width / 2, width / 2, radius * 0.6, radius * 1.6, z, turn)
            self.faces.append((below, shade))
            for left in (-width / 2, width / 2 - tread):
                self.faces.append((upright(left, left + tread, 0.0, radius * 1.4, z, turn), tire))
        for x, turn in ((-width / 2 + 0.05, 1), (width / 2 - 0.05, -1)):
            start, end = (front, rear) if turn > 0 else (rear, front)
            low, high = radius * 0.6, radius * 1.5
            side = [(x, low, start), (x, low, end), (x, high, end), (x, high, start)]
            self.faces.append((side, shade))

    def lamps(self, corners: list[Vertex], paint: Color, low: float, high: float,
              width: float = 0.17) -> None:
        """Adds a lamp at the left and at the right of a face."""
        lamp = self.material(paint, grain=0.0)
        self.panel(corners, 0.04, 0.04 + width, low, high, lamp)
        self.panel(corners, 0.96 - width, 0.96, low, high, lamp)

    def finish(self) -> None:
        """Paints the faces that were added."""
        paint_solid(self.stage, self.pose, self.faces)


def _point_on(corners: list[Vertex], a: float, b: float) -> Vertex:
    """Returns the point at fractions (a, b) of the width and height of a face, bilinearly."""
    p, q, r, s = (1 - a) * (1 - b), a * (1 - b), a * b, (1 - a) * b
    x, y, z = (p * v0 + q * v1 + r * v2 + s * v3 for v0, v1, v2, v3 in zip(*corners, strict=True))
    return x, y, z


def _in_front(corners: list[Vertex], eye: Vertex) -> bool:
    """Returns whether the outer side of a face is visible from the eye."""
    (x0, y0, z0), (x1, y1, z1), _, (x3, y3, z3) = corners
    ax, ay, az = x1 - x0, y1 - y0, z1 - z0
    bx, by, bz = x3 - x0, y3 - y0, z3 - z0
    ex, ey, ez = eye[0] - x0, eye[1] - y0, eye[2] - z0
    # The triple product (a x b) . e is negative on the outer side, because the axes (x to the
    # right, y up, z ahead) are left-handed.
    return (ay * bz - az * by) * ex + (az * bx - ax * bz) * ey + (ax * by - ay * bx) * ez < 0


def upright(left: float, right: float, low: float, high: float, z: float,
            turn: int) -> list[Vertex]:
    """Returns a rectangle that faces backwards (turn 1) or forwards (turn -1)."""
    face = [(left, low, z), (right, low, z), (right, high, z), (left, high, z)]
    return face if turn > 0 else face[::-1]
