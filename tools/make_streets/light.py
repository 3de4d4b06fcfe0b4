"""Sun, sky and weather, and the last step: from materials to the photograph."""
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
    """A kind of day; ranges are (low, high)."""

    sun: tuple[float, float]                                 # share of directed light
    visibility: tuple[float, float]                          # meters to half contrast
    exposure: tuple[float, float]
    zenith: Color
    haze: Color                                             # the sky at the horizon, and the color of fog
    clouds: tuple[float, float]                              # strength in gray levels
    tint: Color


DAYS = (
    *3 * (Weather((0.4, 0.6), (300, 900), (0.9, 1.15), (96, 136, 190), (196, 206, 214), (0, 50), (1.03, 1.0, 0.95)),),
    *3 * (Weather((0.05, 0.2), (200, 600), (0.8, 1.1), (178, 184, 190), (208, 208, 206), (10, 36), (0.98, 1.0, 1.03)),),
    Weather((0.0, 0.1), (40, 110), (0.9, 1.1), (190, 192, 192), (198, 198, 196), (0, 10), (1.0, 1.0, 1.0)),
    Weather((0.3, 0.5), (120, 400), (0.65, 0.9), (110, 110, 140), (226, 176, 136), (10, 50), (1.12, 0.97, 0.85)),
    Weather((0.0, 0.1), (150, 400), (0.6, 0.8), (92, 104, 126), (128, 136, 146), (10, 40), (0.92, 0.98, 1.1)),
)


@dataclass(frozen=True)
class Light:
    """The light of one scene. The sun stands at (sun_x, sun_z), a horizontal unit vector towards it."""

    sun: float
    sun_x: float
    sun_z: float
    shadow_length: float                                     # meters of shadow per meter of height
    visibility: float
    exposure: float
    zenith: Color
    haze: Color
    clouds: float
    tint: Color
    contrast: float
    noise: float                                             # sensor noise, gray levels

    @staticmethod
    def drawn(dice: StableRandom) -> Light:
        day = dice.pick(DAYS)
        sun_x, sun_z = dice.uniform(-1, 1), dice.uniform(-1, 1)
        length = sqrt(sun_x * sun_x + sun_z * sun_z) + 1e-9
        jitter = [dice.uniform(-8, 8) for _ in range(3)]
        zenith, haze = (tuple(c + j for c, j in zip(sky, jitter, strict=True)) for sky in (day.zenith, day.haze))
        red, green, blue = (channel + dice.uniform(-0.04, 0.04) for channel in day.tint)
        return Light(
            sun=dice.uniform(*day.sun),
            sun_x=sun_x / length,
            sun_z=sun_z / length,
            shadow_length=dice.uniform(0.3, 1.1),
            visibility=dice.uniform(*day.visibility),
            exposure=dice.uniform(*day.exposure),
            zenith=(zenith[0], zenith[1], zenith[2]),
            haze=(haze[0], haze[1], haze[2]),
            clouds=dice.uniform(*day.clouds),
            tint=(red, green, blue),
            contrast=dice.uniform(0.9, 1.15),
            noise=dice.uniform(2.0, 6.0),
        )

    def facing(self, normal_x: float, normal_z: float) -> float:
        """Brightness of an upright face with this horizontal unit normal."""
        return 1.0 - 0.75 * self.sun + 1.1 * self.sun * max(normal_x * self.sun_x + normal_z * self.sun_z, 0.0)

    @property
    def above(self) -> float:
        """Brightness of what lies flat."""
        return 1.0 + 0.25 * self.sun


def photograph(canvas: Canvas, camera: Camera, light: Light, dice: StableRandom) -> np.ndarray:
    """Colors, texture, shadows, fog, sky, lens and sensor. Returns (height, width, 3) uint8 RGB."""
    materials = (canvas.materials & MATERIAL_BITS).astype(np.intp)
    height, width = materials.shape
    colors, depths, grains, grounds = canvas.tables()
    haze = np.array(light.haze, np.float32)[:, None]
    colors += (haze - colors) * _fog(depths, light)

    texture = dice.noise(height, width)
    texture += np.float32(1.5) * _clouds(dice, height, width, width / 96)
    texture *= grains[materials]
    image = np.stack([channel[materials] for channel in colors])                      # (3, height, width)
    image += texture

    top = min(max(int(camera.horizon), 0), height)
    ground = grounds[materials[top:]]
    rows = np.arange(top, height) + (0.5 - camera.horizon)
    far = _fog((camera.focal * camera.eye / np.maximum(rows, 0.5)).astype(np.float32), light)[:, None]
    shadow = np.array([1.0, 1.0 - 0.85 * min(light.sun, 0.6), 0.55], np.float32)
    image[:, top:] *= np.where(ground, shadow[canvas.shadows[top:]] * (1 - far), np.float32(1))
    image[:, top:] += (ground * far) * haze[:, None]

    _paint_sky(image, materials == canvas.sky, camera, light, dice)
    return _expose(image, light, dice)


def _fog(depth: np.ndarray, light: Light) -> np.ndarray:
    """Share of haze in what is seen at a distance in meters; a half at the light's visibility."""
    return depth / (depth + np.float32(light.visibility))


def _paint_sky(image: np.ndarray, sky: np.ndarray, camera: Camera, light: Light, dice: StableRandom) -> None:
    height, width = sky.shape
    low = min(max(int(camera.horizon) + 2, 1), height)       # the backdrop covers the sky below
    rise = ((np.arange(low) + 0.5) / low).astype(np.float32)
    clouds = _clouds(dice, low, width, width / 8) + np.float32(0.5) * _clouds(dice, low, width, width / 20)
    clouds = np.maximum(clouds, 0) * np.float32(light.clouds)
    for channel, zenith, haze in zip(image, light.zenith, light.haze, strict=True):
        gradient = np.float32(zenith) + np.float32(haze - zenith) * rise * rise
        np.copyto(channel[:low], clouds + gradient[:, None], where=sky[:low])


def _clouds(dice: StableRandom, height: int, width: int, cell: float) -> np.ndarray:
    """(height, width) float32 smooth noise in (-1, 1); lumps of about `cell` pixels."""
    rows, columns = int(height / cell) + 2, int(width / cell) + 2
    lattice = (2.0 * dice.units(rows * columns) - 1.0).astype(np.float32).reshape(rows, columns)
    return cv2.resize(lattice, (width, height), interpolation=cv2.INTER_LINEAR)


def _expose(image: np.ndarray, light: Light, dice: StableRandom) -> np.ndarray:
    grain = dice.noise(*image.shape[1:])
    grain *= np.float32(light.noise)
    grain += np.float32(118.0 * (1.0 - light.contrast) + 0.5)
    channels = []
    for channel, tint in zip(image, light.tint, strict=True):
        soft = cv2.GaussianBlur(channel, (3, 3), 0.55)       # a lens; it also softens the unsmoothed outlines
        soft *= np.float32(tint * light.exposure * light.contrast)
        soft += grain
        channels.append(np.clip(soft, 0, 255, out=soft).astype(np.uint8))
    return cv2.merge(channels)
