from __future__ import annotations

from typing import Any

import cv2

from tools.maintainer import screenshots


def test_pictures_for_documents_show_the_page_and_an_image(chromium: Any, scored: Any,
                                                           tmp_path: Any) -> None:
    pictures = {}
    screenshots.take(chromium, scored.single, tmp_path, (600, 900), image=2, view=2)
    for name in ("light", "dark", "matrix", "image"):
        pictures[name] = cv2.imread(str(tmp_path / f"{name}.png"))
    assert pictures["light"].shape == pictures["image"].shape == (600, 900, 3)
    assert pictures["light"].mean() > 200 > 60 > pictures["dark"].mean()


def test_pictures_of_a_missing_page_are_refused(tmp_path: Any, capsys: Any) -> None:
    assert screenshots.main([str(tmp_path / "none.html"), "--out", str(tmp_path)]) == 2
    assert "python -m tools.report writes it" in capsys.readouterr().err
