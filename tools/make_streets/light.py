"""Sun, sky and weather, and the rendering of materials as a photograph."""
from __future__ import annotations

from dataclasses import dataclass
from math import sqrt

import cv2
import numpy as np

from tools.make_streets.camera import Camera
from tools.make_streets.canvas import MATERIAL_BITS, Canvas
from tools.make_streets.stable_random import Color, StableRandom


@dataclass(frozen=True)
class Weather:
    """A kind of day; ranges are (low, high).

    Args:
        sun: share of directed light.
        visibility: distance in meters at which fog halves the contrast.
        exposure: factor of all brightness.
        zenith: color of the sky above.
        haze: color of the sky at the horizon, and of fog.
        clouds: strength in gray levels.
        tint: factor of each channel.
    """

    sun: tuple[float, float]
    visibility: tuple[float, float]
    exposure: tuple[float, float]
    zenith: Color
    haze: Color
    clouds: tuple[float, float]
    tint: Color


CLEAR = Weather(sun=(0.4, 0.6), visibility=(300, 900), exposure=(0.9, 1.15),
                zenith=(96, 136, 190), haze=(196, 206, 214),
                clouds=(0, 50), tint=(1.03, 1.0, 0.95))
OVERCAST = Weather(sun=(0.05, 0.2), visibility=(200, 600), exposure=(0.8, 1.1),
                   zenith=(178, 184, 190), haze=(208, 208, 206),
                   clouds=(10, 36), tint=(0.98, 1.0, 1.03))
FOG = Weather(sun=(0.0, 0.1), visibility=(40, 110), exposure=(0.9, 1.1),
              zenith=(190, 192, 192), haze=(198, 198, 196),
              clouds=(0, 10), tint=(1.0, 1.0, 1.0))
SUNSET = Weather(sun=(0.3, 0.5), visibility=(120, 400), exposure=(0.65, 0.9),
                 zenith=(110, 110, 140), haze=(226, 176, 136),
                 clouds=(10, 50), tint=(1.12, 0.97, 0.85))
DUSK = Weather(sun=(0.0, 0.1), visibility=(150, 400), exposure=(0.6, 0.8),
               zenith=(92, 104, 126), haze=(128, 136, 146),
               clouds=(10, 40), tint=(0.92, 0.98, 1.1))
DAYS = (CLEAR, CLEAR, CLEAR, OVERCAST, OVERCAST, OVERCAST, FOG, SUNSET, DUSK)


@dataclass(frozen=True)
class Light:
    """The light of one scene, with a value of each range of `Weather`.

    Args:
        sun_x, sun_z: horizontal unit vector towards the sun.
        shadow_length: meters of shadow per meter of height.
        contrast: factor of the difference from middle gray.
        noise: strength of sensor noise in gray levels.
    """

    sun: float
    sun_x: float
    sun_z: float
    shadow_length: float
    visibility: float
    exposure: float
    zenith: Color
    haze: Color
    clouds: float
    tint: Color
    contrast: float
    noise: float

    @staticmethod
    def sample(rng: StableRandom) -> Light:
        """Returns the light of a random day."""
        day = rng.pick(DAYS)
        sun_x, sun_z = rng.uniform(-1, 1), rng.uniform(-1, 1)
        length = sqrt(sun_x * sun_x + sun_z * sun_z) + 1e-9
        jitter = [rng.uniform(-8, 8) for _ in range(3)]
        zenith = [channel + j for channel, j in zip(day.zenith, jitter, strict=True)]
        haze = [channel + j for channel, j in zip(day.haze, jitter, strict=True)]
        red, green, blue = (channel + rng.uniform(-0.04, 0.04) for channel in day.tint)
        return Light(sun=rng.uniform(*day.sun), sun_x=sun_x / length, sun_z=sun_z / length,
                     shadow_length=rng.uniform(0.3, 1.1), visibility=rng.uniform(*day.visibility),
                     exposure=rng.uniform(*day.exposure), zenith=(zenith[0], zenith[1], zenith[2]),
                     haze=(haze[0], haze[1], haze[2]), clouds=rng.uniform(*day.clouds),
                     tint=(red, green, blue), contrast=rng.uniform(0.9, 1.15),
                     noise=rng.uniform(2.0, 6.0))

    def facing(self, normal_x: float, normal_z: float) -> float:
        """Returns the brightness of an upright face with this horizontal unit normal."""
        cosine = max(normal_x * self.sun_x + normal_z * self.sun_z, 0.0)
        return 1.0 - 0.75 * self.sun + 1.1 * self.sun * cosine

    @property
    def above(self) -> float:
        """Brightness of horizontal faces."""
        return 1.0 + 0.25 * self.sun


