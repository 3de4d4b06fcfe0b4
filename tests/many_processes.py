"""Runs train.py and eval.py in many processes: python tests/many_processes.py FOLDER.

FOLDER/jobs.json lists the jobs, which are run one after the other: `program`, `argv`, `ranks`, and
`signal_after`, the step during which rank 1 gets SIGTERM, or None. The processes are forked from
this one, so that torch is imported once. FOLDER/found.json holds for each job the `codes` of its
ranks and, of train.py, the `names` of each rank's images in each step.
"""

import json
import os
import signal
import socket
import sys
import traceback
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
# before torch starts threads, which a forked process lacks, and finds a GPU
os.environ |= {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}

import torch

import eval as evaluation
import train
from tests.two_processes import comparable


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def watch_steps(names: list[list[str]], signal_after: int | None) -> None:
    """Notes the images of each step; sends this process SIGTERM during one of them."""
    train_step = train.Training.train_step

    def watched(self: train.Training, batch: dict[str, Any], want_norm: bool) -> Any:
        names.append(list(batch["name"]))
        if self.progress.step == signal_after:
            os.kill(os.getpid(), signal.SIGTERM)
        return train_step(self, batch, want_norm)

    train.Training.train_step = watched


def run_rank(job: dict[str, Any], rank: int, port: int, result: Path) -> int:
    """What one process does; returns its exit code."""
    ranks = job["ranks"]
    if ranks > 1:
        os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(ranks),
                       "LOCAL_WORLD_SIZE": str(ranks), "MASTER_ADDR": "127.0.0.1",
                       "MASTER_PORT": str(port)}
    names: list[list[str]] = []
    watch_steps(names, job.get("signal_after") if rank == min(1, ranks - 1) else None)
    program = {"train": train, "eval": evaluation}[job["program"]]
    with comparable():
        code = program.main(job["argv"])
    result.write_text(json.dumps(names))
    return code


def run(job: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Runs the processes of a job; returns the exit code of each and the images of its steps."""
    port = free_port()
    results = [folder / f"rank_{rank}.json" for rank in range(job["ranks"])]
    children = []
    for rank, result in enumerate(results):
        result.unlink(missing_ok=True)
        child = os.fork()
        if child == 0:
            code = 99
            try:
                code = run_rank(job, rank, port, result)
            except BaseException:
                traceback.print_exc()
            sys.stdout.flush()
            sys.stderr.flush()
            # the rest of the program is the parent's
            os._exit(code)
        children.append(child)
    codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
    names = [json.loads(result.read_text()) for result in results if result.exists()]
    return {"codes": codes, "names": names}


def main() -> None:
    folder = Path(sys.argv[1])
    torch.set_num_threads(1)
    found = [run(job, folder) for job in json.loads((folder / "jobs.json").read_text())]
    (folder / "found.json").write_text(json.dumps(found))


if __name__ == "__main__":
    main()
