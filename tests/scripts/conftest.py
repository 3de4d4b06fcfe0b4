"""What a launcher hands to Python, told by a stand-in for Python that prints its arguments."""

import functools
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

RECORDER = '#!/bin/sh\nfor word; do echo "$word"; done\n'
CALLERS = ("--num_workers", "3")                            # flags of the caller, which train.py and eval.py both take
Handed = Callable[[Path], list[str]]


@pytest.fixture(scope="session")
def recorder(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A stand-in for Python that prints its arguments, one a line."""
    path = tmp_path_factory.mktemp("recorder") / "python"
    path.write_text(RECORDER)
    path.chmod(0o755)
    return str(path)


@pytest.fixture(scope="session")
def handed(recorder: str) -> Handed:
    """The flags that a launcher hands to its program: its own and, as the last ones, the caller's. Each runs once."""

    @functools.cache
    def flags(launcher: Path) -> list[str]:
        env = {"PATH": os.environ["PATH"], "PYTHON": recorder, "NPROC": "1"}
        done = subprocess.run(["sh", str(launcher), *CALLERS], env=env, cwd="/", capture_output=True, text=True,
                              check=True)
        program, *given = done.stdout.splitlines()
        assert Path(program).name == {"train": "train.py", "eval": "eval.py"}[launcher.parent.name]
        assert given[-2:] == [*CALLERS]                     # where they overrule the launcher's own
        return given[:-2]

    return flags
