"""torchrun around processes that fail: what it prints, and its exit code."""
from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from torch.distributed.elastic.multiprocessing.errors import ProcessFailure

from utils import cli, torchrun

ROOT = Path(__file__).parents[2]
PROGRAM = """
import os, sys
sys.path.insert(0, {root!r})
from utils import cli, distributed, logs
distributed.REPORT_SECONDS = 120.0      # of a busy machine
rank = int(os.environ["RANK"])

def work():
    {work}

sys.exit(cli.run_program("train.py", work))
"""


def launch(tmp_path: Path, work: str, processes: int = 8) -> subprocess.CompletedProcess[str]:
    """Runs processes that do some work, by `utils/torchrun.py`."""
    program = tmp_path / "program.py"
    program.write_text(PROGRAM.format(root=str(ROOT), work=work))
    command = [sys.executable, str(ROOT / "utils/torchrun.py"), "--standalone",
               "--nproc_per_node", str(processes), str(program)]
    return subprocess.run(command, capture_output=True, text=True, timeout=400, check=False,
                          env={**os.environ, "OMP_NUM_THREADS": "1"})


@pytest.mark.slow
def test_a_refusal_of_eight_processes_is_one_line_and_its_exit_code(tmp_path: Path) -> None:
    done = launch(tmp_path, 'raise ValueError(f"--crop_size is missing, says rank {rank}")')
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "train.py: error: --crop_size is missing, says rank 0\n"


def test_a_refusal_of_two_processes_is_one_line_and_its_exit_code(tmp_path: Path) -> None:
    done = launch(tmp_path, 'raise ValueError(f"--crop_size is missing, says rank {rank}")', 2)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "train.py: error: --crop_size is missing, says rank 0\n"


@pytest.mark.slow
def test_an_error_of_one_process_is_one_line_and_ends_the_others(tmp_path: Path) -> None:
    work = """
    distributed.start()
    logs.start_logging()
    distributed.REPORT_SECONDS = 1.0
    if rank == 1:
        raise ValueError("a.png is damaged")
    distributed.barrier()
"""
    done = launch(tmp_path, work, 2)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "rank 1: train.py: error: a.png is damaged\n"


@pytest.mark.slow
def test_an_unexpected_error_keeps_its_traceback(tmp_path: Path) -> None:
    done = launch(tmp_path, "distributed.start(); print({}[rank])", 2)
    assert done.returncode == 1
    assert "Traceback (most recent call last)" in done.stderr and "KeyError: 0" in done.stderr
    assert "ChildFailedError" not in done.stderr


@pytest.mark.slow
def test_a_killed_process_is_named(tmp_path: Path) -> None:
    done = launch(tmp_path, "os.kill(os.getpid(), 9) if rank else __import__('time').sleep(60)", 2)
    assert done.returncode == 128 + signal.SIGKILL
    assert re.fullmatch(r"torchrun: error: process 1 of this host \(pid \d+\) was killed by "
                        r"SIGKILL, and the others were stopped\. .*\n", done.stderr)


def failure(local_rank: int, code: int) -> ProcessFailure:
    return ProcessFailure(local_rank, 100 + local_rank, code, error_file="<N/A>")


@pytest.mark.parametrize(("codes", "origin"), [
    ([3, 2], 1),   # rank 0 noticed that rank 1 had refused
    ([3, -9], 1),
    ([1, -9], 1),
    ([2, 2], 0),
    ([-15, 2], 1),  # torchrun ended rank 0
])
def test_the_origin_of_several_failures_is_told_from_those_that_noticed_it(
    codes: list[int], origin: int
) -> None:
    assert torchrun.LOST_PEER == cli.LOST_PEER
    failures = [failure(local_rank, code) for local_rank, code in enumerate(codes)]
    assert torchrun.origin(failures).local_rank == origin
