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
