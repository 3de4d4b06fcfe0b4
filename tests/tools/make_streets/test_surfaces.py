"""The ground and the backdrop."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tools.make_streets.labels import BUILDING, RAIL_TRACK, ROAD, SIDEWALK, SKY, TERRAIN, VEGETATION
from tools.make_streets.stable_random import StableRandom
from tools.make_streets.stage import Stage
from tools.make_streets.street import Street
from tools.make_streets.surfaces import paint_backdrop, paint_ground, paint_markings


@pytest.fixture
def street() -> Street:
    street = Street.sample(StableRandom(0))
    return replace(street, tram=None, crossing=None)


def test_every_pixel_below_the_horizon_is_ground(stage: Stage, street: Street) -> None:
    paint_ground(stage, street)
    labels = stage.canvas.label_ids()
    assert (labels[:41] == SKY).all()
    assert set(np.unique(labels[41:])) <= {ROAD, SIDEWALK, TERRAIN}


def test_the_lane_of_the_camera_is_road(stage: Stage, street: Street) -> None:
    paint_ground(stage, street)
    paint_markings(stage, street)
    assert (stage.canvas.label_ids()[45:, 100] == ROAD).all()


def test_the_curb_is_at_the_edge_of_the_roadway(stage: Stage, street: Street) -> None:
    paint_ground(stage, street)
    # row 60 shows the ground 2 m * 100 pixels / 20.5 pixels ahead
    scale = 20.5 / 2
    edge = 100 + street.right.edge * scale
    labels = stage.canvas.label_ids()[60]
    assert labels[int(edge) - 2] == ROAD
    assert labels[int(edge) + 2] == SIDEWALK


@pytest.mark.parametrize(("track", "label"),
                         [("ballast", RAIL_TRACK), ("grass", TERRAIN), ("street", ROAD)])
def test_the_ground_of_a_tram_track_has_its_label(stage: Stage, street: Street, track: str,
                                                  label: int) -> None:
    left = replace(street.left, edge=8.0)
    street = replace(street, left=left, tram=-4.0, track=track)
    paint_ground(stage, street)
    paint_markings(stage, street)
    # 10 m ahead there are 10 pixels per meter, and the ground is 20 rows below the horizon
    assert stage.canvas.label_ids()[60, 100 - 40] == label


def test_the_backdrop_closes_the_horizon(stage: Stage) -> None:
    paint_backdrop(stage)
    labels = stage.canvas.label_ids()
    assert set(np.unique(labels)) <= {SKY, VEGETATION, BUILDING}
    assert (labels[41] != SKY).all()
    assert (labels[:20] == SKY).all()
