"""What Linux says about processor and memory, and that a peak of memory is seen."""
from __future__ import annotations

import mmap
import os
from pathlib import Path

import numpy as np
import pytest
import torch

from utils import machine

CPU = torch.device("cpu")
TWO_CORES = ("processor\t: 0\nmodel name\t: A Processor: 2 GHz\ncpu MHz\t\t: 2000.5\n"
             "flags\t\t: fpu amx_bf16\n\n"
             "processor\t: 1\nmodel name\t: A Processor: 2 GHz\ncpu MHz\t\t: 1000.0\n"
             "flags\t\t: fpu sse\n")
on_linux = pytest.mark.skipif(not Path(machine.CLEAR_REFS).exists(),
                              reason="only Linux tells the memory of a process")


def test_the_processor_is_read_from_the_first_core(monkeypatch: pytest.MonkeyPatch,
                                                   tmp_path: Path) -> None:
    listing = tmp_path / "cpuinfo"
    listing.write_text(TWO_CORES)
    monkeypatch.setattr(machine, "CPUINFO", str(listing))
    assert machine.processor() == machine.device_name(CPU) == "A Processor: 2 GHz"
    assert machine.clock(CPU) == 2000.5
    assert machine.cpu_features() == {"fpu", "amx_bf16", "sse"}


def test_other_systems_list_no_processor(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(machine, "CPUINFO", str(tmp_path / "absent"))
    monkeypatch.setattr(machine, "STATUS", str(tmp_path / "{}"))
    assert machine.clock(CPU) is None and machine.cpu_features() == set()
    with pytest.raises(OSError, match="which only Linux has"):
        machine.host_memory()


@on_linux
def test_a_peak_counts_what_is_freed_again_and_is_reset() -> None:
    machine.reset_peak(CPU)
    before = machine.peak_memory(CPU)
    # 64 MB that torch has not reserved before, and every page of them is used
    block = mmap.mmap(-1, 64_000_000)
    np.frombuffer(block, np.uint8).fill(1)
    assert machine.host_memory() - before > 60e6
    block.close()
    assert machine.peak_memory(CPU) - before > 60e6
    machine.reset_peak(CPU)
    assert machine.peak_memory(CPU) - before < 60e6


def test_without_a_line_for_the_peak_it_is_that_of_getrusage(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    pytest.importorskip("resource")
    # as gVisor writes it
    (tmp_path / "self").write_text("Name:\tpython\nVmSize:\t 900 kB\nVmRSS:\t 300 kB\n")
    monkeypatch.setattr(machine, "STATUS", str(tmp_path / "{}"))
    assert machine.host_memory() == 300 * 1024
    with pytest.raises(OSError, match="has no line VmHWM"):
        machine.host_memory("VmHWM")
    # in bytes: a process that has imported torch holds more than 20 MB
    assert machine.peak_memory(CPU) > 20e6


@on_linux
def test_another_process_has_its_own_memory() -> None:
    anonymous = machine.host_memory("RssAnon", os.getpid())
    assert 0 < anonymous < machine.host_memory(process=os.getpid())
