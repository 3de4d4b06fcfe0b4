"""Processes that cannot start together say why."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from torch import nn

from tests import gpu_answers
from tests.tiny_training import CPU, Net
from utils import distributed


def test_processes_that_cannot_meet_name_the_port(monkeypatch: pytest.MonkeyPatch) -> None:
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        for name, value in {
            "RANK": "0",
            "LOCAL_RANK": "0",
            "WORLD_SIZE": "2",
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": str(taken.getsockname()[1]),
        }.items():
            monkeypatch.setenv(name, value)
        with pytest.raises(
            OSError, match=r"cannot meet at 127.0.0.1:\d+: another program listens there"
        ):
            distributed.start()


def test_apex_that_is_not_installed_is_told() -> None:
    with pytest.raises(ImportError, match=r"--apex needs NVIDIA Apex.*leave --apex out"):
        distributed.wrap(Net(), CPU, apex=True)


def test_apex_that_is_broken_is_named_with_its_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "apex").mkdir()
    (tmp_path / "apex/__init__.py").write_text("raise RuntimeError('built for another torch')")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(ImportError, match=r"cannot be imported \(RuntimeError: built for another "
                                          r"torch\): leave --apex out"):
        distributed.wrap(Net(), CPU, apex=True)


def test_alone_the_helpers_of_several_processes_do_nothing() -> None:
    counts = torch.arange(3)
    assert distributed.all_reduce_sum_(counts) is counts
    assert distributed.is_main() and distributed.world_size() == 1
    net = nn.Linear(1, 1)
    assert distributed.wrap(net, CPU) is net
    distributed.barrier()


@pytest.mark.parametrize(("environment", "number"), [
    ({"LOCAL_RANK": "1", "RANK": "5"}, 1),
    ({"SLURM_LOCALID": "2", "RANK": "6"}, 2),
    ({"RANK": "5"}, 1),  # four GPUs on each host
    ({}, 0),
])
def test_a_launcher_may_leave_the_local_rank_out(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], number: int
) -> None:
    for name in ("LOCAL_RANK", "SLURM_LOCALID", "OMPI_COMM_WORLD_LOCAL_RANK", "RANK"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    assert distributed.local_rank() == number


def start_as_rank_1_of_2(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"RANK": "1", "LOCAL_RANK": "1", "WORLD_SIZE": "2"}.items():
        monkeypatch.setenv(name, value)
    distributed.start()


def test_more_processes_than_gpus_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    gpu_answers.answer(monkeypatch, count=1)
    with pytest.raises(ValueError, match=r"process 1 of this host, counted from 0, has no GPU: "
                                         r"torch finds 1\. Start 1 processes a host \(NPROC=1"):
        start_as_rank_1_of_2(monkeypatch)


def test_a_torch_without_nccl_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    gpu_answers.answer(monkeypatch, count=2)
    monkeypatch.setattr(dist, "is_nccl_available", lambda: False)
    with pytest.raises(OSError, match="built without NCCL, by which processes on GPUs communicate"):
        start_as_rank_1_of_2(monkeypatch)


def test_nccl_that_cannot_start_is_no_lost_process(monkeypatch: pytest.MonkeyPatch) -> None:
    # it starts at the first operation, not where the process group is made
    gpu_answers.answer(monkeypatch, count=2)

    def fails(tensor: object) -> None:
        raise dist.DistBackendError(gpu_answers.NCCL_FAILED)

    monkeypatch.setattr(dist, "is_nccl_available", lambda: True)
    monkeypatch.setattr(dist, "rendezvous", lambda *args, **options: iter([(Store(), 1, 2)]))
    monkeypatch.setattr(dist, "PrefixStore", lambda prefix, store: store)
    monkeypatch.setattr(dist, "init_process_group", lambda *args, **options: None)
    monkeypatch.setattr(dist, "new_group", lambda **options: None)
    monkeypatch.setattr(torch, "ones", lambda *args, **options: None)
    monkeypatch.setattr(distributed, "all_reduce_sum_", fails)
    with pytest.raises(OSError) as refused:
        start_as_rank_1_of_2(monkeypatch)
    said = str(refused.value)
    assert "NCCL, by which the GPUs communicate, cannot start on rank 0 (Error while creating " in (
        said)
    assert "NCCL_DEBUG=INFO" in said and "--shm-size 8g" in said and "\n" not in said


class Store:
    """The store that processes meet at, as far as `start` uses it."""

    def set_timeout(self, timeout: object) -> None:
        pass


def under_torchrun(monkeypatch: pytest.MonkeyPatch, folder: Path, rank: int) -> None:
    """Sets the environment of one of two processes of torchrun, and makes waiting short."""
    error_file = folder / str(rank) / "error.json"
    for name, value in {"RANK": str(rank), "WORLD_SIZE": "2",
                        "TORCHELASTIC_ERROR_FILE": str(error_file)}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(distributed, "REPORT_SECONDS", 0.1)
    monkeypatch.setattr(distributed, "STOP_SECONDS", 0.0)


@pytest.mark.parametrize("ranks", [(0, 1), (1, 0)])
def test_the_first_process_that_has_an_error_reports_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, ranks: tuple[int, int]
) -> None:
    reports = []
    for rank in ranks:
        under_torchrun(monkeypatch, tmp_path, rank)
        reports.append(distributed.may_report())
    assert reports == [True, False]
    # torchrun starts the processes again, with another folder
    (tmp_path / "attempt_1").mkdir()
    under_torchrun(monkeypatch, tmp_path / "attempt_1", 1)
    assert distributed.may_report()


def test_rank_0_alone_reports_a_signal_and_no_process_waits(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for rank in (1, 0):
        under_torchrun(monkeypatch, tmp_path, rank)
        monkeypatch.setattr(distributed.time, "sleep", lambda seconds: pytest.fail("it waits"))
        assert distributed.may_report(is_signal=True) == (rank == 0)


def test_without_torchrun_every_process_reports_in_the_end(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for rank in (0, 1):
        under_torchrun(monkeypatch, tmp_path, rank)
        monkeypatch.delenv("TORCHELASTIC_ERROR_FILE")
        assert distributed.may_report()
