from __future__ import annotations

from tools.maintainer.results.text import percent, points, spread, table, tall_table, wrap_prose


def test_numbers_are_written_with_what_is_known_of_them() -> None:
    assert (percent(0.12345), percent(None), percent(float("nan"))) == ("12.35", "-", "-")
    assert [points(value) for value in (0.0123, -0.0123, -1e-9, None)] == ["+1.23", "-1.23",
                                                                           "+0.00", "-"]
    assert spread([0.5]) == "50.00"
    # sqrt(0.02)
    assert spread([0.5, None, 0.7]) == "60.00 ± 14.14"
    assert spread([None]) == "-"
    assert table(("a", "b"), [("x|y", 1)]) == "| a | b |\n| --- | --- |\n| x\\|y | 1 |"


def test_a_wide_table_is_turned() -> None:
    assert tall_table(("", "x"), [("a", 1), ("b", 2)]) == table(("", "x"), [("a", 1), ("b", 2)])
    assert tall_table(("", "a", "b"), [("x", 1, 2)]) == table(("", "x"), [("a", 1), ("b", 2)])
    assert tall_table(("", "a"), [("x", 1)]) == table(("", "a"), [("x", 1)])


def test_only_prose_is_wrapped() -> None:
    words = " ".join(["word"] * 30)
    code = f"```bash\n{words}\n\n{words}\n```"
    row = f"| {words} |"
    page = wrap_prose("\n\n".join([f"## {words}", words, row, code, words]))
    # 20 words of 4 letters and 19 spaces have 99 columns
    wrapped = " ".join(["word"] * 20) + "\n" + " ".join(["word"] * 10)
    assert page == "\n\n".join([f"## {words}", wrapped, row, code, wrapped])
