"""torchrun without the report that it prints after the message of a process that fails.

Takes torchrun's arguments. When a process ends with an error, torchrun prints a traceback of its
own and a table of all processes below the message of that process. This program prints neither,
and exits with the code of that process. `scripts/launch.sh` starts it, as a file, from any folder.
"""
from __future__ import annotations

import logging
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

if __name__ == "__main__":
    # in place of this file's own folder, whose modules would hide others of the same name
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from torch.distributed import run
from torch.distributed.elastic.multiprocessing import SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError, ProcessFailure
from torch.distributed.elastic.rendezvous import RendezvousError

# the exit code of a process that noticed that another one had ended
LOST_PEER = 3


def main(argv: Sequence[str] | None = None) -> int:
    """Runs torchrun; returns 0, the code of the process that failed, or 128 + a signal's number."""
    # torchrun logs an error for each process that ends; those processes themselves log as before
    logging.disable(logging.ERROR)
    # torchrun's own default, which it would announce
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    try:
        run.main(argv)
    except ChildFailedError as error:
        return report(origin(list(error.failures.values())))
    except SignalException as stop:
        return 128 + int(stop.sigval)
    except RendezvousError as error:
        print(f"torchrun: error: the hosts cannot meet ({error}): is every host started, with the "
              "same RDZV_ENDPOINT and RDZV_ID, and does its firewall let the others in?",
              file=sys.stderr)
        return 2
    return 0


def origin(failures: Sequence[ProcessFailure]) -> ProcessFailure:
    """Returns the failure that caused the others: a killed process, else the earliest error.

    The processes beside it noticed it (LOST_PEER), or were ended by torchrun (SIGTERM).
    """
    def order(failure: ProcessFailure) -> tuple[bool, bool, int]:
        is_consequence = failure.exitcode in (LOST_PEER, -signal.SIGTERM)
        return is_consequence, failure.exitcode >= 0, failure.timestamp

    return min(failures, key=order)


def report(failure: ProcessFailure) -> int:
    """Names a process that was killed, which could not say so itself; returns the exit code."""
    if failure.exitcode >= 0:
        return failure.exitcode
    print(f"torchrun: error: process {failure.local_rank} of this host (pid {failure.pid}) was "
          f"killed by {failure.signal_name()}, and the others were stopped. After SIGKILL, see "
          "whether the machine ran out of memory", file=sys.stderr)
    return 128 - failure.exitcode


if __name__ == "__main__":
    sys.exit(main())
