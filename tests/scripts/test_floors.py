"""setup.cfg has the lower bounds of scripts/floors.txt, and no file needs a newer Python."""

import ast
import re
from configparser import ConfigParser
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SETUP = ConfigParser(interpolation=None)
SETUP.read(ROOT / "setup.cfg", encoding="utf-8")
REQUIREMENTS = "\n".join(
    [SETUP["options"]["install_requires"], *SETUP["options.extras_require"].values()]
)
# without markers, such as that of a system
DECLARED = [line.split(";")[0] for line in REQUIREMENTS.splitlines()
            if line and not line.startswith("%(")]
PINNED = dict(
    line.split("==")
    for line in (ROOT / "scripts/floors.txt").read_text(encoding="utf-8").splitlines()
    if not line.startswith("#")
)


def oldest_python() -> tuple[int, int]:
    major, minor = SETUP["options"]["python_requires"].removeprefix(">=").split(".")
    return int(major), int(minor)


@pytest.mark.parametrize("requirement", DECLARED)
def test_a_requirement_starts_at_the_version_that_was_tested(requirement: str) -> None:
    name, bound, oldest = re.fullmatch(r"([\w-]+)(>=)?([\d.]*)", requirement).groups()
    assert bound, f"{requirement} has no lower bound: setup.cfg, and the same in scripts/floors.txt"
    assert f"{PINNED[name]}.".startswith(f"{oldest}."), (
        f"setup.cfg says {requirement}, floors.txt {PINNED[name]}"
    )


def test_every_tested_version_belongs_to_a_requirement() -> None:
    assert sorted(PINNED) == sorted(re.split("[>=]", requirement)[0] for requirement in DECLARED)


def test_the_checks_look_for_what_the_oldest_python_lacks() -> None:
    major, minor = oldest_python()
    assert SETUP["mypy"]["python_version"] == f"{major}.{minor}"
    assert f'target-version = "py{major}{minor}"' in (ROOT / ".ruff.toml").read_text(
        encoding="utf-8"
    )
    assert f"version_info < ({major}, {minor})" in (ROOT / "scripts/setup_env.sh").read_text(
        encoding="utf-8"
    )


def test_every_file_is_written_in_the_grammar_of_the_oldest_python() -> None:
    checked = [ROOT / name.strip() for name in f"{SETUP['mypy']['files']}, tests".split(",")]
    for file in (
        each for place in checked for each in (place.rglob("*.py") if place.is_dir() else [place])
    ):
        ast.parse(file.read_text(encoding="utf-8"), str(file), feature_version=oldest_python())
