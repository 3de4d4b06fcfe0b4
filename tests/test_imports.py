"""The layout: which package may import which, no circles, and a test for each module."""
from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from tools.maintainer import measure_code

ROOT = Path(__file__).resolve().parents[1]
# package -> the packages that it may import besides itself
PACKAGES: dict[str, set[str]] = {
    "network": set(),
    "datasets": {"utils"},
    "loss": {"utils"},
    "optimizer": {"utils"},
    "transforms": {"utils"},
    "utils": set(),
}
# a tool may run a program
PROGRAMS = {
    "train": set(PACKAGES),
    "eval": set(PACKAGES),
    "tools": {*PACKAGES, "train", "eval"},
    "hubconf": {"network"},
}
ALLOWED = {**PACKAGES, **PROGRAMS, "tests": {*PACKAGES, *PROGRAMS}}
IMPORT_FUNCTIONS = {"import_module", "__import__"}
WITHOUT_PACKAGES = {"data", "logs", "runs", "build", "results", "scripts", "docs"}


def package_of(path: Path, root: Path) -> str:
    """The first part of the path below the root: `utils` for utils/cli.py, `train` for train.py."""
    return path.relative_to(root).with_suffix("").parts[0]


def imports(path: Path, root: Path) -> Iterator[tuple[int, str]]:
    """Yields (line, dotted module) of every import in a file, also of relative and dynamic ones."""
    package = path.relative_to(root).parent.parts
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"), str(path))):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            module = [*base, node.module] if node.module else [*base]
            yield from ((node.lineno, ".".join([*module, alias.name])) for alias in node.names)
        elif isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
            function = getattr(node.func, "attr", getattr(node.func, "id", ""))
            if function in IMPORT_FUNCTIONS and isinstance(node.args[0].value, str):
                yield node.lineno, node.args[0].value


def forbidden_imports(root: Path) -> list[str]:
    """Every import of one package of this project by another that ALLOWED does not list."""
    files = [*root.glob("*.py")]
    for package in sorted(ALLOWED):
        files += sorted((root / package).rglob("*.py"))
    forbidden = []
    for path in files:
        package = package_of(path, root)
        for line, module in imports(path, root):
            target = module.split(".")[0]
            is_ours = target in ALLOWED and target != package
            if is_ours and target not in ALLOWED.get(package, set()):
                location = path.relative_to(root)
                forbidden.append(f"{location}:{line}: {package} must not import {module}")
    return forbidden


def test_dependencies_point_one_way() -> None:
    assert forbidden_imports(ROOT) == []


def test_no_modules_import_each_other_in_a_circle() -> None:
    graph = measure_code.import_graph(ROOT, project_modules())
    assert measure_code.import_circles(graph) == []


def test_every_module_has_a_test_of_its_name_and_place() -> None:
    modules, files = project_modules(), measure_code.python_files(ROOT)
    assert [str(path) for path in measure_code.modules_without_tests(modules, files)] == []


def project_modules() -> list[Path]:
    """The modules of the packages, as paths below the root."""
    return [path for path in measure_code.python_files(ROOT) if path.parts[0] != "tests"]


def test_every_folder_with_python_files_is_a_package_of_the_table() -> None:
    folders = {path.name for path in ROOT.iterdir()
               if path.is_dir() and not path.name.startswith(".") and any(path.rglob("*.py"))}
    assert folders - WITHOUT_PACKAGES <= set(ALLOWED)
    for folder in ("scripts", "docs", "results"):
        assert not [*(ROOT / folder).rglob("*.py")]


def test_tests_are_no_package_which_would_hide_ours_from_pytest() -> None:
    assert [*(ROOT / "tests").rglob("__init__.py")] == []


@pytest.mark.parametrize(("file", "code", "message"), [
    ("loss/focal.py", "from datasets.spec import ClassInfo\n",
     "loss/focal.py:1: loss must not import datasets"),
    ("network/head.py", "import torch\n\n\ndef f():\n    import utils.cli\n",
     "network/head.py:5: network must not import utils.cli"),
    ("utils/training/run_folder.py", "from train import main\n",
     "utils/training/run_folder.py:1: utils must not import train"),
    ("datasets/reader.py", "from .. import transforms\n",
     "datasets/reader.py:1: datasets must not import transforms"),
    ("transforms/a.py", "import importlib\nm = importlib.import_module('loss')\n",
     "transforms/a.py:2: transforms must not import loss"),
    ("eval.py", "from train import validate\n", "eval.py:1: eval must not import train"),
    ("train.py", "from tools import demo\n", "train.py:1: train must not import tools"),
    ("hubconf.py", "import utils\n", "hubconf.py:1: hubconf must not import utils"),
])
def test_a_forbidden_import_is_found(tmp_path: Path, file: str, code: str, message: str) -> None:
    write(tmp_path / file, code)
    (error,) = forbidden_imports(tmp_path)
    assert error.startswith(message)


def test_allowed_imports_pass(tmp_path: Path) -> None:
    write(tmp_path / "train.py", "import network\nfrom utils import cli\n")
    write(tmp_path / "loss/ohem.py", "import utils.cli\n")
    write(tmp_path / "network/heads/sfnet.py",
          "from . import pspnet\nfrom ..alignment import warp\nimport network.layers\n")
    write(tmp_path / "tools/demo/__main__.py",
          "import train\nfrom datasets import spec\nfrom tools import weights\n")
    assert forbidden_imports(tmp_path) == []


def write(path: Path, code: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(code, encoding="utf-8")
