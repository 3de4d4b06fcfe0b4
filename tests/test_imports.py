"""Reads every import of the project and fails on an arrow that points up or sideways (docs/architecture.md)."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
ROOMS = {"network": set(), "datasets": {"utils"}, "loss": {"utils"}, "optimizer": {"utils"}, "transforms": {"utils"},
         "utils": set()}
PROGRAMS = {"train": set(ROOMS), "eval": set(ROOMS), "tools": {*ROOMS, "train", "eval"}}    # a tool may drive a program
ALLOWED = {**ROOMS, **PROGRAMS, "tests": {*ROOMS, *PROGRAMS, "hubconf"}, "hubconf": {"network"}}
IMPORTERS = {"import_module", "__import__"}


def room_of(path: Path, root: Path) -> str:
    """The first part of the path below the root: `utils` for utils/cli.py, `train` for train.py."""
    return path.relative_to(root).with_suffix("").parts[0]


def imported(path: Path, root: Path) -> Iterator[tuple[int, str]]:
    """Yields (line, dotted module) of every import anywhere in the file, relative and literal dynamic ones too."""
    package = path.relative_to(root).parent.parts
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"), str(path))):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            yield from ((node.lineno, ".".join([*base, *filter(None, [node.module]), alias.name]))
                        for alias in node.names)
        elif isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
            called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            if called in IMPORTERS and isinstance(node.args[0].value, str):
                yield node.lineno, node.args[0].value


def bad_arrows(root: Path) -> list[str]:
    """Every import of one of our rooms that the importing room's row of ALLOWED does not name."""
    files = [*root.glob("*.py"), *(path for room in sorted(ALLOWED) for path in sorted((root / room).rglob("*.py")))]
    arrows = []
    for path in files:
        room = room_of(path, root)
        for line, module in imported(path, root):
            target = module.split(".")[0]
            if target in ALLOWED and target != room and target not in ALLOWED.get(room, set()):
                arrows.append(f"{path.relative_to(root)}:{line}: {room} must not import {module}")
    return arrows


def test_no_arrow_points_up_or_sideways() -> None:
    assert bad_arrows(ROOT) == []


def test_every_folder_with_python_files_is_a_room_of_the_map() -> None:
    folders = {path.name for path in ROOT.iterdir() if path.is_dir() and not path.name.startswith(".")
               and path.name not in {"data", "logs", "runs", "build"} and any(path.rglob("*.py"))}
    assert folders <= set(ALLOWED) | {"scripts", "docs"}
    assert not [path for folder in ("scripts", "docs") for path in (ROOT / folder).rglob("*.py")]


def test_no_package_hides_a_room_from_pytest() -> None:
    assert list((ROOT / "tests").rglob("__init__.py")) == []


@pytest.mark.parametrize(
    ("file", "code", "arrow"),
    [
        ("loss/focal.py", "from datasets.spec import Label\n", "loss/focal.py:1: loss must not import datasets"),
        ("network/head.py", "import torch\n\n\ndef f():\n    import utils.cli\n",
         "network/head.py:5: network must not import utils.cli"),
        ("utils/training/run_folder.py", "from train import main\n", "utils/training/run_folder.py:1: utils must not import train"),
        ("datasets/reader.py", "from .. import transforms\n",
         "datasets/reader.py:1: datasets must not import transforms"),
        ("transforms/a.py", "import importlib\nm = importlib.import_module('loss')\n",
         "transforms/a.py:2: transforms must not import loss"),
        ("eval.py", "from train import validate\n", "eval.py:1: eval must not import train"),
        ("train.py", "from tools import demo\n", "train.py:1: train must not import tools"),
        ("hubconf.py", "import utils\n", "hubconf.py:1: hubconf must not import utils"),
    ],
)
def test_a_bad_arrow_is_found(tmp_path: Path, file: str, code: str, arrow: str) -> None:
    path = tmp_path / file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(code, encoding="utf-8")
    found = bad_arrows(tmp_path)
    assert len(found) == 1
    assert found[0].startswith(arrow)


def test_good_arrows_pass(tmp_path: Path) -> None:
    for file, code in {"train.py": "import network\nfrom utils import runs\n", "loss/ohem.py": "import utils.cli\n",
                       "network/heads/sfnet.py": "from . import heads\nfrom .alignment import warp\nimport network.resnet\n",
                       "tools/demo/__main__.py": "import train\nfrom datasets import spec\nfrom tools import drawing\n"}.items():
        path = tmp_path / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(code, encoding="utf-8")
    assert bad_arrows(tmp_path) == []
