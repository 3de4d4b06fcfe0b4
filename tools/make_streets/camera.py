"""The pinhole camera, and the bend of the road it looks along."""

from dataclasses import dataclass
from math import sqrt

import numpy as np

from tools.make_streets.stable_random import StableRandom

NEAREST = 0.7                                                # meters; nothing is projected from closer than this


@dataclass(frozen=True)
class Camera:
    """World axes in meters: x to the right, y up from the ground, z ahead; pixels: u to the right, v down.

    A place on the street is (d, z): d meters to the right of the camera's own lane, following the road as it bends.
    """

    image_height: int
    image_width: int
    focal: float                                             # pixels
    center: float                                            # u of the direction straight ahead
    horizon: float                                           # v of the horizon
    eye: float                                               # meters above the ground
    bend: float                                              # meters sideways per squared meter ahead
    bend_start: float

    @staticmethod
    def drawn(dice: StableRandom, height: int, width: int) -> "Camera":
        bend = dice.pick((0.0, 1.0)) * dice.uniform(-0.004, 0.004)
        return Camera(
            image_height=height,
            image_width=width,
            focal=width * dice.uniform(0.82, 1.1),
            center=width * dice.uniform(0.42, 0.58),
            horizon=height * dice.uniform(0.36, 0.48),
            eye=dice.uniform(1.45, 2.3),
            bend=bend,
            bend_start=dice.uniform(5.0, 25.0),
        )

    def x_of(self, d: float, z: float) -> float:
        beyond = max(z - self.bend_start, 0.0)
        return d + self.bend * beyond * beyond

    def spot(self, d: float, z: float) -> tuple[float, float]:
        """A place on the street -> world (x, z)."""
        return self.x_of(d, z), z

    def heading(self, z: float) -> tuple[float, float]:
        """The road's direction at z as a unit vector (x, z). Arithmetic and square root only: exact everywhere."""
        slope = 2.0 * self.bend * max(z - self.bend_start, 0.0)
        length = sqrt(1.0 + slope * slope)
        return slope / length, 1.0 / length

    def scale(self, z: float) -> float:
        """Pixels per meter at distance z."""
        return self.focal / max(z, NEAREST)

    def project(self, x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
        """World coordinates, each (N,) -> pixels (N, 2), float64 (u, v)."""
        scale = self.focal / np.maximum(z, NEAREST)
        return np.stack([self.center + x * scale, self.horizon - (y - self.eye) * scale], axis=1)

    def ground(self, places: list[tuple[float, float]]) -> np.ndarray:
        """Places (d, z) on the street -> pixels (N, 2)."""
        d, z = np.array(places).T
        beyond = np.maximum(z - self.bend_start, 0.0)
        return self.project(d + self.bend * beyond * beyond, np.zeros_like(z), z)
