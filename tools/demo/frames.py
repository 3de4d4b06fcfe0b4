"""Frames out of a video file, a camera or a pipe, and into a video file. Frames are (H, W, 3) uint8
RGB arrays.
"""
from __future__ import annotations

import re
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import cv2
import numpy as np

VIDEO_SUFFIXES = (".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm", ".mpg", ".mpeg")
# where a source does not say
USUAL_FPS = 25.0
# of the frames that a container announces, which may guess
ENOUGH = 0.95
# of one picture in a pipe
MOST_BYTES = 1 << 28
PNG, JPEG = b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff"
# in a JPEG's coded data the others are no markers
NEXT_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")


class Damaged(ValueError):
    """A video or a frame that cannot be read; says which and why."""


@dataclass(frozen=True)
class Clip:
    """Frames that follow one another, all of one size.

    Args:
        name: of what is made of it.
        frames: each a frame, or a `Damaged` in the place of one or more that cannot be read.
        fps: frames a second.
        count: how many frames there should be; None where nobody knows.
        live: whether they come as time passes, however long each is worked on.
    """

    name: str
    frames: Iterator[np.ndarray | Damaged]
    fps: float
    count: int | None = None
    live: bool = False


def video(path: Path, name: str) -> Clip:
    """Opens a video file. Raises Damaged where it cannot be read."""
    capture = cv2.VideoCapture(str(path))
    if not capture.isOpened():
        raise Damaged(f"{path} is damaged, cut off, or no video that OpenCV can read")
    count = max(0, int(capture.get(cv2.CAP_PROP_FRAME_COUNT))) or None
    return Clip(
        name, _until_the_end(capture, str(path), count), capture.get(cv2.CAP_PROP_FPS) or USUAL_FPS,
        count,
    )


def camera(number: int, name: str) -> Clip:
    """Opens a camera. Raises OSError where there is none of this number."""
    capture = cv2.VideoCapture(number)
    if not capture.isOpened():
        there = ", ".join(sorted(path.name for path in Path("/dev").glob("video*"))) or "none"
        raise OSError(
            f"camera {number} is not there, or another program has it (in /dev: {there})."
        )
    frames = _until_the_end(capture, f"camera {number}", None)
    return Clip(name, frames, capture.get(cv2.CAP_PROP_FPS) or USUAL_FPS, live=True)


def _until_the_end(
    capture: cv2.VideoCapture, what: str, count: int | None
) -> Iterator[np.ndarray | Damaged]:
    done = 0
    try:
        while (frame := capture.read()[1]) is not None:
            yield cv2.cvtColor(frame, cv2.COLOR_BGR2RGB)
            done += 1
    finally:
        capture.release()
    if done == 0 or (count and done < ENOUGH * count):
        yield Damaged(
            f"{what} ends after {done} of {count or 'its'} frames: it is damaged or cut off"
        )


def pipe(stream: BinaryIO, name: str, fps: float, size: tuple[int, int] | None = None) -> Clip:
    """Takes frames out of a pipe: PNG or JPEG files one after the other, or raw pixels.

    Args:
        size: (height, width) of raw frames, three bytes a pixel in the order red, green, blue, row
            by row.
    """
    return Clip(name, _pictures(stream) if size is None else _raw(stream, *size), fps)


def _raw(stream: BinaryIO, height: int, width: int) -> Iterator[np.ndarray | Damaged]:
    wanted, number = height * width * 3, 0
    while data := stream.read(wanted):
        number += 1
        if len(data) < wanted:
            yield Damaged(
                f"the input ends within frame {number}, after {len(data)} of {wanted} bytes: are "
                f"the frames {height}x{width} (height x width), three bytes a pixel?"
            )
            return
        yield np.frombuffer(data, np.uint8).reshape(height, width, 3)


def _pictures(stream: BinaryIO) -> Iterator[np.ndarray | Damaged]:
    window, number = _Window(stream), 0
    shape: tuple[int, ...] = ()
    while window.fill(1):
        number += 1
        try:
            data = window.take_picture()
        except EOFError:
            yield Damaged(f"the input ends within frame {number}")
            return
        except ValueError as error:
            yield Damaged(f"the input has {error} at frame {number}; what follows it is not read")
            return
        frame = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
        if frame is None:
            yield Damaged(f"frame {number} of the input is damaged")
            continue
        shape = shape or frame.shape
        if frame.shape != shape:
            yield Damaged(
                f"frame {number} of the input is {frame.shape[0]}x{frame.shape[1]}, but a video "
                f"has one size, here {shape[0]}x{shape[1]}"
            )
        else:
            yield cv2.cvtColor(frame, cv2.COLOR_BGR2RGB)


