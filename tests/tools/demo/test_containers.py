from __future__ import annotations

import struct
from pathlib import Path

import cv2
import numpy as np
import pytest

from tools.demo.containers import Announcement, announcement

CODECS = {"mp4": "mp4v", "mov": "mp4v", "avi": "MJPG", "mkv": "mp4v", "webm": "VP80"}
# containers that store the number of their frames
COUNTING = ("mp4", "mov", "avi")


def film(path: Path, count: int = 60, fps: float = 30) -> Path:
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*CODECS[path.suffix[1:]]), fps,
                             (64, 48))
    if not writer.isOpened():
        pytest.skip(f"this OpenCV writes no {path.suffix}")
    rng = np.random.default_rng(0)
    for _ in range(count):
        writer.write(rng.integers(0, 256, (48, 64, 3), np.uint8))
    writer.release()
    return path


def shorten(path: Path, share: float) -> None:
    """Makes the edit list of an MP4 show the first part of its frames."""
    data = bytearray(path.read_bytes())
    # size, kind, version and flags, number of entries, then the length of the first
    position = data.index(b"elst") + 12
    (length,) = struct.unpack_from(">I", data, position)
    struct.pack_into(">I", data, position, round(share * length))
    path.write_bytes(data)


@pytest.mark.parametrize("suffix", CODECS)
def test_a_whole_video_is_not_cut(tmp_path: Path, suffix: str) -> None:
    shown = 1.0 if suffix in COUNTING else None
    assert announcement(film(tmp_path / f"a.{suffix}")) == Announcement(False, shown)


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "webm"])
def test_a_video_that_lost_its_end_is_cut(tmp_path: Path, suffix: str) -> None:
    path = film(tmp_path / f"a.{suffix}")
    data = path.read_bytes()
    path.write_bytes(data[:len(data) // 2])
    assert announcement(path).is_cut


@pytest.mark.parametrize("share", [0.5, 0.25])
def test_an_edit_list_tells_which_share_is_shown(tmp_path: Path, share: float) -> None:
    path = film(tmp_path / "a.mp4")
    shorten(path, share)
    assert announcement(path) == Announcement(False, pytest.approx(share, abs=1e-3))


@pytest.mark.parametrize("extra", [bytes(1000), b"MotionPhoto_Data" * 50])
def test_bytes_behind_the_end_are_no_cut(tmp_path: Path, extra: bytes) -> None:
    path = film(tmp_path / "a.mp4")
    path.write_bytes(path.read_bytes() + extra)
    assert announcement(path) == Announcement(False, 1.0)


@pytest.mark.parametrize("seed", range(30))
def test_damaged_bytes_raise_nothing(tmp_path: Path, seed: int) -> None:
    rng = np.random.default_rng(seed)
    for suffix in ("mp4", "mkv"):
        path = film(tmp_path / f"a.{suffix}", count=2)
        data = np.frombuffer(path.read_bytes(), np.uint8).copy()
        data[rng.integers(0, len(data), 200)] = rng.integers(0, 256, 200)
        path.write_bytes(data[:rng.integers(0, len(data))].tobytes())
        assert isinstance(announcement(path), Announcement)
