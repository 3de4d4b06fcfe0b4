"""What the documents say exists and works: local links and paths, commands and their flags."""

import importlib
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
DOCUMENTS = [ROOT / "README.md", ROOT / "DATASETs.md", ROOT / "pretrained_models/README.md",
             *sorted((ROOT / "docs").glob("*.md"))]
LINK = re.compile(r"\]\(([^)\s]+)\)")
BLOCK = re.compile(r"^```(?:bash|sh)\n(.*?)^```", re.MULTILINE | re.DOTALL)
PROGRAM = re.compile(
    r"(?:.* \| )?(?:\S*python3? (?:(?P<file>train|eval)\.py|-m (?P<tool>tools\.\w+))"
    r"|\S*torchrun .*?(?P<run>train|eval)\.py)")


def commands(document: Path) -> Iterator[str]:
    """Every command line of the document's shell blocks, continuation lines joined."""
    for block in BLOCK.findall(document.read_text(encoding="utf-8")):
        yield from filter(None, (line.strip() for line in block.replace("\\\n", " ").splitlines()))


ALL_COMMANDS = [pytest.param(line, id=f"{document.name}: {line[:60]}") for document in DOCUMENTS if document.exists()
                for line in commands(document)]


def anchors(document: Path) -> set[str]:
    """What a link can lead to in a document: its headings as GitHub spells them, `#own-data` for `## Own data!`."""
    headings = re.findall(r"^#+ +(.+)$", document.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_local_links_lead_somewhere(document: Path) -> None:
    dead = []
    for link in LINK.findall(document.read_text(encoding="utf-8")):
        if "://" not in link:
            path, _, heading = link.partition("#")
            target = document.parent / path if path else document
            if not target.exists() or (heading and heading not in anchors(target)):
                dead.append(link)
    assert dead == []


def test_every_figure_is_shown_in_a_document() -> None:
    shown = {Path(link).name for document in DOCUMENTS for link in LINK.findall(document.read_text(encoding="utf-8"))}
    assert sorted(path.name for path in (ROOT / "figs").iterdir() if path.name not in shown) == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_scripts_and_modules_that_are_named_exist(document: Path) -> None:
    text = document.read_text(encoding="utf-8")
    files = set(re.findall(r"\b(?:scripts|tools|docs|tests)/[\w/]+\.\w+", text))
    files |= {f"{module.replace('.', '/')}.py" for module in re.findall(r"-m (tools\.\w+)", text)}
    assert sorted(file for file in files if not (ROOT / file).exists()) == []


@pytest.mark.parametrize("line", ALL_COMMANDS)
def test_commands_parse_with_the_real_parsers(line: str) -> None:
    given = shlex.split(line, comments=True)
    match = PROGRAM.match(line)
    if match is not None:
        name = match["file"] or match["tool"] or match["run"]
        position = next(i for i, word in enumerate(given) if word in (f"{name}.py", name))
        flags = given[position + 1:]
    elif launcher := re.search(r"scripts/(train|eval)/\S+", line):
        name, flags = launcher[1], given[given.index(launcher[0]) + 1:]
    else:
        pytest.skip("not a command with flags of ours")
    if "--help" not in flags:
        program = importlib.import_module(name)
        parse = program.build_parser().parse_args if hasattr(program, "build_parser") else program.parse
        parse(flags)


def test_no_placeholder_is_left() -> None:
    files = [*DOCUMENTS, *(ROOT / "scripts").rglob("*.sh")]
    assert [str(path) for path in files if "@@" in path.read_text(encoding="utf-8")] == []
