"""The plan of a street: how wide it is, what borders it, where it is crossed."""
from __future__ import annotations

from dataclasses import dataclass, field

from tools.make_streets.stable_random import StableRandom

END = 110.0                                                  # meters; beyond is the backdrop
KERB = 0.18


@dataclass(frozen=True)
class Lot:
    """A stretch of the border from `near` to `far` meters ahead."""

    kind: str                                                # building, house, park or crossing
    border: str                                              # none, wall, fence or hedge, along the street
    near: float
    far: float


@dataclass(frozen=True)
class Side:
    """One side of the street, in meters away from the camera's lane."""

    sign: int                                                # -1 left, 1 right
    edge: float                                              # end of the carriageway
    grass: float                                             # width of the strip between kerb and pavement
    pavement: float                                          # width
    verge: float                                             # width of the strip between pavement and lots
    parking: bool
    railing: str                                             # what stands along the kerb: none, fence or wall
    lots: tuple[Lot, ...]

    @property
    def walk(self) -> tuple[float, float]:
        """The pavement."""
        start = self.edge + KERB + self.grass
        return start, start + self.pavement

    @property
    def border(self) -> float:
        return self.walk[1] + self.verge

    def crossing_at(self, z: float) -> bool:
        return any(lot.kind == "crossing" and lot.near - 1 < z < lot.far + 1 for lot in self.lots)


@dataclass(frozen=True)
class Street:
    left: Side
    right: Side
    lane: float                                              # width of a lane
    tram: float | None                                       # d of the middle of the track
    track: str                                               # street, grass or ballast
    crossing: tuple[float, float] | None                     # z of a street that crosses on both sides
    claimed: list[tuple[float, float, float, float]] = field(default_factory=list)

    def claim(self, d: float, z: float, half_width: float, half_length: float) -> bool:
        """Takes a rectangle of the ground unless something stands there already."""
        for other_d, other_z, other_width, other_length in self.claimed:
            if abs(d - other_d) < half_width + other_width and abs(z - other_z) < half_length + other_length:
                return False
        self.claimed.append((d, z, half_width, half_length))
        return True

    @property
    def sides(self) -> tuple[Side, Side]:
        return self.left, self.right

    @staticmethod
    def drawn(dice: StableRandom) -> Street:
        lane = dice.uniform(2.9, 3.6)
        tram = dice.chance(0.42)
        crossing = None
        if dice.chance(0.4):
            near = dice.uniform(14, 38)
            crossing = (near, near + dice.uniform(8, 13))
        parking = dice.chance(0.4), dice.chance(0.4)
        oncoming = 0 if tram and dice.chance(0.4) else dice.pick((0, 1, 1, 1))
        track = lane / 2 + 1.75 + (lane * oncoming if oncoming and dice.chance(0.3) else 0.0)
        width_left = lane / 2 + lane * oncoming + (3.5 if tram else 0.0) + (2.3 if parking[0] else 0.4)
        width_right = lane / 2 + lane * dice.pick((0, 0, 0, 1)) + (2.3 if parking[1] else 0.4)
        return Street(
            left=_side(dice, -1, width_left, parking[0], crossing),
            right=_side(dice, 1, width_right, parking[1], crossing),
            lane=lane,
            tram=-track if tram else None,
            track=dice.pick(("street", "street", "grass", "ballast")),
            crossing=crossing,
        )


def _side(dice: StableRandom, sign: int, edge: float, parking: bool, crossing: tuple[float, float] | None) -> Side:
    grass = dice.uniform(1.0, 2.5) if dice.chance(0.3) else 0.0
    return Side(
        sign=sign,
        edge=edge,
        grass=grass,
        pavement=dice.uniform(2.2, 5.5),
        verge=dice.uniform(1.0, 4.0) if dice.chance(0.35) else 0.0,
        parking=parking,
        railing="none" if parking else dice.pick(("none", "none", "none", "fence", "wall")),
        lots=tuple(_lots(dice, crossing)),
    )


def _lots(dice: StableRandom, crossing: tuple[float, float] | None) -> list[Lot]:
    lots: list[Lot] = []
    dense = dice.uniform(0.1, 0.75)                         # a row of houses, or the green edge of a town
    border = dice.pick(("wall", "wall", "wall", "fence", "fence", "hedge", "none"))
    near = 2.0
    while near < END:
        far = near + dice.uniform(9, 24)
        if crossing and near < crossing[0] < far + 4:
            far = crossing[0]
        if dice.chance(0.25):
            border = dice.pick(("wall", "wall", "wall", "fence", "fence", "hedge", "none"))
        if dice.chance(dense):
            lots.append(Lot("building", "none", near, far))
        else:
            lots.append(Lot(dice.pick(("house", "park")), border, near, far))
        if crossing and far == crossing[0]:
            lots.append(Lot("crossing", "none", *crossing))
            far = crossing[1]
        near = far
    return lots
