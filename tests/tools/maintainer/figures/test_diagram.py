from __future__ import annotations

import pytest

from tools.maintainer.figures import diagram, style

pytest.importorskip("matplotlib")


def test_a_corner_is_cut_by_its_radius_before_and_after() -> None:
    # a right angle at (20, 0), radius 6: the curve runs from (14, 0) to (20, 6) around the corner
    line = diagram._rounded_corners([(0, 0), (20, 0), (20, 20)], 6)
    assert [point for point, _ in line] == [(0, 0), (14, 0), (20, 0), (20, 6), (20, 20)]


def test_a_short_line_is_cut_at_its_middle() -> None:
    line = diagram._rounded_corners([(0, 0), (4, 0), (4, 20)], 6)
    assert line[1][0] == (2, 0)


def test_a_tint_lies_between_the_page_and_the_color() -> None:
    _, axis = style.new_figure(2)
    drawing = diagram.Diagram(axis, style.LIGHT, 100, 100)
    assert drawing.tint("#000000", 0) == style.LIGHT.page
    assert drawing.tint("#000000", 1) == "#000000"