def photograph(canvas: Canvas, camera: Camera, light: Light, rng: StableRandom) -> np.ndarray:
    """Renders a canvas with texture, shadows, fog, sky, lens and sensor noise.

    Returns:
        (height, width, 3) uint8 RGB.
    """
    materials = (canvas.materials & MATERIAL_BITS).astype(np.intp)
    height, width = materials.shape
    colors, depths, grains, grounds = canvas.tables()
    haze = np.array(light.haze, np.float32)[:, None]
    colors += (haze - colors) * _fog(depths, light)

    texture = rng.noise(height, width)
    texture += np.float32(1.5) * _clouds(rng, height, width, width / 96)
    texture *= grains[materials]
    # (3, height, width)
    image = np.stack([channel[materials] for channel in colors])
    image += texture

    top = min(max(int(camera.horizon), 0), height)
    ground = grounds[materials[top:]]
    rows = np.arange(top, height) + (0.5 - camera.horizon)
    # the ground at v is focal * eye / (v - horizon) meters away
    distance = (camera.focal * camera.eye / np.maximum(rows, 0.5)).astype(np.float32)
    far = _fog(distance, light)[:, None]
    shadow = np.array([1.0, 1.0 - 0.85 * min(light.sun, 0.6), 0.55], np.float32)
    image[:, top:] *= np.where(ground, shadow[canvas.shadows[top:]] * (1 - far), np.float32(1))
    image[:, top:] += (ground * far) * haze[:, None]

    _paint_sky(image, materials == canvas.sky, camera, light, rng)
    return _expose(image, light, rng)


def _fog(depth: np.ndarray, light: Light) -> np.ndarray:
    """Returns the share of haze at distances in meters: depth / (depth + visibility)."""
    return depth / (depth + np.float32(light.visibility))


def _paint_sky(image: np.ndarray, sky: np.ndarray, camera: Camera, light: Light,
               rng: StableRandom) -> None:
    """Paints the sky where `sky` is true, in place: a gradient and clouds."""
    height, width = sky.shape
    # the backdrop covers the sky below
    low = min(max(int(camera.horizon) + 2, 1), height)
    rise = ((np.arange(low) + 0.5) / low).astype(np.float32)
    clouds = _clouds(rng, low, width, width / 8)
    clouds = clouds + np.float32(0.5) * _clouds(rng, low, width, width / 20)
    clouds = np.maximum(clouds, 0) * np.float32(light.clouds)
    for channel, zenith, haze in zip(image, light.zenith, light.haze, strict=True):
        gradient = np.float32(zenith) + np.float32(haze - zenith) * rise * rise
        np.copyto(channel[:low], clouds + gradient[:, None], where=sky[:low])


def _clouds(rng: StableRandom, height: int, width: int, cell: float) -> np.ndarray:
    """Returns (height, width) float32 smooth noise in [-1, 1] with lumps of `cell` pixels."""
    rows, columns = int(height / cell) + 2, int(width / cell) + 2
    lattice = (2.0 * rng.units(rows * columns) - 1.0).astype(np.float32)
    lattice = lattice.reshape(rows, columns)
    return cv2.resize(lattice, (width, height), interpolation=cv2.INTER_LINEAR)


def _expose(image: np.ndarray, light: Light, rng: StableRandom) -> np.ndarray:
    """Applies lens, exposure and sensor noise to (3, height, width) float32."""
    grain = rng.noise(*image.shape[1:])
    grain *= np.float32(light.noise)
    grain += np.float32(118.0 * (1.0 - light.contrast) + 0.5)
    channels = []
    for channel, tint in zip(image, light.tint, strict=True):
        # a lens, which also smooths the aliased outlines
        soft = cv2.GaussianBlur(channel, (3, 3), 0.55)
        soft *= np.float32(tint * light.exposure * light.contrast)
        soft += grain
        channels.append(np.clip(soft, 0, 255, out=soft).astype(np.uint8))
    return cv2.merge(channels)
