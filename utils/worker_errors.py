"""Errors of a loader's worker processes: which resource ran out, and which flag or limit helps."""
from __future__ import annotations

import errno
import re
import shutil
from pathlib import Path

SHARED_MEMORY = Path("/dev/shm")

# The words of torch and of multiprocessing -> what is wrong and what to do; the first match counts.
REMEDIES = (
    (r"Too many open files",
     "the loader's processes have too many open files: raise the limit (ulimit -n 65536), or load "
     "in the main process with --num_workers 0"),
    (r"out of shared memory|insufficient shared memory|shared memory\(shm\)|[Bb]us error"
     r"|</?torch_\S+>.*No space left on device",
     "the loader's processes ran out of shared memory{size}: load in the main process with "
     "--num_workers 0, or give a container more (docker run --shm-size 8g)"),
    (r"MemoryError|Insufficient memory|can't allocate memory",
     "the main memory is full: give smaller crops or images, smaller batches, or fewer "
     "--num_workers"),
    (r"DataLoader worker \(pid.* is killed by signal: Terminated",
     "SIGTERM ended a process of the loader: send SIGTERM to the main process alone, or give "
     "--num_workers 0"),
    (r"DataLoader worker \(pid.* (?:is killed by signal|exited unexpectedly)",
     "a process of the loader was killed: did the machine run out of memory? Try fewer "
     "--num_workers, or 0"),
)
# error codes of workers that cannot start -> the words above
START_ERRORS = {errno.ENOSPC: "out of shared memory: ", errno.EMFILE: "Too many open files: "}


def remedy(error: BaseException) -> str | None:
    """Returns what is wrong and what to do, with the words of the error; None for any other error.

    Args:
        error: what a `DataLoader` raised, as it started its workers (an OSError: their queues need
            semaphores, which are files in shared memory) or later (a RuntimeError, which may
            contain the traceback of a worker).
    """
    text = str(error).strip()
    if isinstance(error, OSError):
        text = START_ERRORS.get(error.errno or 0, "") + text
    elif not isinstance(error, RuntimeError):
        return None
    for words, advice in REMEDIES:
        if re.search(words, text, re.DOTALL):
            return f"{advice.format(size=_size())} ({text.splitlines()[-1]})"
    return None


def _size() -> str:
    """Returns the size of the shared memory in words; "" where it is no folder."""
    if not SHARED_MEMORY.is_dir():
        return ""
    return f" ({SHARED_MEMORY} has {shutil.disk_usage(SHARED_MEMORY).total / 2**20:.1f} MiB)"
