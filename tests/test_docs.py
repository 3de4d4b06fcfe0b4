"""Links, paths, names of code, commands and their flags in the documents exist."""

import configparser
import importlib
import re
import subprocess
from pathlib import Path

import pytest
import yaml

import eval as evaluation
import train
from tests.documents import DOCUMENTS, ROOT, blocks, call, prose
from utils.evaluation.options import RETIRED as EVALUATION_RETIRED
from utils.training.options import RETIRED as TRAINING_RETIRED

LINK = re.compile(r"\]\(([^)\s]+)\)|\b(?:src|srcset|href)=\"([^\"\s]+)\"")
COMMIT = re.compile(r"`([0-9a-f]{7,8})`")
CODE = re.compile(r"`([^`\n]+)`")
PACKAGES = ("network", "datasets", "loss", "optimizer", "transforms", "utils", "tools")
# `docs/x.md` or `scripts/`, without stars and braces
PATH = re.compile(r"[\w.\-]+(?:/[\w.\-]+)*/[\w.\-]*")
# suffixes of files that no checkout contains
GENERATED = (".pth", ".plan")
# test_extend.py adds what this page names
ADDED_BY_THE_PAGE = ROOT / "docs/extend.md"

ids = {"ids": lambda path: str(path.relative_to(ROOT))}
ALL_COMMANDS = [
    pytest.param(line, id=f"{block.name}: {line[:60]}")
    for document in DOCUMENTS
    if document != ADDED_BY_THE_PAGE
    for block in blocks(document)
    if block.is_shell
    for line in block.commands()
]


def links(document: Path) -> list[str]:
    """The links and images of a document, Markdown and HTML, that lead to this checkout."""
    targets = [first or second for first, second in LINK.findall(prose(document))]
    return [link for link in targets if "://" not in link and not link.startswith("mailto:")]


