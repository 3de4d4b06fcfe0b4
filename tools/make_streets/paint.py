"""Palettes, which overlap between classes so that color alone does not tell the class."""
from __future__ import annotations

from collections.abc import Sequence

from tools.make_streets.stable_random import Color, StableRandom

Palette = tuple[Color, ...]

GRAYS: Palette = ((70, 70, 72), (98, 97, 96), (126, 125, 122), (152, 150, 146), (182, 180, 176))
ASPHALTS: Palette = (
    *GRAYS[:4], *GRAYS[:4], (122, 108, 96), (104, 92, 88), (128, 92, 82), (96, 104, 116),
)
PLASTERS: Palette = (
    (196, 180, 150), (178, 150, 118), (206, 200, 186), (168, 138, 120), (150, 156, 150),
    (132, 140, 152),
)
BRICKS: Palette = ((142, 82, 66), (122, 88, 72), (160, 112, 84), (104, 76, 66))
LEAVES: Palette = (
    (70, 102, 48), (88, 114, 58), (58, 84, 52), (106, 114, 58), (126, 104, 56), (76, 96, 62),
)
LAWNS: Palette = (
    (98, 124, 64), (122, 130, 76), (134, 120, 84), (108, 120, 74), (136, 128, 98), (84, 106, 60),
)
LACQUERS: Palette = (
    (206, 206, 204), (150, 152, 154), (90, 92, 96), (44, 46, 50), (150, 48, 44), (52, 72, 120),
    (66, 96, 82), (176, 148, 84),
)
LIVERIES: Palette = (
    (188, 162, 74), (160, 58, 52), (62, 88, 140), (196, 194, 188), (74, 120, 92), (142, 140, 136),
)
CLOTHES: Palette = (
    (46, 48, 56), (70, 76, 96), (120, 60, 56), (150, 146, 138), (92, 104, 78), (196, 192, 184),
    (104, 84, 70), (168, 132, 84),
)
SKINS: Palette = ((206, 164, 138), (176, 128, 100), (128, 88, 66), (96, 66, 52))
SIGNALS: Palette = ((186, 44, 40), (44, 78, 160), (212, 176, 56), (222, 220, 214), (40, 116, 82))
STRAYS: Palette = (*GRAYS, (196, 180, 150), (142, 82, 66), (92, 112, 64), (110, 120, 140))


def color(rng: StableRandom, anchors: Sequence[Color], spread: float = 14.0,
          stray: float = 0.1) -> Color:
    """Returns a random color near one of the anchors.

    Args:
        spread: largest change of each channel, on top of a random brightness.
        stray: probability of starting from `STRAYS`, colors that any class may have.
    """
    red, green, blue = rng.pick(STRAYS if rng.chance(stray) else anchors)
    gain = rng.uniform(0.75, 1.2)
    red, green, blue = (
        channel * gain + rng.uniform(-spread, spread) for channel in (red, green, blue))
    return red, green, blue


def lit(base: Color, brightness: float) -> Color:
    """Returns a color with each channel multiplied by the brightness."""
    return base[0] * brightness, base[1] * brightness, base[2] * brightness


def mix(first: Color, second: Color, weight: float) -> Color:
    """Returns (1 - weight) * first + weight * second."""
    keep = 1.0 - weight
    red, green, blue = (a * keep + b * weight for a, b in zip(first, second, strict=True))
    return red, green, blue
