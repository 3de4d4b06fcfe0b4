"""What video files say about their own length, which OpenCV does not tell: cuts and edit lists."""
from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

# top-level boxes with which an MP4 or QuickTime file starts
FIRST_BOXES = (b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide", b"pnot")
# those of them that hold the video
CONTENT = (b"moov", b"mdat", b"moof")
EBML, SEGMENT = b"\x1a\x45\xdf\xa3", b"\x18\x53\x80\x67"
RIFF = b"RIFF"
# the most that is read of one box or element
MAX_BYTES = 1 << 24


@dataclass(frozen=True)
class Announcement:
    """What a container says about the length of its video.

    Attributes:
        is_cut: whether the file ends before its structure does.
        shown: share of the stored frames that players show; None if the container does not count
            its frames, so that any number of them is only an estimate.
    """

    is_cut: bool
    shown: float | None


class _Box:
    """A box of an MP4 file, whose content lies from `start` to `end`."""

    def __init__(self, file: BinaryIO, kind: bytes, start: int, end: int) -> None:
        self.file, self.kind, self.start, self.end = file, kind, start, end

    def boxes(self) -> Iterator[_Box]:
        """Yields the boxes in the content.

        Source: ISO/IEC 14496-12, section 4.2 "Object structure".
        """
        position = self.start
        while position + 8 <= self.end:
            self.file.seek(position)
            size, kind = struct.unpack(">I4s", self.file.read(8))
            header = 8
            if size == 1:
                (size,), header = struct.unpack(">Q", self.file.read(8)), 16
            # the last box may leave its size open
            end = self.end if size == 0 else position + size
            yield _Box(self.file, kind, position + header, end)
            position = max(end, position + header)

    def find(self, *kinds: bytes) -> _Box | None:
        """Returns the first box at a path of kinds."""
        box = next((box for box in self.boxes() if box.kind == kinds[0]), None)
        return box.find(*kinds[1:]) if box and kinds[1:] else box

    def read(self) -> bytes:
        self.file.seek(self.start)
        return self.file.read(min(self.end - self.start, MAX_BYTES))


def announcement(path: Path) -> Announcement:
    """Reads the structure of a video file, which may be damaged."""
    size = path.stat().st_size
    with path.open("rb") as file:
        start = file.read(12)
        try:
            if start[4:8] in FIRST_BOXES:
                return _read_mp4(file, size)
            if start.startswith(EBML):
                return Announcement(_is_matroska_cut(file, size), None)
        # bytes that are no structure
        except (struct.error, IndexError, OSError):
            return Announcement(True, None)
    # AVI files count their frames; MPEG streams do not
    return Announcement(False, 1.0 if start.startswith(RIFF) else None)


def _read_mp4(file: BinaryIO, size: int) -> Announcement:
    top = list(_Box(file, b"", 0, size).boxes())
    # other bytes may follow the boxes
    is_cut = any(box.end > size for box in top if box.kind in CONTENT)
    movie = next((box for box in top if box.kind == b"moov"), None)
    # fragments count their frames one by one
    if movie is None or any(box.kind == b"moof" for box in top):
        return Announcement(is_cut, None)
    return Announcement(is_cut, _shown_share(movie))


def _shown_share(movie: _Box) -> float:
    """Returns the share of the first video track that its edit list shows.

    Source: ISO/IEC 14496-12, sections 8.2.2 "Movie header box", 8.4.2 "Media header box" and 8.6.6
    "Edit list box".
    """
    header = movie.find(b"mvhd")
    track = next((box for box in movie.boxes() if box.kind == b"trak" and _is_video(box)), None)
    edits = track.find(b"edts", b"elst") if track else None
    media = track.find(b"mdia", b"mdhd") if track else None
    if header is None or edits is None or media is None:
        return 1.0
    movie_scale, _ = _timescale_and_duration(header.read())
    media_scale, duration = _timescale_and_duration(media.read())
    if 0 in (movie_scale, media_scale, duration):
        return 1.0
    shown = sum(length for length, begin in _edits(edits.read()) if begin >= 0) / movie_scale
    return min(1.0, shown * media_scale / duration)


def _is_video(track: _Box) -> bool:
    handler = track.find(b"mdia", b"hdlr")
    return handler is not None and handler.read()[8:12] == b"vide"


def _timescale_and_duration(header: bytes) -> tuple[int, int]:
    """Returns ticks per second, and ticks, of a movie header or a media header."""
    layout, offset = (">IQ", 20) if header[0] == 1 else (">II", 12)
    return struct.unpack_from(layout, header, offset)


def _edits(data: bytes) -> Iterator[tuple[int, int]]:
    """Yields (length in ticks of the movie, begin in ticks of the media, -1 for a pause)."""
    layout = ">qqI" if data[0] == 1 else ">iiI"
    (count,) = struct.unpack_from(">I", data, 4)
    size = struct.calcsize(layout)
    for index in range(min(count, (len(data) - 8) // size)):
        length, begin, _ = struct.unpack_from(layout, data, 8 + index * size)
        yield length, begin


def _is_matroska_cut(file: BinaryIO, size: int) -> bool:
    """Returns whether the segment of a Matroska or WebM file is longer than the file.

    Source: RFC 8794 (EBML), sections 4 and 6, "Variable-Size Integer" and "Element Data Size".
    """
    file.seek(len(EBML))
    header_size = _element_size(file)
    if header_size is None:
        return False
    file.seek(header_size, os.SEEK_CUR)
    if file.read(len(SEGMENT)) != SEGMENT:
        return True
    segment_size = _element_size(file)
    # a recording that was written to a pipe leaves its size open
    return segment_size is not None and file.tell() + segment_size > size


def _element_size(file: BinaryIO) -> int | None:
    """Reads the size of an element; None if it is left open, with all bits set."""
    first = file.read(1)[0]
    # the number of leading zero bits tells how many bytes follow
    following = 8 - first.bit_length()
    value = first & (0x7F >> following)
    for byte in file.read(following):
        value = value << 8 | byte
    is_open = value == (1 << 7 * (following + 1)) - 1
    return None if is_open else value
