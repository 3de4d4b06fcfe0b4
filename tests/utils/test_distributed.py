"""Processes that cannot start together say why."""

from __future__ import annotations

import pytest
import torch
from torch import nn

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
