from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tools.maintainer.fault_drill import injected

FOLDER = Path(injected.__file__).parent


def test_every_internet_connection_is_cut_and_files_stay_open(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, \
            socket.create_connection(server.getsockname()) as client, \
            (tmp_path / "a").open("w") as file:
        other, _ = server.accept()
        pid = os.fork()
        if pid == 0:
            injected._cut_connections()
            os._exit(0)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
        client.settimeout(10)
        assert client.recv(1) == b"" and other.recv(1) == b""
        file.write("open")


def test_processes_that_were_started_again_run_as_usual() -> None:
    done = subprocess.run([sys.executable, str(FOLDER / "injected.py"), "no_such_fault", "3",
                           "--no_such_flag"], text=True, capture_output=True, check=False,
                          env={**os.environ, "TORCHELASTIC_RESTART_COUNT": "1"})
    assert done.returncode == 2 and "unknown flag --no_such_flag" in done.stderr


@pytest.mark.parametrize("fault", injected.FAULTS)
def test_every_fault_leaves_rank_0_alone(fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    changed = [(injected.checkpoint.Checkpoints, "state"), (injected.train.Training, "train_step")]
    for owner, name in changed:
        monkeypatch.setattr(owner, name, lambda self, *args, **options: "as usual")
    injected.FAULTS[fault](6)
    progress: Any = type("Progress", (), {"step": 5 if fault == "fail_all_reduce" else 6})
    run: Any = type("Run", (), {"progress": progress})
    assert injected.checkpoint.Checkpoints.state(run, progress) == "as usual"
    assert injected.train.Training.train_step(run, {}) == "as usual"
