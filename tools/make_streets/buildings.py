"""Houses: a facade along the street, an end wall towards the camera, a roof."""
from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tools.make_streets.canvas import SUN_SHADOW
from tools.make_streets.labels import BUILDING
from tools.make_streets.paint import BRICKS, GRAYS, LEAVES, LIVERIES, PLASTERS, color, lit, mix
from tools.make_streets.stable_random import Color, StableRandom
from tools.make_streets.stage import Stage, paint_plane

TEXELS = 6.0                # per meter of facade
WALL, GLASS, DARK_GLASS, FRAME, TRIM, SHOP, AWNING, DOOR = range(8)


@dataclass(frozen=True)
class House:
    """The look of a building.

    Args:
        texture: (rows, columns) of WALL ... DOOR, rows upwards; repeated along the facade.
        colors: of WALL ... DOOR.
        pitch: height in meters of the ridge above the eaves; 0 for a flat roof.
    """

    texture: np.ndarray
    colors: tuple[Color, ...]
    roof: Color
    pitch: float

    @property
    def height(self) -> float:
        """Height of the eaves in meters."""
        return len(self.texture) / TEXELS

    @staticmethod
    def sample(rng: StableRandom, low: bool) -> House:
        """Returns a random building; a low one has one or two floors and no shop."""
        floors = rng.integer(1, 3) if low else rng.pick((2, 3, 3, 4, 5, 6))
        wall = color(rng, (*PLASTERS, *PLASTERS, *PLASTERS, *BRICKS, *GRAYS), 16)
        glass = mix((62, 70, 82), (150, 162, 176), rng.uniform(0, 0.7))
        colors = (wall, glass, lit(glass, 0.7), lit(wall, rng.pick((0.7, 1.3))),
                  lit(wall, rng.uniform(0.75, 1.25)), lit(color(rng, (*PLASTERS, *GRAYS)), 0.8),
                  color(rng, (*LIVERIES, *LEAVES)), (82, 66, 56))
        shop = not low and rng.chance(0.45)
        return House(texture=_facade(rng, floors, shop), colors=colors,
                     roof=color(rng, (BRICKS[0], BRICKS[1], GRAYS[0], GRAYS[1]), 10),
                     pitch=rng.uniform(1.5, 3.5) if low or rng.chance(0.5) else 0.0)


def _facade(rng: StableRandom, floors: int, shop: bool) -> np.ndarray:
    """Returns one period of a facade, (rows, columns) uint8, rows from the ground up."""
    story, bay, bays = rng.integer(17, 22), rng.integer(13, 24), 4
    ground = rng.integer(19, 26)
    facade = np.full((ground + story * (floors - 1) + 3, bay * bays), WALL, np.uint8)
    side, sill, head = rng.integer(3, 5), rng.integer(4, 7), story - rng.integer(2, 4)
    balconies, bands = rng.chance(0.25), rng.chance(0.4)
    for floor in range(floors):
        base = ground + story * (floor - 1) if floor else ground - story
        for k in range(bays):
            left, right = k * bay + side, (k + 1) * bay - side
            facade[base + sill - 1 : base + head + 1, left - 1 : right + 1] = FRAME
            facade[base + sill : base + head, left:right] = DARK_GLASS if rng.chance(0.4) else GLASS
            facade[base + sill : base + head, (left + right) // 2] = FRAME
            if balconies and floor:
                facade[base + 1 : base + sill + 1, left - 2 : right + 2] = TRIM
        if bands and floor:
            facade[base, :] = TRIM
    if shop:
        _shop(rng, facade[:ground], bay)
    else:
        door = bay * rng.integer(0, bays) + side
        facade[0:14, door : door + 6] = DOOR
        facade[0:2][facade[0:2] == WALL] = TRIM
    facade[-3:, :] = TRIM
    return facade


def _shop(rng: StableRandom, ground: np.ndarray, bay: int) -> None:
    """Turns the ground floor into a shop front, in place."""
    height = len(ground)
    ground[...] = SHOP
    for left in range(0, ground.shape[1], bay):
        ground[3 : height - 7, left + 1 : left + bay - 1] = DARK_GLASS if rng.chance(0.5) else GLASS
    door = bay * rng.integer(0, 4) + 2
    ground[0 : height - 8, door : door + 6] = DOOR
    ground[height - 6 : height - 2, :] = AWNING


def paint_house(stage: Stage, house: House, sign: int, d: float, near: float, far: float,
                depth: float = 12.0) -> None:
    """Paints a house with its facade at d from `near` to `far`, `depth` meters deep."""
    camera, light = stage.camera, stage.light
    corner = camera.ground_point(d, near)
    back = camera.ground_point(d + sign * depth, near)
    far_corner = camera.ground_point(d, far)
    if house.pitch:
        _paint_roof(stage, house, sign, d, near, far, depth)
    end_wall = _swatch(stage, house, light.facing(0.0, -1.0), near)
    facade = _swatch(stage, house, light.facing(-sign, 0.0), (near + far) / 2)
    plain = house.texture.copy()
    plain[:, : plain.shape[1] // 2] = WALL
    paint_plane(stage, (back, corner), plain, end_wall, TEXELS)
    paint_plane(stage, (corner, far_corner), house.texture, facade, TEXELS)


def shade_house(stage: Stage, house: House, d: float, near: float, far: float) -> None:
    """Adds the shadow of a facade across the street."""
    light = stage.light
    length = light.shadow_length * house.height * 0.6
    if light.sun > 0.2:
        away_x, away_z = -light.sun_x * length, -light.sun_z * length
        outline = [(d, near), (d, far), (d + away_x, max(far + away_z, 1.5)),
                   (d + away_x, max(near + away_z, 1.5))]
        stage.canvas.shade(stage.camera.ground(outline), SUN_SHADOW)


def _swatch(stage: Stage, house: House, brightness: float, distance: float) -> np.ndarray:
    """Returns the materials of the house's colors in the light of a wall."""
    materials = [stage.canvas.material(BUILDING, lit(paint, brightness), distance, 3.0)
                 for paint in house.colors]
    return np.array(materials, np.uint16)


def _paint_roof(stage: Stage, house: House, sign: int, d: float, near: float, far: float,
                depth: float) -> None:
    """Paints the gable towards the camera and the slope towards the street."""
    eaves, ridge = house.height, house.height + house.pitch
    back, middle = d + sign * depth, d + sign * depth / 2
    light, canvas = stage.light, stage.canvas
    tiles = lit(house.roof, (light.above + light.facing(-sign, 0.0)) / 2)
    slope = canvas.material(BUILDING, tiles, (near + far) / 2, 5.0)
    gable = canvas.material(BUILDING, lit(house.colors[WALL], light.facing(0.0, -1.0)), near, 3.0)
    corners = [(d, eaves, near), (d, eaves, far), (middle, ridge, far), (middle, ridge, near),
               (back, eaves, near), (d, eaves, near), (middle, ridge, near)]
    points = [(stage.camera.x_of(a, c), b, c) for a, b, c in corners]
    x, y, z = (np.array(axis) for axis in zip(*points, strict=True))
    pixels = stage.camera.project(x, y, z)
    canvas.paint(pixels, [4, 3], [slope, gable])
