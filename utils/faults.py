"""What a program says and returns when it cannot go on: an error of the user's, a lost process, a GPU that is full."""
from __future__ import annotations

import logging
import os
import sys
import traceback
from collections.abc import Callable

import torch

from utils import distributed

log = logging.getLogger(__name__)

FAILED, REFUSED, LOST, STOPPED = 1, 2, 3, 130               # exit codes


def guarded(program: str, work: Callable[[], int]) -> int:
    """Runs a program; turns what it raises into one line and an exit code, and leaves the process group.

    What is nobody's expected mistake keeps its traceback. With several processes this one then leaves at once, without
    waiting for the others, which notice it: the first message is that of the process where it began.
    """
    try:
        code = work()
    except (ValueError, OSError, ImportError) as error:
        code = _say(REFUSED, f"{program}: error: {error}", traced=True)
    except KeyboardInterrupt:
        code = _say(STOPPED, f"{program}: stopped at once; a run that has begun goes on from its last checkpoint with "
                             "--resume")
    except torch.OutOfMemoryError as error:
        code = _say(FAILED, f"{program}: error: {str(error).split('. ')[0]}. Give a GPU less at once: --bs_mult 1 "
                            "--accumulate N (N forward passes a step keep the global batch), a smaller --crop_size, "
                            "--precision bf16, or --recompute", traced=True)
    except Exception as error:
        if distributed.is_lost_peer(error):
            reason = str(error).splitlines()[0][-120:]
            code = _say(LOST, f"{program}: error: another process ended or is silent ({reason}): its own message "
                              "stands above. Go on with --resume")
        elif distributed.world_size() == 1:
            raise
        else:
            traceback.print_exc()
            code = _say(FAILED, f"{program}: error: {type(error).__name__}: {error}")
    if code in (FAILED, REFUSED, LOST, STOPPED) and distributed.world_size() > 1:
        logging.shutdown()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)                                      # leaving in good order would wait for the others
    distributed.stop()
    return code


def _say(code: int, message: str, traced: bool = False) -> int:
    log.error(message, exc_info=traced)
    return code
