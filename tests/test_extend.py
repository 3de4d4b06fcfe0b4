"""Adds the code of docs/extend.md to a copy of the checkout and runs the page's commands there."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests import documents

PAGE = documents.ROOT / "docs/extend.md"
CODE = re.compile(
    r"(Write|write|Add to)\s`([\w/]+\.py)`:\n\n```(?:python|diff)\n(.*?)^```",
    re.MULTILINE | re.DOTALL,
)
SECTIONS = dict(
    re.findall(
        r"^## (.+?)\n(.*?)(?=^## |\Z)", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL
    )
)
RUN = """
import sys
from tests.documents import run
for line in sys.argv[1:]:
    assert run(line) == 0, line
"""


def added(code: str) -> list[str]:
    """The lines that a user writes: all of a new file, and those with a plus of a change."""
    lines = code.splitlines()
    return [line[1:] for line in lines if line.startswith("+")] or lines


def change(text: str, diff: str) -> str:
    """Inserts the lines with a plus after the line that precedes them in the diff."""
    lines = text.splitlines()
    at = -1
    for line in diff.splitlines():
        if line.startswith("+"):
            at += 1
            lines.insert(at, line[1:])
        else:
            assert lines.count(line[1:]) == 1, f"{line!r}: {lines.count(line[1:])} lines"
            at = lines.index(line[1:])
    return "\n".join(lines) + "\n"


@pytest.fixture(scope="module")
def extended(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the checkout with everything that the page adds, and some of its data."""
    checkout = documents.copy_checkout(tmp_path_factory.mktemp("extend") / "checkout")
    for text in SECTIONS.values():
        for verb, name, code in CODE.findall(text):
            path = checkout / name
            assert path.exists() == (verb == "Add to"), name
            path.write_text(
                change(path.read_text(encoding="utf-8"), code) if verb == "Add to" else code,
                encoding="utf-8",
            )
    rng = np.random.default_rng(0)
    for split, count in (("train", 4), ("val", 2)):
        for folder in ("images", "masks"):
            (checkout / "data/crossings" / folder / split).mkdir(parents=True)
        for number in range(count):
            label = rng.integers(0, 5, (4, 6), np.uint8).repeat(16, 0).repeat(16, 1)
            root, name = checkout / "data/crossings", f"{split}/{number:04}"
            assert cv2.imwrite(str(root / f"images/{name}.jpg"), np.dstack([label * 50] * 3))
            assert cv2.imwrite(str(root / f"masks/{name}_mask.png"), label)
    return checkout


@pytest.mark.parametrize("section", SECTIONS)
def test_each_addition_takes_less_than_40_lines(section: str) -> None:
    code = [added(code) for _, _, code in CODE.findall(SECTIONS[section])]
    # a new file, and rows of a table
    assert len(code) == 2
    assert sum(map(len, code)) < 40


def test_the_additions_work_as_the_page_says(extended: Path) -> None:
    lines = [
        line
        for block in documents.blocks(PAGE)
        if "runnable" in block.words
        for line in block.commands()
    ]
    draw = "python -m tools.make_streets --out data/streets"
    done = subprocess.run(
        [sys.executable, "-c", RUN, draw, *lines],
        cwd=extended,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-6000:]
    for run in ("tinynet", "sum", "masked", "crossings", "gce"):
        assert (extended / f"logs/{run}/last.pth").is_file()
    assert len([*(extended / "logs/crossings/eval_crossings_val/colour_masks").rglob("*.png")]) == 2


def test_the_additions_are_in_the_projects_style(extended: Path) -> None:
    pytest.importorskip("ruff", reason="the extra `test` brings it")
    done = subprocess.run(
        [sys.executable, "-m", "ruff", "check", "network", "datasets", "loss"],
        cwd=extended,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
