"""Text in pictures, in any script."""

import logging
from collections.abc import Iterator

import cv2
import numpy as np
import pytest

from utils.visualization import text


def drawn(line: str) -> np.ndarray:
    canvas = np.zeros((40, 200, 3), np.uint8)
    text.draw(canvas, line, 5, 25, 1.0, (255, 200, 100))
    return canvas


@pytest.fixture
def old_opencv(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """OpenCV 4, which draws ASCII only, and a new search for fonts."""
    monkeypatch.setattr(cv2, "__version__", "4.8.0")
    caches = (text._opencv_has, text._font_with, text._warn_once)
    for function in caches:
        function.cache_clear()
    yield
    for function in caches:
        function.cache_clear()


def test_ascii_is_drawn_as_opencv_draws_it() -> None:
    canvas = np.zeros((40, 200, 3), np.uint8)
    cv2.putText(canvas, "road 7%", (5, 25), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (255, 200, 100), 1,
                cv2.LINE_AA)
    assert np.array_equal(drawn("road 7%"), canvas)
    assert text.width("", 1.0) == 0


@pytest.mark.parametrize("line", ["caf\udce9", "a\x00b", "\ud800", "tab\there", "new\nline"])
def test_characters_that_are_no_letters_become_question_marks(line: str) -> None:
    assert np.array_equal(drawn(line), drawn(text.printable(line)))
    assert "?" in text.printable(line) and text.printable(line).isprintable()
    text.width(line, 1.0)


@pytest.mark.usefixtures("old_opencv")
@pytest.mark.parametrize("line", ["straße", "дорога", "δρόμος"])
def test_other_scripts_are_drawn_by_pillow_where_opencv_has_no_letters(line: str) -> None:
    picture = drawn(line)
    assert not np.array_equal(picture, drawn("?" * len(line)))
    # the text is where its width says: within it, and at its end
    columns = np.flatnonzero(picture.any(axis=(0, 2)))
    assert columns[0] >= 4
    assert columns[-1] == pytest.approx(5 + text.width(line, 1.0), abs=3)
    # each letter is drawn, and no two alike
    assert len({drawn(letter).tobytes() for letter in set(line)}) == len(set(line))


@pytest.mark.usefixtures("old_opencv")
def test_letters_that_no_font_has_are_named_once(monkeypatch: pytest.MonkeyPatch,
                                                 caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(text, "_font_files", lambda: ())
    with caplog.at_level(logging.WARNING):
        drawn("道路")
        drawn("道路")
    assert [record.getMessage().split(",")[0] for record in caplog.records] == [
        "no font on this machine has the letters 路道"]


def test_a_part_of_a_picture_is_drawn_on_in_place() -> None:
    canvas = np.zeros((40, 200, 3), np.uint8)
    text.draw(canvas[:, :50], "ถนน road", 5, 25, 1.0, (255, 255, 255))
    assert canvas[:, :50].any()
    assert not canvas[:, 50:].any()
