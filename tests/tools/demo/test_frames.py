from __future__ import annotations

import io
import math
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.tools.demo.test_containers import film, shorten
from tools.demo import frames
from tools.demo.frames import DamagedVideo, VideoFile

RNG = np.random.default_rng(0)
PICTURE = RNG.integers(0, 256, (24, 31, 3), np.uint8)


def encoded(suffix: str, *flags: int, picture: np.ndarray = PICTURE) -> bytes:
    return cv2.imencode(suffix, picture, flags)[1].tobytes()


class Dripping(io.RawIOBase):
    """A pipe that gives a few bytes at a time."""

    def __init__(self, data: bytes) -> None:
        self.data = io.BytesIO(data)

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        return self.data.read(min(size, 7))


def test_png_and_jpeg_files_are_told_apart_in_a_pipe() -> None:
    progressive = encoded(".jpg", cv2.IMWRITE_JPEG_PROGRESSIVE, 1)
    restarting = encoded(".jpg", cv2.IMWRITE_JPEG_RST_INTERVAL, 1)
    files = [encoded(".png"), encoded(".jpg"), progressive, restarting, encoded(".png")]
    for stream in (io.BytesIO(b"".join(files)), Dripping(b"".join(files))):
        clip = frames.pipe(stream, "stdin", 25)                # type: ignore[arg-type]
        seen = list(clip.frames)
        assert len(seen) == 5
        for frame, data in zip(seen, files, strict=True):
            expected = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)[..., ::-1]
            assert np.array_equal(frame, expected)


@pytest.mark.parametrize(("data", "message"),
                         [(encoded(".png") + encoded(".png")[:-20],
                           "the input ends within frame 2"),
                          (encoded(".jpg") + encoded(".jpg")[:200],
                           "the input ends within frame 2"),
                          (encoded(".png") + b"RIFF" * 9,
                           "neither PNG nor JPEG .* at frame 2; what follows it is not read"),
                          (encoded(".png") + b"\xff\xd8\xff\xe0\0\2junk",
                           "a damaged JPEG at frame 2"),
                          (encoded(".png") + frames.PNG + b"\xff" * 20,
                           "more than .* bytes at frame 2"),
                          (encoded(".png") + encoded(".png", picture=PICTURE[:20]),
                           "frame 2 of the input is 20x31, .* here 24x31"),
                          (encoded(".png") + encoded(".png").replace(b"IDAT", b"IDAX"),
                           "frame 2 of the input is damaged")])
def test_what_is_wrong_in_a_pipe_is_said_with_its_frame(data: bytes, message: str) -> None:
    first, second = frames.pipe(io.BytesIO(data), "stdin", 25).frames
    assert isinstance(first, np.ndarray)
    with pytest.raises(DamagedVideo, match=message):
        raise second


def test_raw_frames_are_cut_by_their_size_and_a_rest_is_said() -> None:
    data = PICTURE.tobytes() * 2 + b"rest"
    first, second, rest = frames.pipe(io.BytesIO(data), "stdin", 25, (24, 31)).frames
    assert np.array_equal(first, PICTURE) and np.array_equal(second, PICTURE)
    assert "within frame 3, after 4 of 2232 bytes: are the frames 24x31" in str(rest)


def test_a_video_is_read_back_at_even_sides(tmp_path: Path) -> None:
    flat = np.full((33, 47, 3), (200, 40, 90), np.uint8)
    with VideoFile(tmp_path / "new/a.mp4", 12.5) as file:
        file.write(flat)
        file.write(flat, times=3)
    clip = frames.video(tmp_path / "new/a.mp4", "a")
    assert (clip.fps, clip.count) == (12.5, 4)
    seen = list(clip.frames)
    assert len(seen) == 4
    assert seen[0].shape == (34, 48, 3)
    assert np.abs(seen[0].astype(int) - (200, 40, 90)).max() < 12