def anchors(document: Path) -> set[str]:
    """The anchors of the headings as GitHub spells them: `own-data` for `## Own data!`."""
    headings = re.findall(r"^#+ +(.+)$", prose(document), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("document", DOCUMENTS, **ids)
def test_local_links_lead_somewhere(document: Path) -> None:
    dead = []
    for link in links(document):
        path, _, heading = link.partition("#")
        target = document.parent / path if path else document
        if not target.exists() or (heading and heading not in anchors(target)):
            dead.append(link)
    assert dead == []


def test_every_document_is_reached_from_the_readme() -> None:
    reached: set[Path] = set()
    queue = [ROOT / "README.md"]
    while queue:
        document = queue.pop()
        if document not in reached:
            reached.add(document)
            targets = (
                (document.parent / link.partition("#")[0]).resolve() for link in links(document)
            )
            queue += [target for target in targets if target.suffix == ".md"]
    assert sorted(str(document) for document in {*DOCUMENTS} - reached) == [], (
        "link them from README.md, or from a page that it leads to"
    )


def test_every_figure_is_shown_in_a_document() -> None:
    shown = {Path(link).name for document in DOCUMENTS for link in links(document)}
    assert sorted(path.name for path in (ROOT / "figs").iterdir() if path.name not in shown) == []


@pytest.mark.parametrize(
    "document", [path for path in DOCUMENTS if path != ADDED_BY_THE_PAGE], **ids
)
def test_files_and_modules_that_are_named_exist(document: Path) -> None:
    text = document.read_text(encoding="utf-8")
    named = set(re.findall(r"\b(?:scripts|tools|docs|tests)/[\w/]+\.\w+", text))
    for module in re.findall(r"-m (tools(?:\.\w+)+)", text):
        path = module.replace(".", "/")
        named.add(f"{path}/__main__.py" if (ROOT / path).is_dir() else f"{path}.py")
    tracked = {path.name for path in ROOT.iterdir() if path.name not in ("data", "logs", "runs")}
    for code in CODE.findall(prose(document)):
        if PATH.fullmatch(code) and code.split("/")[0] in tracked and not code.endswith(GENERATED):
            named.add(code)
    assert (
        sorted(
            name
            for name in named
            if not (ROOT / name).exists() and not re.search(r"\b[A-Z]{4,}\b", name)
        )
        == []
    )


@pytest.mark.parametrize("document", DOCUMENTS, **ids)
def test_names_of_code_exist(document: Path) -> None:
    """`utils.batches.prepare`, `network.build(...)`: modules of the packages and their members."""
    unknown = []
    for code in CODE.findall(prose(document)):
        name = re.match(rf"(?:{'|'.join(PACKAGES)})(?:\.[a-zA-Z_]\w*)+(?![\w/])", code)
        if name and not re.search(r"\.(py|sh|md|png|json|yaml)$", name[0]):
            member, parts = None, name[0].split(".")
            for depth in range(len(parts), 0, -1):
                module = ROOT.joinpath(*parts[:depth])
                if module.with_suffix(".py").is_file() or module.is_dir():
                    member = importlib.import_module(".".join(parts[:depth]))
                    break
            for part in parts[depth:]:
                member = getattr(member, part, None)
            if member is None:
                unknown.append(code)
    assert unknown == []


@pytest.mark.parametrize("line", ALL_COMMANDS)
def test_commands_parse_with_the_real_parsers(line: str) -> None:
    command = call(line)
    if command is None:
        pytest.skip("not a command of this project")
    if "--help" not in command.flags:
        program = importlib.import_module(command.program)
        parse = (
            program.build_parser().parse_args if hasattr(program, "build_parser") else program.parse
        )
        parse(command.flags)


def test_commits_that_figures_come_from_are_in_the_history() -> None:
    named = {
        commit: document for document in DOCUMENTS for commit in COMMIT.findall(prose(document))
    }
    for path in (ROOT / "docs").rglob("*.json"):
        named |= dict.fromkeys(
            re.findall(r'"commit": "([0-9a-f]{7,})"', path.read_text(encoding="utf-8")), path
        )
    history = subprocess.run(
        ["git", "rev-list", "HEAD"], cwd=ROOT, capture_output=True, text=True
    ).stdout.split()
    if len(history) < len(named):
        pytest.skip("the checkout does not have its whole history")
    known = {commit[:7] for commit in history}
    assert {commit: str(path) for commit, path in named.items() if commit[:7] not in known} == {}


def test_no_placeholder_is_left() -> None:
    files = [*DOCUMENTS, *(ROOT / "scripts").rglob("*.sh")]
    assert [str(path) for path in files if "@@" in path.read_text(encoding="utf-8")] == []


def test_the_changelog_names_the_flags_that_are_kept_and_retired() -> None:
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    kept = re.search(
        r"\*\*Kept\*\*[^`]+`--no_NAME`[^`]+ in training:\n\n```text\n([^`]+)```\n\n"
        r"and in evaluation:\n\n```text\n([^`]+)```",
        text,
    )
    assert kept is not None
    for program, flags in ((train, kept[1]), (evaluation, kept[2])):
        known = program.build_parser()._option_string_actions
        assert [flag for flag in flags.split() if flag not in known] == [] and len(
            flags.split()
        ) >= 15
    first_release = text.partition("## 0.1.0")[2]
    removed = first_release.partition("### Removed")[2].partition("###")[0]
    named = {
        flag
        for row in re.findall(r"^\| (`--.*?) \|", removed, re.MULTILINE)
        for flag in CODE.findall(row)
    }
    assert named == {*TRAINING_RETIRED, *EVALUATION_RETIRED}


def test_the_version_is_the_same_everywhere() -> None:
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg", encoding="utf-8")
    version = setup["metadata"]["version"]
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    released = re.findall(r"^## (\d+\.\d+\.\d+) \((\S+)\)$",
                          (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert released[0] == (version, str(citation["date-released"]))
    assert citation["version"] == version
