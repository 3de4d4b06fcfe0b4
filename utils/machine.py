"""The processor of this machine, and the memory that a process takes on it."""
from __future__ import annotations

import platform
import sys
from contextlib import suppress
from pathlib import Path

import torch

try:
    import resource
except ImportError:             # Windows
    resource = None  # type: ignore[assignment]

GB = 1e9
# of Linux: facts about each core, and about a process
CPUINFO, STATUS, CLEAR_REFS = "/proc/cpuinfo", "/proc/{}/status", "/proc/self/clear_refs"


def device_name(device: torch.device) -> str:
    """Returns the name of the GPU, or of the processor."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else processor()


def processor() -> str:
    """Returns the processor's name, as Linux lists it or as Python guesses it elsewhere."""
    return next(iter(_cpuinfo("model name")), platform.processor())


def cpu_features() -> set[str]:
    """Returns the x86 feature flags that Linux lists; empty on other systems."""
    return {word for line in _cpuinfo("flags") for word in line.split()}


def clock(device: torch.device) -> float | None:
    """Returns the clock of the device in MHz; None where it cannot be read."""
    if device.type == "cuda":
        try:
            return torch.cuda.clock_rate(device)
        except (ImportError, RuntimeError):
            # the library of the driver is missing
            return None
    return next(map(float, _cpuinfo("cpu MHz")), None)


def _cpuinfo(field: str) -> list[str]:
    """Returns the values of a field of /proc/cpuinfo, one for each core; none without the file."""
    path = Path(CPUINFO)
    lines = path.read_text().splitlines() if path.is_file() else []
    return [line.partition(":")[2].strip() for line in lines if line.startswith(field)]


def peak_memory(device: torch.device) -> int:
    """Returns the peak memory of this process in bytes: of its GPU if it has one, else of the host.

    0 on a host that does not count it (Windows).
    """
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    with suppress(OSError):
        # not `getrusage`, which on Linux counts the process that started this one
        return host_memory("VmHWM")
    if resource is None:
        return 0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    # in bytes on macOS, in KiB elsewhere
    return peak if sys.platform == "darwin" else 1024 * peak


def reset_peak(device: torch.device) -> None:
    """Begins a new peak of `peak_memory`.

    On a host only Linux can; elsewhere the peak is that since the start of the process.
    """
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        return
    with suppress(OSError):
        Path(CLEAR_REFS).write_text("5")


def host_memory(field: str = "VmRSS", process: int | None = None) -> int:
    """Returns the bytes of a process's memory on the host.

    Args:
        field: a line of Linux's /proc/PID/status: VmRSS is all that is resident, VmHWM its peak,
            RssAnon what belongs to no file.
        process: its id; None for this process.

    Raises:
        OSError: the system is not Linux, or lists no such line (a sandbox such as gVisor has no
            VmHWM).
    """
    path = Path(STATUS.format(process or "self"))
    if not path.is_file():
        raise OSError(f"the memory of a process is read from {path}, which only Linux has")
    for line in path.read_text().splitlines():
        if line.startswith(f"{field}:"):
            # the file counts in KiB
            return 1024 * int(line.split()[1])
    raise OSError(f"{path} has no line {field}: this kernel does not count it")
