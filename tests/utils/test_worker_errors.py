from __future__ import annotations

import errno

import pytest
import torch

from utils import worker_errors
from utils.cli import run_program

# torch's own words, by version and by where the memory ends
OUT_OF_SHARED_MEMORY = {
    "since 2.0": "unable to allocate shared memory(shm) for file </torch_1043_3561302616_0>: "
                 "No space left on device (28)",
    "before": "unable to write to file </torch_1043_3561302616_0>: No space left on device (28)",
    "resized": "unable to resize file </torch_77_1_0> to the right size: No space left on device "
               "(28)",
    "opened": "unable to open shared memory object </torch_77_1_0> in read-write mode: No space "
              "left on device (28)",
    "killed": "DataLoader worker (pid 1043) is killed by signal: Bus error. It is possible that "
              "dataloader's workers are out of shared memory. Please try to raise your shared "
              "memory limit.",
    "in the worker": "Unexpected bus error encountered in worker. This might be caused by "
                     "insufficient shared memory (shm).",
}
IN_A_WORKER = ("Caught RuntimeError in DataLoader worker process 0.\nOriginal Traceback (most "
               "recent call last):\n  File \"storage.py\", line 423, in _new_shared\n"
               "RuntimeError: ")


@pytest.mark.parametrize("words", OUT_OF_SHARED_MEMORY.values(), ids=OUT_OF_SHARED_MEMORY.keys())
@pytest.mark.parametrize("prefix", ["", IN_A_WORKER], ids=["main", "worker"])
def test_a_full_shared_memory_is_told_in_one_line(
    words: str, prefix: str, capsys: pytest.CaptureFixture[str]
) -> None:
    def work() -> int:
        raise RuntimeError(prefix + words)

    assert run_program("train.py", work) == 1
    message = capsys.readouterr().err
    assert message.startswith("train.py: error: the loader's processes ran out of shared memory")
    assert "--num_workers 0" in message and "--shm-size" in message and words in message
    assert message.count("\n") == 1 and "Traceback" not in message


@pytest.mark.parametrize(("text", "expected"), [
    ("DataLoader worker (pid 5) is killed by signal: Killed. ", "machine run out of memory"),
    ("DataLoader worker (pid 5) is killed by signal: Terminated. ", "the main process alone"),
    ("DataLoader worker (pid(s) 5, 6) exited unexpectedly", "machine run out of memory"),
    ("Too many open files. Communication with the workers is no longer possible.", "ulimit -n"),
    ("unable to open shared memory object </torch_7> in read-write mode: Too many open files (24)",
     "ulimit -n"),
    ("numpy._core._exceptions._ArrayMemoryError: Unable to allocate 28 GiB", "smaller crops"),
    ("DefaultCPUAllocator: can't allocate memory: you tried to allocate 4 bytes", "smaller crops"),
])
def test_other_deaths_of_workers_have_their_own_remedy(text: str, expected: str) -> None:
    assert expected in (worker_errors.remedy(RuntimeError(text)) or "")


def test_workers_that_cannot_start_are_told_why() -> None:
    # sem_open in a full /dev/shm
    full = OSError(errno.ENOSPC, "No space left on device")
    assert "--shm-size" in (worker_errors.remedy(full) or "")
    assert "ulimit" in (worker_errors.remedy(OSError(errno.EMFILE, "Too many open files")) or "")


@pytest.mark.parametrize("error", [
    ValueError("out of shared memory"), OSError(errno.EACCES, "Permission denied"),
    RuntimeError("CUDA error: out of memory"),
    RuntimeError("[enforce fail at inline_container.cc] No space left on device"),
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"),
])
def test_other_errors_keep_their_own_words(error: Exception) -> None:
    assert worker_errors.remedy(error) is None
