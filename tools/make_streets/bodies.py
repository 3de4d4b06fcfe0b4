"""The body of a vehicle: convex blocks, and on their faces panels, windows, lamps and wheels."""
from __future__ import annotations

from dataclasses import dataclass, field

from tools.make_streets.paint import lit
from tools.make_streets.stable_random import Color
from tools.make_streets.stage import CIRCLE, Face, Pose, Stage, Vertex, paint_solid

TYRE: Color = (34, 34, 36)


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
        self._brightness = {
            "front": light.facing(x, z), "rear": light.facing(-x, -z), "right": light.facing(z, -x),
            "left": light.facing(-z, x), "top": light.above,
        }
        # The camera, as the vehicle sees it.
        self._eye = (self.pose.z * x - self.pose.x * z, self.stage.camera.eye, -self.pose.x * x - self.pose.z * z)

    def material(self, paint: Color, side: str = "", grain: float = 2.0) -> int:
        return self.stage.canvas.material(self.label, lit(paint, self._brightness.get(side, 1.0)), self.pose.z, grain)

    def block(
        self, width: float, low: float, high: float, rear: float, front: float, paint: Color,
        lean: tuple[float, float, float] = (0.0, 0.0, 0.0),
    ) -> dict[str, list[Vertex]]:
        """Adds a block that may get narrower upwards; `lean` is how far its rear, front and sides lean in.

        Returns its faces by name, each from its lower left corner counter-clockwise as seen from outside; a face that
        the camera does not see is empty.
        """
        half, slim = width / 2, width / 2 - lean[2]
        back, ahead = rear + lean[0], front - lean[1]
        a, b, c, d = (-half, low, rear), (half, low, rear), (half, low, front), (-half, low, front)
        e, f, g, h = (-slim, high, back), (slim, high, back), (slim, high, ahead), (-slim, high, ahead)
        faces = {"front": [c, d, h, g], "rear": [a, b, f, e], "left": [d, a, e, h], "right": [b, c, g, f],
                 "top": [e, f, g, h]}
        shown: dict[str, list[Vertex]] = {}
        for side, corners in faces.items():
            shown[side] = corners if _in_front(corners, self._eye) else []
            if shown[side]:
                self.faces.append((corners, self.material(paint, side)))
        return shown

    def panel(self, corners: list[Vertex], left: float, right: float, low: float, high: float, material: int) -> None:
        """A rectangle on a face, in shares of its width and height."""
        if corners:
            shares = ((left, low), (right, low), (right, high), (left, high))
            self.faces.append(([_on(corners, a, b) for a, b in shares], material))

    def windows(self, corners: list[Vertex], left: float, right: float, low: float, high: float, count: int,
                gap: float, material: int) -> None:
        """A row of equal windows between `left` and `right`."""
        pitch = (right - left) / count
        for k in range(count if corners else 0):
            self.panel(corners, left + k * pitch + gap / 2, left + (k + 1) * pitch - gap / 2, low, high, material)

    def wheels(self, width: float, radius: float, axles: tuple[float, ...]) -> None:
        """Wheels on both sides, and the tyres that one sees below the rear and the front."""
        tyre, hub = self.material(TYRE), self.material((116, 118, 120))
        for sign in (-1, 1):
            x = sign * width / 2
            for z in axles:
                for share, material in ((1.0, tyre), (0.55, hub)):
                    circle = [(x, radius * (1 + share * b), z + sign * radius * share * a) for a, b in CIRCLE]
                    self.faces.append((circle, material))

    def tyres(self, width: float, radius: float, rear: float, front: float) -> None:
        tyre, shade = self.material(TYRE), self.material((24, 24, 26))
        tread = 0.12 * width
        for z, turn in ((rear, 1), (front, -1)):
            self.faces.append((upright(-width / 2, width / 2, radius * 0.6, radius * 1.6, z, turn), shade))
            for left in (-width / 2, width / 2 - tread):
                self.faces.append((upright(left, left + tread, 0.0, radius * 1.4, z, turn), tyre))
        for x, turn in ((-width / 2 + 0.05, 1), (width / 2 - 0.05, -1)):
            ends = (front, rear) if turn > 0 else (rear, front)
            low, high = radius * 0.6, radius * 1.5
            self.faces.append(([(x, low, ends[0]), (x, low, ends[1]), (x, high, ends[1]), (x, high, ends[0])], shade))

    def lamps(self, corners: list[Vertex], paint: Color, low: float, high: float, width: float = 0.17) -> None:
        lamp = self.material(paint, grain=0.0)
        self.panel(corners, 0.04, 0.04 + width, low, high, lamp)
        self.panel(corners, 0.96 - width, 0.96, low, high, lamp)

    def finish(self) -> None:
        paint_solid(self.stage, self.pose, self.faces)


def _on(corners: list[Vertex], a: float, b: float) -> Vertex:
    """The point at shares (a, b) of a face's width and height."""
    (x0, y0, z0), (x1, y1, z1), (x2, y2, z2), (x3, y3, z3) = corners
    p, q, r, s = (1 - a) * (1 - b), a * (1 - b), a * b, (1 - a) * b
    return p * x0 + q * x1 + r * x2 + s * x3, p * y0 + q * y1 + r * y2 + s * y3, p * z0 + q * z1 + r * z2 + s * z3


def _in_front(corners: list[Vertex], eye: Vertex) -> bool:
    """Whether a face shows its outer side to the eye."""
    (x0, y0, z0), (x1, y1, z1), _, (x3, y3, z3) = corners
    ax, ay, az, bx, by, bz = x1 - x0, y1 - y0, z1 - z0, x3 - x0, y3 - y0, z3 - z0
    ex, ey, ez = eye[0] - x0, eye[1] - y0, eye[2] - z0
    # With x to the right, y up and z ahead (a left-handed frame), this product is negative on the outer side.
    return (ay * bz - az * by) * ex + (az * bx - ax * bz) * ey + (ax * by - ay * bx) * ez < 0


def upright(left: float, right: float, low: float, high: float, z: float, turn: int) -> list[Vertex]:
    """A rectangle that faces backwards (turn 1) or forwards (turn -1)."""
    face = [(left, low, z), (right, low, z), (right, high, z), (left, high, z)]
    return face if turn > 0 else face[::-1]
