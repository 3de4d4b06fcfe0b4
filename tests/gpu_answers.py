"""What `torch.cuda` answers on other machines, for tests without a GPU."""

from __future__ import annotations

import pytest
import torch

NO_DRIVER = (
    "Found no NVIDIA driver on your system. Please check that you have an NVIDIA GPU and installed "
    "a driver from http://www.nvidia.com/Download/index.aspx"
)
OLD_DRIVER = (
    "The NVIDIA driver on your system is too old (found version 11040). Please update your GPU "
    "driver by downloading and installing a new version from the URL: "
    "http://www.nvidia.com/Download/index.aspx Alternatively, go to: https://pytorch.org to "
    "install a PyTorch version that has been compiled with your version of the CUDA driver."
)
NO_GPU = "No CUDA GPUs are available"
TAKEN = (
    "CUDA error: all CUDA-capable devices are busy or unavailable\nCUDA kernel errors might be "
    "asynchronously reported at some other API call, so the stacktrace below might be incorrect."
)
FILLED = TAKEN.replace("all CUDA-capable devices are busy or unavailable", "out of memory")
FULL = (
    "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 10.75 GiB of "
    "which 312.00 MiB is free. Process 4711 has 9.50 GiB memory in use. Including non-PyTorch "
    "memory, this process has 953.00 MiB memory in use. Of the allocated memory 402.50 MiB is "
    "allocated by PyTorch"
)
NCCL_FAILED = (
    "NCCL error in: ProcessGroupNCCL.cpp:3384, unhandled system error (run with NCCL_DEBUG=INFO "
    "for details), NCCL version 2.27.5\nncclSystemError: System call failed or device error.\n"
    "Last error:\nError while creating shared memory segment /dev/shm/nccl-1 (size 9637888)"
)


def answer(
    monkeypatch: pytest.MonkeyPatch,
    *,
    error: str | None = None,
    error_at: str = "init",
    count: int = 1,
    capability: tuple[int, int] = (8, 0),
    compiled_for: tuple[str, ...] = ("sm_75", "sm_80", "sm_90", "compute_90"),
    free: float = 10e9,
    total: float = 11e9,
    visible: str | None = None,
) -> None:
    """Makes `torch.cuda` answer as on a machine with `count` GPUs.

    Args:
        error: of the function `error_at`.
        free, total: bytes of the GPU's memory.
        visible: the value of CUDA_VISIBLE_DEVICES; None leaves it unset.
    """
    def fail_at(name: str) -> None:
        if error is not None and error_at == name:
            raise RuntimeError(error)

    def memory(device: object) -> tuple[float, float]:
        fail_at("mem_get_info")
        return free, total

    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    monkeypatch.setattr(torch.backends.cuda, "is_built", lambda: True)
    for name, function in {
        "init": lambda: fail_at("init"),
        "is_available": lambda: error is None or error_at != "init",
        "current_device": lambda: 0,
        "device_count": lambda: count,
        "set_device": lambda device: None,
        "get_device_name": lambda device: "Test GPU",
        "get_device_capability": lambda device: capability,
        "get_arch_list": lambda: list(compiled_for),
        "mem_get_info": memory,
        "memory_reserved": lambda device: 0,
    }.items():
        monkeypatch.setattr(torch.cuda, name, function)
