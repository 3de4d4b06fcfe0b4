from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.tools.maintainer.figures.conftest import Drawn, record
from tools.maintainer.figures import __main__ as figures
from tools.maintainer.figures import flow

pytest.importorskip("matplotlib")


def test_the_record_holds_the_image_and_what_the_network_made_of_it(drawn: Drawn) -> None:
    seen = flow.read(drawn.sources / "flow")
    assert seen.predictions.shape == (96, 128) and seen.predictions.max() < 11
    # strides 32 and 16
    assert [field.shape for field in seen.flows.values()] == [(2, 3, 4), (2, 6, 8)]
    assert max(abs(field).max() for field in seen.flows.values()) > 0
    assert len(seen.about["snapshot_sha256"]) == 64 and seen.about["arch"] == "sfnet_dfnetv1"
    assert {path.name for path in (drawn.sources / "flow").iterdir()} == {
        "about.json", "flows.npz", "image.png", "prediction.png",
    }
    assert seen.image.shape == (96, 128, 3)


def test_the_enlarged_window_has_the_most_flow_at_a_border() -> None:
    # two classes, whose border is between columns 5 and 6 of 12 cells of 10 pixels
    predictions = np.zeros((60, 120), np.uint8)
    predictions[:, 60:] = 1
    field = np.zeros((2, 6, 12), np.float32)
    # strong away from the border, weaker at it in the rows 4 and 5
    field[0, :, 0], field[1, 4:, 5] = 9, 2
    seen = flow.FlowRecord({}, np.zeros((60, 120, 3), np.uint8), predictions, {"a": field})
    top, left = flow.border_window(seen)
    # a window of 2 by 4 cells
    assert top == 4 and left <= 5 < left + 4


def test_kept_flows_that_are_damaged_are_named(tmp_path: Path) -> None:
    for name in ("image.png", "prediction.png"):
        (tmp_path / name).touch()
    (tmp_path / "flows.npz").write_bytes(b"PK\x03\x04cut")
    with pytest.raises(ValueError, match=r"flows.npz is damaged .*record it with"):
        flow.read(tmp_path)


def test_a_network_without_flow_is_not_recorded(tmp_path: Path,
                                                capsys: pytest.CaptureFixture[str]) -> None:
    snapshot, picture = record(tmp_path, "fpn_dfnetv1")
    assert figures.main(["--record", str(snapshot), "--image", str(picture), "--sources",
                         str(tmp_path)]) == 2
    assert ("fpn_dfnetv1 has no flow alignment: give a snapshot of an SFNet"
            in capsys.readouterr().err)
