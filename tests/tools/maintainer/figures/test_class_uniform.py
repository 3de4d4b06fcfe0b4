from __future__ import annotations

import json
from pathlib import Path

import pytest

from tools.maintainer.figures import class_uniform, style

pytest.importorskip("matplotlib")


def test_classes_that_no_crop_shows_are_left_out(tmp_path: Path) -> None:
    # 11 classes of CamVid, of which the last is never seen
    shares = {"pixels": [0.1] * 10 + [0.0], "crops": [0.5] * 10 + [0.0]}
    settings = {"dataset": "camvid", "class_uniform_pct": 0.5, "crop_size": [180, 240]}
    content = {"without": shares, "with": shares, "settings": settings}
    (tmp_path / class_uniform.COUNTS).write_text(json.dumps(content))
    figure = class_uniform.draw(tmp_path, style.LIGHT)
    assert len(figure.axes[0].get_yticks()) == 10
