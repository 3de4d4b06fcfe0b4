"""Locks by which one process keeps a folder to itself, and which end with the process."""
from __future__ import annotations

import errno
import fcntl
import functools
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

log = logging.getLogger(__name__)

# errors of file systems without locks, and of network file systems that cannot lock a folder
NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EBADF, errno.EINVAL}

# the open descriptors of this process's locks
_held: set[int] = set()


@contextmanager
def locked(path: Path, refusal: str) -> Iterator[None]:
    """Keeps a folder or a file locked; where the file system has no locks, it warns.

    The system releases the lock however the process ends. Forked processes, such as those of a
    `DataLoader`, which may outlive a killed process for seconds, do not hold it.

    Args:
        path: a folder, or a file, which is created.
        refusal: the message if another process holds the lock.

    Raises:
        FileExistsError: another process holds it.
    """
    flags = os.O_RDONLY if path.is_dir() else os.O_WRONLY | os.O_CREAT
    descriptor = os.open(path, flags, 0o666)
    _held.add(descriptor)
    _release_in_children()
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
                raise FileExistsError(refusal) from error
            if error.errno not in NO_LOCKS:
                raise
            log.warning("the file system of %s has no locks (%s), so nothing keeps a second "
                        "process from writing there: start only one", path, error.strerror)
        yield
    finally:
        # a forked process has closed it already
        if descriptor in _held:
            _held.remove(descriptor)
            # also for a process that was forked just now, and has not closed it yet
            with suppress(OSError):
                fcntl.flock(descriptor, fcntl.LOCK_UN)
            os.close(descriptor)


@functools.cache
def _release_in_children() -> None:
    os.register_at_fork(after_in_child=_close_all)


def _close_all() -> None:
    """Closes the descriptors in a forked process; the lock stays with the process that took it."""
    while _held:
        os.close(_held.pop())
