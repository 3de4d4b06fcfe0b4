from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tests.tools.maintainer.figures.conftest import LABELS, PUBLISHED, Drawn
from tools.maintainer.figures import sfnet_res

pytest.importorskip("matplotlib")

ROOT = Path(__file__).resolve().parents[4]


def test_networks_without_a_measured_speed_are_named(drawn: Drawn) -> None:
    assert sfnet_res.read_speeds(drawn.sources, [*LABELS]) == dict.fromkeys(LABELS, 50)
    with pytest.raises(
        ValueError,
        match=r"tell no speed of fpn_x, sfnet_x: measure with .* logs/fpn_x_s0/last.pth ",
    ):
        sfnet_res.read_speeds(drawn.sources, [*LABELS, "fpn_x", "sfnet_x"])


def test_a_published_row_without_its_source_is_refused(tmp_path: Path) -> None:
    row = {"family": "SFNet", "name": "R18", "gmacs": 243, "miou": 79, "imagenet": True}
    (tmp_path / "published.yaml").write_text(json.dumps({**PUBLISHED, "cost": [row]}))
    with pytest.raises(ValueError, match="lacks an entry"):
        sfnet_res.read_published(tmp_path / "published.yaml")


def documents() -> str:
    """The text of all documents."""
    return "".join(path.read_text(encoding="utf-8")
                   for path in (*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")))


def test_published_costs_are_those_that_are_counted_here() -> None:
    counted = dict(re.findall(r"^\| `(sfnet_\w+)` \|[^|]*\| ([\d.]+) G \|", documents(),
                              re.MULTILINE))
    names = {"R18": "resnet18", "R50": "resnet50", "R101": "resnet101", "DF1": "dfnetv1",
             "DF2": "dfnetv2"}
    rows = sfnet_res.read_published(ROOT / "results/figures/published.yaml")["cost"]
    costs = {names[row["name"]]: row["gmacs"] for row in rows if row["family"] == "SFNet"}
    assert costs == {name: float(counted[f"sfnet_{name}"]) for name in names.values()}
