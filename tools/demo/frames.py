"""Reads frames from a video file, a camera or a pipe, and writes them to a video file.

A frame is an (H, W, 3) uint8 RGB array.
"""
from __future__ import annotations

import math
import re
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import cv2
import numpy as np

from tools.demo.containers import announcement

VIDEO_SUFFIXES = (".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm", ".mpg", ".mpeg")
# frames per second of a source that does not tell it
DEFAULT_FPS = 25.0
# Frames per second that OpenCV can write: it makes them a fraction of integers of 16 bits, with a
# power of ten up to 1000 below the line.
SLOWEST, FASTEST = 0.002, 65535.0
# A video counts as complete with this share of the frames that its container counts.
LEAST_SHARE = 0.95
# of one image in a pipe
MAX_BYTES = 1 << 28
PNG, JPEG = b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff"
# Within coded data of a JPEG, FF 00 is a byte of data, and FF D0 to FF D7 are restarts.
NEXT_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")


class DamagedVideo(ValueError):
    """A video or a frame cannot be read; the message says which and why."""


@dataclass(frozen=True)
class Clip:
    """A sequence of frames of one size.

    Attributes:
        name: stem of the files that are made from it.
        frames: frames, with a `DamagedVideo` in place of those that cannot be read.
        fps: frames per second.
        count: the expected number of frames; None if it is unknown.
        live: whether frames arrive in real time, however long each takes to process.
    """

    name: str
    frames: Iterator[np.ndarray | DamagedVideo]
    fps: float
    count: int | None = None
    live: bool = False


def video(path: Path, name: str) -> Clip:
    """Opens a video file. Raises DamagedVideo if it cannot be read."""
    try:
        announced = announcement(path)
    except OSError as error:
        raise DamagedVideo(f"{path} cannot be read ({error.strerror})") from error
    capture = cv2.VideoCapture(_local(path))
    if not capture.isOpened():
        raise DamagedVideo(f"{path} is damaged, cut off, or no video that OpenCV can read")
    count = max(0, int(capture.get(cv2.CAP_PROP_FRAME_COUNT))) or None
    expected = None
    if count and announced.shown is not None:
        # where an edit list cuts, a frame more or less is a matter of rounding
        expected = count if announced.shown == 1 else max(1, int(count * announced.shown) - 1)
    frames = _read_all(capture, str(path), expected, announced.is_cut)
    return Clip(name, frames, _rate(capture), expected or count)


def _local(path: Path) -> str:
    """Returns a path for OpenCV, which takes `12:30.mp4` for the address of a server.

    Raises:
        DamagedVideo: the name is not UTF-8, which OpenCV cannot open.
    """
    text = str(path.absolute())
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise DamagedVideo(f"{text!a}: the name is not UTF-8, and OpenCV cannot open it; rename "
                           "the file") from error
    return text


def _rate(capture: cv2.VideoCapture) -> float:
    """Returns the frames per second of a source, the default if it does not tell them."""
    fps = capture.get(cv2.CAP_PROP_FPS)
    return fps if math.isfinite(fps) and fps > 0 else DEFAULT_FPS


def _writable_rate(fps: float) -> float:
    """Returns the nearest frames per second that OpenCV can write."""
    fps = min(max(fps, SLOWEST), FASTEST)
    for base in (1000, 100, 10):
        if round(fps * base) <= FASTEST:
            return round(fps * base) / base
    return float(round(fps))


def camera(number: int, name: str) -> Clip:
    """Opens a camera. Raises OSError if there is none of this number."""
    capture = cv2.VideoCapture(number)
    if not capture.isOpened():
        devices = sorted(path.name for path in Path("/dev").glob("video*"))
        raise OSError(f"camera {number} is missing, or another program uses it (in /dev: "
                      f"{', '.join(devices) or 'none'}).")
    frames = _read_all(capture, f"camera {number}", expected=None, is_cut=False)
    return Clip(name, frames, _rate(capture), live=True)


def _read_all(capture: cv2.VideoCapture, source: str, expected: int | None,
              is_cut: bool) -> Iterator[np.ndarray | DamagedVideo]:
    """Yields all frames, then a `DamagedVideo` if the file is cut or lacks expected frames."""
    done = 0
    try:
        while (frame := capture.read()[1]) is not None:
            yield cv2.cvtColor(frame, cv2.COLOR_BGR2RGB)
            done += 1
    finally:
        capture.release()
    if done == 0 or is_cut or (expected and done < LEAST_SHARE * expected):
        yield DamagedVideo(
            f"{source} ends after {done} of {expected or 'its'} frames: it is damaged or cut off"
        )


def pipe(stream: BinaryIO, name: str, fps: float, size: tuple[int, int] | None = None) -> Clip:
    """Reads frames from a pipe: PNG or JPEG files one after the other, or raw pixels.

    Args:
        size: (height, width) of raw frames: rows of pixels of three bytes, red, green, blue.
    """
    frames = _decoded(stream) if size is None else _raw(stream, *size)
    return Clip(name, frames, fps)


def _raw(stream: BinaryIO, height: int, width: int) -> Iterator[np.ndarray | DamagedVideo]:
    frame_bytes, number = height * width * 3, 0
    while data := stream.read(frame_bytes):
        number += 1
        if len(data) < frame_bytes:
            yield DamagedVideo(
                f"the input ends within frame {number}, after {len(data)} of {frame_bytes} bytes: "
                f"are the frames {height}x{width} (height x width), three bytes per pixel?"
            )
            return
        yield np.frombuffer(data, np.uint8).reshape(height, width, 3)


