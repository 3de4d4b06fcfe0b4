from __future__ import annotations

import errno
import multiprocessing
import os
import subprocess
import sys
from multiprocessing.synchronize import Event
from pathlib import Path

import pytest

from utils import locks
from utils.files import ROOT

HOLD = """
import sys
from pathlib import Path
from utils.locks import locked
with locked(Path(sys.argv[1]), "taken"):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.mark.parametrize("name", ["", "file.lock"])
def test_a_lock_ends_with_its_process(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    holder = subprocess.Popen([sys.executable, "-c", HOLD, str(path)], cwd=ROOT, text=True,
                              stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    with holder:
        assert holder.stdout is not None and holder.stdout.readline() == "held\n"
        with pytest.raises(FileExistsError, match=r"^in use$"), locks.locked(path, "in use"):
            pass
        holder.kill()
        holder.wait()
    with locks.locked(path, "in use"):
        pass
    with locks.locked(path, "in use"):
        pass


def wait(end: Event) -> None:
    end.wait()


def test_a_forked_process_does_not_hold_it(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    end = context.Event()
    with locks.locked(tmp_path, "in use"):
        child = context.Process(target=wait, args=(end,))
        child.start()
    with locks.locked(tmp_path, "in use"):
        pass
    end.set()
    child.join()
    assert child.exitcode == 0


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS])
def test_on_a_disk_without_locks_a_process_warns_and_goes_on(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def flock(descriptor: int, operation: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(locks.fcntl, "flock", flock)
    with locks.locked(tmp_path, "in use"), locks.locked(tmp_path, "in use"):
        pass
    assert caplog.messages == 2 * [
        f"the file system of {tmp_path} has no locks ({os.strerror(number)}), so nothing keeps a "
        "second process from writing there: start only one"]


def test_another_error_of_the_disk_is_raised(tmp_path: Path,
                                             monkeypatch: pytest.MonkeyPatch) -> None:
    def flock(descriptor: int, operation: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(locks.fcntl, "flock", flock)
    with pytest.raises(OSError, match="Input/output error"), locks.locked(tmp_path, "in use"):
        pass
