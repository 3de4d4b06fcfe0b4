from __future__ import annotations

from tools.maintainer.results.text import percent, points, spread, table


def test_numbers_are_written_with_what_is_known_of_them() -> None:
    assert (percent(0.12345), percent(None), percent(float("nan"))) == ("12.35", "-", "-")
    assert [points(value) for value in (0.0123, -0.0123, -1e-9, None)] == ["+1.23", "-1.23",
                                                                           "+0.00", "-"]
    assert spread([0.5]) == "50.00"
    # sqrt(0.02)
    assert spread([0.5, None, 0.7]) == "60.00 ± 14.14"
    assert spread([None]) == "-"
    assert table(("a", "b"), [("x|y", 1)]) == "| a | b |\n| --- | --- |\n| x\\|y | 1 |"
