from __future__ import annotations

import errno
import io
import logging
import sys
from pathlib import Path

import pytest

from utils import logs
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


def test_a_closed_terminal_does_not_end_the_program(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Closed(io.StringIO):
        def write(self, text: str) -> int:
            raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(sys, "stdout", Closed())
    monkeypatch.setattr(sys, "stderr", sys.stderr)
    logs.start_logging(tmp_path)
    logging.getLogger("train").info("saved \udcff")
    for handler in logging.getLogger().handlers:
        handler.flush()
    assert r"saved \udcff" in (tmp_path / "train.log").read_text()
