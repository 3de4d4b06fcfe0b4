"""The plan of a street: lanes, sidewalks, lots beside it and a crossing."""
from __future__ import annotations

from dataclasses import dataclass, field

from tools.make_streets.stable_random import StableRandom

END = 110.0                 # meters; the backdrop is beyond
CURB = 0.18                 # meters


@dataclass(frozen=True)
class Lot:
    """A piece of land beside the street, from `near` to `far` meters ahead.

    Args:
        kind: building, house, park or crossing.
        border: none, wall, fence or hedge, along the street.
    """

    kind: str
    border: str
    near: float
    far: float


@dataclass(frozen=True)
class Side:
    """One side of the street; lengths are in meters.

    Args:
        sign: -1 for left, 1 for right.
        edge: distance of the end of the roadway from the center of the camera's lane.
        grass: width of the strip between curb and sidewalk.
        sidewalk: width of the sidewalk.
        verge: width of the strip between sidewalk and lots.
        parking: whether there are parking spaces along the curb.
        railing: none, fence or wall, along the curb.
    """

    sign: int
    edge: float
    grass: float
    sidewalk: float
    verge: float
    parking: bool
    railing: str
    lots: tuple[Lot, ...]

    @property
    def walk(self) -> tuple[float, float]:
        """Start and end of the sidewalk, as distances like `edge`."""
        start = self.edge + CURB + self.grass
        return start, start + self.sidewalk

    @property
    def border(self) -> float:
        """Distance of the lots."""
        return self.walk[1] + self.verge

    def crossing_at(self, z: float) -> bool:
        """Returns whether a street crosses at z, or within a meter of it."""
        return any(lot.kind == "crossing" and lot.near - 1 < z < lot.far + 1 for lot in self.lots)


@dataclass(frozen=True)
class Street:
    """The plan of a street; lengths are in meters.

    Args:
        lane: width of a lane.
        tram: d of the center of the tram track.
        track: street, grass or ballast, the ground of the track.
        crossing: nearest and farthest z of a street that crosses on both sides.
        reserved: rectangles (d, z, half width, half length) of the ground that are occupied.
    """

    left: Side
    right: Side
    lane: float
    tram: float | None
    track: str
    crossing: tuple[float, float] | None
    reserved: list[tuple[float, float, float, float]] = field(default_factory=list)

    def reserve(self, d: float, z: float, half_width: float, half_length: float) -> bool:
        """Reserves a rectangle of the ground; returns False if it overlaps a reserved one."""
        for other_d, other_z, other_width, other_length in self.reserved:
            overlaps_d = abs(d - other_d) < half_width + other_width
            if overlaps_d and abs(z - other_z) < half_length + other_length:
                return False
        self.reserved.append((d, z, half_width, half_length))
        return True

    @property
    def sides(self) -> tuple[Side, Side]:
        return self.left, self.right

    @staticmethod
    def sample(rng: StableRandom) -> Street:
        """Returns the plan of a random street."""
        lane = rng.uniform(2.9, 3.6)
        tram = rng.chance(0.42)
        crossing = None
        if rng.chance(0.4):
            near = rng.uniform(14, 38)
            crossing = (near, near + rng.uniform(8, 13))
        parking = rng.chance(0.4), rng.chance(0.4)
        oncoming = 0 if tram and rng.chance(0.4) else rng.pick((0, 1, 1, 1))
        track = lane / 2 + 1.75 + (lane * oncoming if oncoming and rng.chance(0.3) else 0.0)
        width_left = lane / 2 + lane * oncoming
        width_left = width_left + (3.5 if tram else 0.0) + (2.3 if parking[0] else 0.4)
        width_right = lane / 2 + lane * rng.pick((0, 0, 0, 1)) + (2.3 if parking[1] else 0.4)
        return Street(left=_side(rng, -1, width_left, parking[0], crossing),
                      right=_side(rng, 1, width_right, parking[1], crossing), lane=lane,
                      tram=-track if tram else None,
                      track=rng.pick(("street", "street", "grass", "ballast")), crossing=crossing)


def _side(rng: StableRandom, sign: int, edge: float, parking: bool,
          crossing: tuple[float, float] | None) -> Side:
    grass = rng.uniform(1.0, 2.5) if rng.chance(0.3) else 0.0
    return Side(sign=sign, edge=edge, grass=grass, sidewalk=rng.uniform(2.2, 5.5),
                verge=rng.uniform(1.0, 4.0) if rng.chance(0.35) else 0.0, parking=parking,
                railing="none" if parking else rng.pick(("none", "none", "none", "fence", "wall")),
                lots=tuple(_lots(rng, crossing)))


def _lots(rng: StableRandom, crossing: tuple[float, float] | None) -> list[Lot]:
    lots: list[Lot] = []
    # from the green edge of a town to a closed row of houses
    dense = rng.uniform(0.1, 0.75)
    border = rng.pick(("wall", "wall", "wall", "fence", "fence", "hedge", "none"))
    near = 2.0
    while near < END:
        far = near + rng.uniform(9, 24)
        if crossing and near < crossing[0] < far + 4:
            far = crossing[0]
        if rng.chance(0.25):
            border = rng.pick(("wall", "wall", "wall", "fence", "fence", "hedge", "none"))
        if rng.chance(dense):
            lots.append(Lot("building", "none", near, far))
        else:
            lots.append(Lot(rng.pick(("house", "park")), border, near, far))
        if crossing and far == crossing[0]:
            lots.append(Lot("crossing", "none", *crossing))
            far = crossing[1]
        near = far
    return lots