def _decoded(stream: BinaryIO) -> Iterator[np.ndarray | DamagedVideo]:
    window, number = _Buffer(stream), 0
    shape: tuple[int, ...] = ()
    while window.fill(1):
        number += 1
        try:
            data = window.take_image()
        except EOFError:
            yield DamagedVideo(f"the input ends within frame {number}")
            return
        except ValueError as error:
            yield DamagedVideo(
                f"the input has {error} at frame {number}; what follows it is not read"
            )
            return
        frame = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
        if frame is None:
            yield DamagedVideo(f"frame {number} of the input is damaged")
            continue
        shape = shape or frame.shape
        if frame.shape != shape:
            yield DamagedVideo(
                f"frame {number} of the input is {frame.shape[0]}x{frame.shape[1]}, but a video "
                f"has one size, here {shape[0]}x{shape[1]}"
            )
        else:
            yield cv2.cvtColor(frame, cv2.COLOR_BGR2RGB)


class _Buffer:
    """Bytes that were read from a stream and not yet taken."""

    def __init__(self, stream: BinaryIO) -> None:
        self.data = bytearray()
        # read1 returns what is there, so that a frame is not held back until the next ones fill a
        # block
        self._read: Callable[[int], bytes] = getattr(stream, "read1", stream.read)

    def fill(self, size: int) -> bool:
        """Reads until the buffer holds `size` bytes; returns False if the stream ends before."""
        while len(self.data) < size:
            if not (more := self._read(1 << 16)):
                return False
            self.data += more
        return True

    def need(self, size: int) -> None:
        """Reads until the buffer holds `size` bytes.

        Raises:
            EOFError: the stream ends before.
            ValueError: no image has so many bytes.
        """
        if size > MAX_BYTES:
            raise ValueError(f"an image of more than {MAX_BYTES} bytes")
        if not self.fill(size):
            raise EOFError

    def take_image(self) -> bytes:
        """Takes the PNG or JPEG file at the front. Raises EOFError, or ValueError for another."""
        self.need(len(JPEG))
        if self.data.startswith(JPEG):
            end = self._jpeg_end()
        else:
            self.need(len(PNG))
            if not self.data.startswith(PNG):
                raise ValueError("neither PNG nor JPEG (raw pixels need --stdin_size)")
            end = self._png_end()
        taken = bytes(self.data[:end])
        del self.data[:end]
        return taken

    def _png_end(self) -> int:
        """Returns where the PNG ends: each chunk has a length, a type, data and a checksum.

        Source: PNG specification (W3C), section 5 "Datastream structure".
        """
        position, kind = len(PNG), b""
        while kind != b"IEND":
            self.need(position + 8)
            length, kind = struct.unpack_from(">I4s", self.data, position)
            position += 12 + length
            self.need(position)
        return position

    def _jpeg_end(self) -> int:
        """Returns the end of the JPEG in a stream of bytes.

        A segment has a marker and a length; coded data follows the segment of a scan.

        Source: ITU-T T.81, B.1 "General aspects".
        """
        position = 2
        while True:
            self.need(position + 2)
            marker = self.data[position + 1]
            if self.data[position] != 0xFF:
                raise ValueError("a damaged JPEG")
            # a fill byte
            if marker == 0xFF:
                position += 1
                continue
            # the end of the image
            if marker == 0xD9:
                return position + 2
            self.need(position + 4)
            position += 2 + int(struct.unpack_from(">H", self.data, position + 2)[0])
            # a scan
            if marker == 0xDA:
                while not (marker_match := NEXT_MARKER.search(self.data, position)):
                    position = max(position, len(self.data) - 1)
                    self.need(len(self.data) + 1)
                position = marker_match.start()


class VideoFile:
    """An MP4 file (MPEG-4 part 2) that is written frame by frame.

    As a context manager it is closed whatever happens, so that the file can be played. MP4 needs
    even sides: an odd last row or column is repeated. It has one size, to which pictures of another
    are resized, as where a stream changes its resolution.
    """

    def __init__(self, path: Path, fps: float) -> None:
        self.path, self.fps = path, _writable_rate(fps)
        self._size: tuple[int, ...] | None = None
        self.written = 0
        self._writer: cv2.VideoWriter | None = None

    def __enter__(self) -> VideoFile:
        return self

    def __exit__(self, *failure: object) -> None:
        self.close()

    def write(self, picture: np.ndarray, times: int = 1) -> None:
        """Appends a picture `times` times. Raises OSError if the file cannot be written."""
        self._size = self._size or picture.shape[:2]
        height, width = self._size
        if picture.shape[:2] != self._size:
            picture = cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA)
        bgr = cv2.cvtColor(picture, cv2.COLOR_RGB2BGR)
        bgr = cv2.copyMakeBorder(bgr, 0, height % 2, 0, width % 2, cv2.BORDER_REPLICATE)
        if self._writer is None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            # fails with the reason, which OpenCV does not give
            self.path.write_bytes(b"")
            self._writer = cv2.VideoWriter(_local(self.path), cv2.VideoWriter.fourcc(*"mp4v"),
                                           self.fps, bgr.shape[1::-1])
            if not self._writer.isOpened():
                self._writer = None
                self.path.unlink()
                raise OSError(
                    f"{self.path}: this OpenCV cannot write MP4 of {bgr.shape[0]}x{bgr.shape[1]} "
                    f"(height x width) at {self.fps:g} frames per second."
                )
        for _ in range(times):
            self._writer.write(bgr)
        self.written += times

    def close(self) -> None:
        """Completes the file. Raises OSError if frames are missing, as on a full disk."""
        if self._writer is None:
            return
        self._writer.release()
        self._writer = None
        capture = cv2.VideoCapture(_local(self.path))
        frames = int(capture.get(cv2.CAP_PROP_FRAME_COUNT)) if capture.isOpened() else 0
        capture.release()
        if frames < self.written:
            raise OSError(f"{self.path} holds {frames} of {self.written} frames: is the disk full?")
