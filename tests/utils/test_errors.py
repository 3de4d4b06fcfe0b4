from __future__ import annotations

import pytest

from utils.errors import MOST_SHOWN, in_a_line


@pytest.mark.parametrize(("error", "whole", "line"), [
    (RuntimeError("\n compiled for\n  another numpy\n"), True,
     "RuntimeError: compiled for another numpy"),
    (RuntimeError("the graph is refused \nits listing"), False,
     "RuntimeError: the graph is refused"),
    (KeyError(), True, "KeyError"),
    (SystemError("\n"), False, "SystemError"),
])
def test_an_error_is_told_in_one_line(error: Exception, whole: bool, line: str) -> None:
    assert in_a_line(error, whole=whole) == line


def test_a_long_message_is_cut() -> None:
    assert in_a_line(ValueError("x" * 1000)) == "ValueError: " + "x" * MOST_SHOWN