def test_a_video_that_ends_early_is_told_with_its_frames(tmp_path: Path) -> None:
    writer = cv2.VideoWriter(str(tmp_path / "a.avi"), cv2.VideoWriter.fourcc(*"MJPG"), 10, (64, 48))
    for _ in range(20):
        writer.write(RNG.integers(0, 256, (48, 64, 3), np.uint8))
    writer.release()
    data = (tmp_path / "a.avi").read_bytes()
    (tmp_path / "a.avi").write_bytes(data[:len(data) // 2])
    *whole, last = frames.video(tmp_path / "a.avi", "a").frames
    assert 5 < len(whole) < 15
    assert isinstance(last, DamagedVideo)
    assert f"ends after {len(whole)} of 20 frames" in str(last)


def test_no_video_is_damaged(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(b"no video")
    with pytest.raises(DamagedVideo, match=r"a\.mp4 is damaged, cut off, or no video"):
        frames.video(tmp_path / "a.mp4", "a")


def test_a_file_that_lost_frames_is_an_error(tmp_path: Path) -> None:
    file = VideoFile(tmp_path / "a.mp4", 10)
    file.write(PICTURE)
    file.written = 9
    with pytest.raises(OSError, match=r"holds 1 of 9 frames: is the disk full"):
        file.close()


@pytest.mark.parametrize("fps", [239.766, 66.667, 96.263, 120.001, 23.976, 29.97, 14.9253, 7.1234,
                                 1000, 65535, 0.5])
def test_every_frame_rate_is_written(tmp_path: Path, fps: float) -> None:
    with VideoFile(tmp_path / "a.mp4", fps) as file:
        file.write(PICTURE, times=3)
    clip = frames.video(tmp_path / "a.mp4", "a")
    assert len(list(clip.frames)) == 3
    assert math.isclose(clip.fps, fps, rel_tol=1e-4)


@pytest.mark.parametrize("fps", [1e-9, 90000, 1e6])
def test_a_frame_rate_out_of_range_becomes_the_nearest(tmp_path: Path, fps: float) -> None:
    with VideoFile(tmp_path / "a.mp4", fps) as file:
        file.write(PICTURE, times=3)
    assert file.fps == min(max(fps, frames.SLOWEST), frames.FASTEST)


def test_an_edit_list_leaves_no_frame_missing(tmp_path: Path) -> None:
    path = film(tmp_path / "a.mp4", count=60)
    shorten(path, 0.5)
    seen = list(frames.video(path, "a").frames)
    assert len(seen) == 30
    assert all(isinstance(frame, np.ndarray) for frame in seen)


def test_a_cut_matroska_file_is_told(tmp_path: Path) -> None:
    path = film(tmp_path / "a.mkv", count=60)
    path.write_bytes(path.read_bytes()[:-2000])
    *_, last = frames.video(path, "a").frames
    assert isinstance(last, DamagedVideo)


@pytest.mark.parametrize("name", ["12:30:45.mp4", "http:a.mp4", "a%03d.mp4", "file:b.mp4"])
def test_a_relative_name_is_a_file_and_no_address(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.chdir(tmp_path)
    with VideoFile(Path(name), 10) as file:
        file.write(PICTURE, times=3)
    assert len(list(frames.video(Path(name), "a").frames)) == 3


def test_a_name_that_is_not_utf8_is_refused_by_itself(tmp_path: Path) -> None:
    path = tmp_path / "caf\udce9.mp4"
    path.write_bytes(b"")
    with pytest.raises(DamagedVideo, match="the name is not UTF-8"):
        frames.video(path, "a")


def test_a_missing_file_and_a_picture_too_large_for_a_video_are_named(tmp_path: Path) -> None:
    with pytest.raises(DamagedVideo, match=r"cannot be read .No such file"):
        frames.video(tmp_path / "a.mp4", "a")
    with pytest.raises(OSError, match="cannot write MP4 of 10x70000 "), \
            VideoFile(tmp_path / "b.mp4", 10) as file:
        file.write(np.zeros((10, 70000, 3), np.uint8))
    assert not (tmp_path / "b.mp4").exists()


def test_a_stream_that_changes_its_size_keeps_the_first_one(tmp_path: Path) -> None:
    with VideoFile(tmp_path / "a.mp4", 10) as file:
        file.write(PICTURE)
        file.write(PICTURE.repeat(2, 0).repeat(2, 1))
    assert [frame.shape for frame in frames.video(tmp_path / "a.mp4", "a").frames] == \
        2 * [(24, 32, 3)]
