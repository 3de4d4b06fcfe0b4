from __future__ import annotations

import logging

import pytest

from utils.logs import track


def test_without_a_terminal_it_says_now_and_then_how_far_it_is(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.INFO):
        assert list(track("abc", 3, "pictures", seconds=0)) == ["a", "b", "c"]
    assert [message.split(",")[0] for message in caplog.messages] == [
        f"pictures: {i} of 3" for i in (1, 2, 3)
    ]


def test_quiet_says_nothing(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        assert list(track("abc", 3, "pictures", quiet=True, seconds=0)) == ["a", "b", "c"]
    assert not caplog.messages
