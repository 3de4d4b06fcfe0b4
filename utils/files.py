"""Files that are written whole or not at all, their checksums, and the commit of this checkout."""
from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any, BinaryIO

# root folder of the checkout
ROOT = Path(__file__).resolve().parents[1]
# error codes of network and FUSE file systems that cannot flush a file or a folder
CANNOT_SYNC = {errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EBADF,
               errno.EACCES, errno.EPERM}


@contextmanager
def replacing(path: Path, temporary: Path) -> Iterator[BinaryIO]:
    """Opens `temporary` for writing, then flushes it to the disk and renames it to `path`.

    A crash at any instant leaves either the old `path` or the new one. If the body raises, `path`
    is unchanged and `temporary` is removed.

    Args:
        temporary: a file in the folder of `path`.

    Raises:
        IsADirectoryError: `path` is a folder.
    """
    require_no_folder(path)
    try:
        with temporary.open("wb") as file:
            yield file
            sync(file)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def require_no_folder(path: Path, flag: str = "") -> None:
    """Raises IsADirectoryError if a file for output is a folder; `flag` names it."""
    if path.is_dir():
        raise IsADirectoryError(f"{flag} {path} is a folder: name a file".lstrip())


def make_folder(folder: Path, flag: str) -> None:
    """Makes a folder for output, unless it is there.

    Args:
        flag: names the folder, or a file in it.

    Raises:
        OSError: it cannot be made, because of its permissions or a file of this name.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OSError(f"{flag} {folder} cannot be made ({error.strerror}): name another folder"
                      ) from error


def remove_if_empty(folder: Path) -> None:
    """Removes a folder that holds nothing."""
    # the folder is gone, or holds files
    with suppress(OSError):
        folder.rmdir()


def write_bytes(path: Path, data: bytes) -> None:
    """Writes a file whole or not at all, also when several processes write it at the same time."""
    with replacing(path, path.with_name(f"{path.name}.{os.getpid()}.tmp")) as file:
        file.write(data)


def write_text(path: Path, text: str) -> None:
    """Writes a UTF-8 text file whole or not at all."""
    write_bytes(path, text.encode())


def read_record(path: Path) -> dict[str, Any]:
    """Returns the JSON object of a file; empty if there is no file.

    Raises:
        ValueError: the file is damaged, or holds something else.
    """
    if not path.is_file():
        return {}
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(record, dict):
            raise ValueError("it holds no JSON object")
    except ValueError as error:
        raise ValueError(f"{path} is damaged ({error}): copy it again, or remove it; without it, "
                         "the run does not know its launcher, machine and torchrun job"
                         ) from error
    return record


def link_or_copy(link: Path, target: Path) -> None:
    """Replaces `link` by a hard link to `target`, or by a copy if hard links are not supported."""
    temporary = link.with_suffix(".tmp")
    temporary.unlink(missing_ok=True)
    try:
        os.link(target, temporary)
    except OSError:
        with target.open("rb") as source, temporary.open("wb") as copy:
            shutil.copyfileobj(source, copy)
            sync(copy)
    temporary.replace(link)
    sync_folder(link.parent)


def sync(file: IO[Any]) -> None:
    """Makes the content of an open file durable, where the file system can."""
    file.flush()
    _fsync(file.fileno())


def sync_folder(folder: Path) -> None:
    """Makes renames in the folder durable, where operating system and file system can."""
    if not hasattr(os, "O_DIRECTORY"):
        return
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except PermissionError:
        return
    try:
        _fsync(descriptor)
    finally:
        os.close(descriptor)


def _fsync(descriptor: int) -> None:
    """Flushes a file descriptor to the disk, if the file system supports it.

    Raises:
        OSError: flushing failed for another reason, such as a full disk.
    """
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in CANNOT_SYNC:
            raise


def sha256(path: Path) -> str:
    """Returns the file's SHA-256 in hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def replace_between(document: str, begin: str, end: str, text: str) -> str:
    """Returns the document with `text` between the lines `begin` and `end`, which stay.

    Raises:
        ValueError: the document does not contain both lines in this order.
    """
    if not 0 <= document.find(begin) < document.find(end):
        raise ValueError(f"the document has no place for the table: add the lines {begin} and "
                         f"{end}")
    head, tail = document.split(begin)[0], document.split(end, 1)[1]
    return "\n".join([head + begin, text, end]) + tail


def cache_folder() -> Path:
    """Returns the user's cache folder for this project (XDG Base Directory Specification).

    A user without a home folder, as in some containers, gets one among the temporary files.
    """
    if os.environ.get("XDG_CACHE_HOME"):
        return Path(os.environ["XDG_CACHE_HOME"]) / "sfsegnets"
    try:
        return Path.home() / ".cache" / "sfsegnets"
    except RuntimeError:
        return Path(tempfile.gettempdir()) / "sfsegnets"


def commit() -> str | None:
    """Returns the commit of this checkout, or None without git or outside a checkout."""
    return git_output("rev-parse", "HEAD")


def git_output(*words: str) -> str | None:
    r"""Returns the output of a git command in this checkout, or None without git or outside a
    checkout. Bytes that are not UTF-8, such as those of a changed file, are written as \xNN.
    """
    try:
        done = subprocess.run(["git", "-C", str(ROOT), *words], capture_output=True, check=True,
                              encoding="utf-8", errors="backslashreplace")
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()
