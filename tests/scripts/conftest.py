"""Records the arguments that a launcher passes to Python, with a stub that prints them."""

import functools
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

RECORDER = '#!/bin/sh\nfor word; do echo "$word"; done\n'
# flags of the caller, which both train.py and eval.py accept
CALLERS = ("--num_workers", "3")
Handed = Callable[[Path], list[str]]


@pytest.fixture(scope="session")
def recorder(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A stub for Python that prints its arguments, one per line."""
    path = tmp_path_factory.mktemp("recorder") / "python"
    path.write_text(RECORDER)
    path.chmod(0o755)
    return str(path)


@pytest.fixture(scope="session")
def handed(recorder: str) -> Handed:
    """The flags that a launcher passes to its program, without the caller's. Each runs once."""

    @functools.cache
    def flags(launcher: Path) -> list[str]:
        env = {"PATH": os.environ["PATH"], "PYTHON": recorder, "NPROC": "1"}
        done = subprocess.run(
            ["sh", str(launcher), *CALLERS],
            env=env,
            cwd="/",
            capture_output=True,
            text=True,
            check=True,
        )
        program, *given = done.stdout.splitlines()
        assert Path(program).name == {"train": "train.py", "eval": "eval.py"}[launcher.parent.name]
        # the caller's flags come last, so that they override the launcher's
        assert given[-2:] == [*CALLERS]
        return given[:-2]

    return flags
