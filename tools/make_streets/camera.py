"""The pinhole camera, and the curve of the road in front of it."""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt

import numpy as np

from tools.make_streets.stable_random import StableRandom

NEAREST = 0.7               # meters; nearer points are projected as if at this distance


@dataclass(frozen=True)
class Camera:
    """A pinhole camera that looks along the z axis.

    World coordinates are meters: x to the right, y up from the ground, z ahead. Pixels are (u, v):
    u to the right, v down. A position on the street is (d, z), d meters to the right of the center
    of the camera's lane; the center follows the curve of the road:
    x = d + bend * max(z - bend_start, 0)^2.

    Args:
        focal: focal length in pixels.
        center: u of the direction straight ahead.
        horizon: v of the horizon.
        eye: height above the ground in meters.
        bend: curvature, in meters sideways per squared meter ahead.
        bend_start: distance in meters at which the curve starts.
    """

    image_height: int
    image_width: int
    focal: float
    center: float
    horizon: float
    eye: float
    bend: float
    bend_start: float

    @staticmethod
    def sample(rng: StableRandom, height: int, width: int) -> Camera:
        """Returns a random camera for images of a size in pixels."""
        bend = rng.pick((0.0, 1.0)) * rng.uniform(-0.004, 0.004)
        return Camera(image_height=height, image_width=width, focal=width * rng.uniform(0.82, 1.1),
                      center=width * rng.uniform(0.42, 0.58),
                      horizon=height * rng.uniform(0.36, 0.48), eye=rng.uniform(1.45, 2.3),
                      bend=bend, bend_start=rng.uniform(5.0, 25.0))

    def x_of(self, d: float, z: float) -> float:
        """Returns the world x of the position (d, z) on the street."""
        beyond = max(z - self.bend_start, 0.0)
        return d + self.bend * beyond * beyond

    def ground_point(self, d: float, z: float) -> tuple[float, float]:
        """Returns the world (x, z) of the position (d, z) on the street."""
        return self.x_of(d, z), z

    def heading(self, z: float) -> tuple[float, float]:
        """Returns the direction of the road at z as a unit vector (x, z).

        It uses arithmetic and square roots only, which are exact on every machine.
        """
        slope = 2.0 * self.bend * max(z - self.bend_start, 0.0)
        length = sqrt(1.0 + slope * slope)
        return slope / length, 1.0 / length

    def scale(self, z: float) -> float:
        """Returns the pixels per meter at distance z."""
        return self.focal / max(z, NEAREST)

    def project(self, x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
        """Projects world coordinates, each (N,), to pixels (N, 2) float64 of (u, v).

        u = center + focal * x / z, v = horizon - focal * (y - eye) / z.
        """
        scale = self.focal / np.maximum(z, NEAREST)
        return np.stack([self.center + x * scale, self.horizon - (y - self.eye) * scale], axis=1)

    def ground(self, positions: list[tuple[float, float]]) -> np.ndarray:
        """Projects N positions (d, z) on the street to pixels (N, 2) of (u, v)."""
        d, z = np.array(positions).T
        beyond = np.maximum(z - self.bend_start, 0.0)
        return self.project(d + self.bend * beyond * beyond, np.zeros_like(z), z)