class _Window:
    """What has been read of a stream and not yet been taken."""

    def __init__(self, stream: BinaryIO) -> None:
        self.data = bytearray()
        # read1 returns what is there, so that a frame is not held back until the next ones fill a
        # block
        self._read: Callable[[int], bytes] = getattr(stream, "read1", stream.read)

    def fill(self, size: int) -> bool:
        """Reads until there are so many bytes; returns whether there are."""
        while len(self.data) < size:
            if not (more := self._read(1 << 16)):
                return False
            self.data += more
        return True

    def need(self, size: int) -> None:
        """Raises EOFError where the stream ends before, ValueError where no picture has so many
        bytes.
        """
        if size > MOST_BYTES:
            raise ValueError(f"a picture of more than {MOST_BYTES} bytes")
        if not self.fill(size):
            raise EOFError

    def take_picture(self) -> bytes:
        """Takes the PNG or JPEG file at the front. Raises EOFError, or ValueError for anything
        else.
        """
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
        """Source: PNG specification (W3C), 5 "Datastream structure": length, type, data and
        checksum of each chunk.
        """
        at, kind = len(PNG), b""
        while kind != b"IEND":
            self.need(at + 8)
            length, kind = struct.unpack_from(">I4s", self.data, at)
            at += 12 + length
            self.need(at)
        return at

    def _jpeg_end(self) -> int:
        """Source: ITU-T T.81, B.1 "General aspects": markers, segments with a length, coded data
        after a scan's.
        """
        at = 2
        while True:
            self.need(at + 2)
            marker = self.data[at + 1]
            if self.data[at] != 0xFF:
                raise ValueError("a damaged JPEG")
            # a fill byte
            if marker == 0xFF:
                at += 1
                continue
            # the end of the image
            if marker == 0xD9:
                return at + 2
            self.need(at + 4)
            at += 2 + int(struct.unpack_from(">H", self.data, at + 2)[0])
            # a scan
            if marker == 0xDA:
                while not (found := NEXT_MARKER.search(self.data, at)):
                    at = max(at, len(self.data) - 1)
                    self.need(len(self.data) + 1)
                at = found.start()


class VideoFile:
    """An MP4 file (MPEG-4 part 2) that grows frame by frame; as a context it is closed whatever
    happens, and so plays.

    Its sides are even: the last row and column are doubled where they are not.
    """

    def __init__(self, path: Path, fps: float) -> None:
        self.path, self.fps = path, fps
        self.written = 0
        self._writer: cv2.VideoWriter | None = None

    def __enter__(self) -> VideoFile:
        return self

    def __exit__(self, *failure: object) -> None:
        self.close()

    def write(self, picture: np.ndarray, times: int = 1) -> None:
        """Appends a picture, all of one size. Raises OSError where the file cannot be written."""
        height, width = picture.shape[:2]
        bgr = cv2.cvtColor(picture, cv2.COLOR_RGB2BGR)
        bgr = cv2.copyMakeBorder(bgr, 0, height % 2, 0, width % 2, cv2.BORDER_REPLICATE)
        if self._writer is None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            # unlike OpenCV, this says why when it fails
            self.path.write_bytes(b"")
            self._writer = cv2.VideoWriter(
                str(self.path), cv2.VideoWriter.fourcc(*"mp4v"), self.fps, bgr.shape[1::-1]
            )
            if not self._writer.isOpened():
                raise OSError(
                    f"{self.path}: this OpenCV cannot write MP4 at {self.fps:g} frames a second."
                )
        for _ in range(times):
            self._writer.write(bgr)
        self.written += times

    def close(self) -> None:
        """Ends the file. Raises OSError where fewer frames reached it than were written, as on a
        full disk.
        """
        if self._writer is None:
            return
        self._writer.release()
        self._writer = None
        capture = cv2.VideoCapture(str(self.path))
        there = int(capture.get(cv2.CAP_PROP_FRAME_COUNT)) if capture.isOpened() else 0
        capture.release()
        if there < self.written:
            raise OSError(f"{self.path} holds {there} of {self.written} frames: is the disk full?")
