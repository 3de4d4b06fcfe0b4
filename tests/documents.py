"""Reads the shell blocks of the documents, and runs those marked `runnable` on tiny data.

A block is marked behind its language: ```bash runnable, or ```bash runnable slow if it takes a
minute or more. It runs in a copy of the checkout, with the flags of SMALL appended to each command,
which override those of the document.
"""

from __future__ import annotations

import glob
import importlib
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
DOCUMENTS = [
    *sorted(ROOT.glob("*.md")),
    ROOT / "pretrained_models/README.md",
    *sorted((ROOT / "docs").rglob("*.md")),
    *sorted((ROOT / "results").rglob("*.md")),
]
NOT_COPIED = shutil.ignore_patterns(
    ".git", ".venv*", "data", "logs", "runs", "*.pth", "*_cache", ".hypothesis"
)

FENCE = re.compile(r"^```(\w*) *([^\n`]*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
PROGRAM = re.compile(
    r"(?:.* \| )?(?:\S*python3? (?:(?P<file>train|eval)\.py|-m (?P<tool>tools(?:\.\w+)+))"
    r"|\S*torchrun .*?(?P<run>train|eval)\.py)"
)
COMMAND = re.compile(r"^.*<<'(\w+)'\n(?:.*\n)*?\1$|^(?:.*\\\n)*.*$", re.MULTILINE)
COMMENT = re.compile(r"\s+#\s.*$")
LAUNCHER = re.compile(r"\bscripts/(train|eval)/\S+")

SMALL = {
    "train": "--max_iters 2 --global_batch {images} --bs_mult 2 --crop_size 64x96 --num_workers 0",
    "train resumed": "--num_workers 0",
    "eval": "--num_workers 0",
    "tools.make_streets": "--train 6 --val 2 --size 64x128 --workers 1",
    "tools.check_dataset": "--num_workers 0",
    "tools.pack_dataset": "--num_workers 1",
    "tools.pseudo_label": "--num_workers 0",
    "tools.export": "--size 64x96",
    "tools.benchmark infer": "--size 64x96 --rounds 1 --warm_up 1 --settings fp32 --no_memory",
    "tools.benchmark models": "--size 64x96",
}


class Block(NamedTuple):
    """A fenced block. The words behind its language say how it is tested."""

    document: Path
    number: int
    language: str
    words: tuple[str, ...]
    text: str

    @property
    def is_shell(self) -> bool:
        return self.language in ("bash", "sh")

    @property
    def name(self) -> str:
        return f"{self.document.relative_to(ROOT)}:{self.number}"

    def commands(self) -> list[str]:
        """The commands, without comment lines; continuation lines and here-documents are joined."""
        commands = (match[0].replace("\\\n", " ").strip() for match in COMMAND.finditer(self.text))
        return [command for command in commands if command and not command.startswith("#")]


class Call(NamedTuple):
    """A command of this project: its module, its flags and the number of processes."""

    module: str
    flags: list[str]
    processes: int

    @property
    def program(self) -> str:
        """The module that `python -m` runs: a package's `__main__`."""
        return (
            f"{self.module}.__main__"
            if (ROOT / self.module.replace(".", "/")).is_dir()
            else self.module
        )

    @property
    def small(self) -> list[str]:
        """The flags of SMALL for this command."""
        kind = self.module
        if kind == "tools.benchmark":
            kind += f" {self.flags[0]}"
        elif kind == "train" and "--resume" in self.flags:
            kind = "train resumed"
        return SMALL.get(kind, "").format(images=2 * self.processes).split()


def blocks(document: Path) -> Iterator[Block]:
    text = document.read_text(encoding="utf-8")
    for match in FENCE.finditer(text):
        yield Block(
            document,
            text.count("\n", 0, match.start()) + 1,
            match[1],
            tuple(match[2].split()),
            match[3],
        )


def prose(document: Path) -> str:
    """The document without its fenced blocks."""
    return FENCE.sub("", document.read_text(encoding="utf-8"))


def call(line: str) -> Call | None:
    """Parses a command of train.py, eval.py, a launcher or a tool; None for other commands."""
    words = shlex.split(line, comments=True)
    if match := PROGRAM.match(line):
        name = match["file"] or match["tool"] or match["run"]
        start = next(i for i, word in enumerate(words) if word in (f"{name}.py", name))
    elif match := LAUNCHER.search(line):
        name, start = match[1], words.index(match[0])
    else:
        return None
    processes = re.search(r"--nproc_per_node (\d+)", line)
    return Call(name, words[start + 1 :], int(processes[1]) if processes else 1)


def copy_checkout(folder: Path) -> Path:
    """Copies the checkout without data, runs and weights."""
    return shutil.copytree(ROOT, folder, ignore=NOT_COPIED)


def run(line: str) -> int:
    """Runs a command of a document in the working folder, and returns its exit status.

    Python programs run in this process, which saves several seconds of start-up; all other commands
    run in a shell.
    """
    command = call(line)
    small = command.small if command else []
    if command is None or not re.match(r"\S*python", line):
        env = {
            **os.environ,
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "PYTHON": sys.executable,
            "NPROC": "1",
        }
        return subprocess.run(
            ["bash", "-c", f"{COMMENT.sub('', line)} {shlex.join(small)}".strip()],
            env=env,
            check=False,
        ).returncode
    flags = [path for word in command.flags for path in sorted(glob.glob(word)) or [word]]
    try:
        return importlib.import_module(command.program).main([*flags, *small]) or 0
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
