"""Measures the code of a checkout: `python -m tools.maintainer.measure_code [--root FOLDER]`.

The table informs; nothing fails on a size. It also reads checkouts of another layout, so that a
reorganization can be compared before and after.
"""
from __future__ import annotations

import ast
import math
import re
import sys
import tokenize
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from utils.cli import FlagParser, run_program
from utils.files import ROOT

MAX_COLUMNS = 100
PERCENTILE = 0.9
# folders that hold no code of the project
SKIPPED_FOLDERS = {"data", "logs", "results", "build"}
# modules that need no test file: __init__.py, __main__.py and tables of data
EXEMPT_FROM_TESTS = re.compile(r"(.*/)?__(init|main)__\.py|datasets/tables/.*")


class Figure(NamedTuple):
    """A row of the table.

    Attributes:
        name: what is measured.
        value: the result, as it is printed.
        detail: further information; may be empty.
    """

    name: str
    value: str
    detail: str = ""


def build_parser() -> FlagParser:
    parser = FlagParser(prog="python -m tools.maintainer.measure_code",
                        description="Measure the code of a checkout.")
    parser.add_argument("--root", type=Path, default=ROOT, metavar="FOLDER", help="the checkout")
    return parser


def measure(root: Path) -> list[Figure]:
    """Returns the figures of a checkout.

    Raises:
        FileNotFoundError: the checkout holds no Python file.
        SyntaxError: a file is not valid Python.
    """
    files = sorted(python_files(root))
    if not files:
        raise FileNotFoundError(f"{root} holds no Python file: give --root a checkout")
    modules = [path for path in files if path.parts[0] != "tests"]
    untested = modules_without_tests(modules, files)
    lengths = sorted(length for path in modules
                     for length in function_lengths((root / path).read_text("utf-8")))
    circles = import_circles(import_graph(root, modules))
    in_utils = [path for path in modules
                if path.parent == Path("utils") and path.stem != "__init__"]
    return [*_lines(root, files),
            Figure("modules without a test file of their name and place",
                   f"{len(untested)} of {len(modules)}", ", ".join(map(str, untested[:3]))),
            Figure("hand-written words in docs/", f"{words(root / 'docs'):,}"),
            *(Figure(f"lines of {name}", str(len(_text(root / name).splitlines())))
              for name in ("train.py", "eval.py")),
            Figure("function length, 90th percentile", f"{percentile(lengths, PERCENTILE)} lines"),
            Figure("function length, longest", f"{lengths[-1] if lengths else 0} lines"),
            Figure("import circles", str(len(circles)), "; ".join(map(", ".join, circles))),
            Figure("files directly in utils/", str(len(in_utils)))]


def python_files(root: Path) -> Iterable[Path]:
    """Yields the Python files of a checkout, relative to it, without hidden and data folders."""
    for path in root.rglob("*.py"):
        relative = path.relative_to(root)
        folders = relative.parts[:-1]
        if not any(name.startswith(".") or name in SKIPPED_FOLDERS for name in folders[:1]):
            yield relative


def _lines(root: Path, files: Sequence[Path]) -> list[Figure]:
    """Returns the figures about lines, over the code and its tests."""
    total = long = comments = 0
    for path in files:
        lines = (root / path).read_text("utf-8").splitlines()
        total += len(lines)
        long += sum(len(line) > MAX_COLUMNS for line in lines)
        comments += comment_lines(root / path)
    return [Figure("lines of Python", f"{total:,}", f"{len(files)} files"),
            Figure(f"lines over {MAX_COLUMNS} columns", f"{long:,}",
                   f"{100 * long / max(1, total):.1f} %"),
            Figure("lines with a comment", f"{100 * comments / max(1, total):.1f} %",
                   f"{comments:,}")]


def comment_lines(path: Path) -> int:
    """Returns the number of lines with a comment, alone or after code."""
    with path.open("rb") as file:
        tokens = list(tokenize.tokenize(file.readline))
    return len({token.start[0] for token in tokens if token.type == tokenize.COMMENT})


def modules_without_tests(modules: Iterable[Path], files: Iterable[Path]) -> list[Path]:
    """Returns the modules a/b/c.py without a file tests/a/b/test_c.py."""
    known = set(files)
    return [path for path in modules
            if not EXEMPT_FROM_TESTS.fullmatch(path.as_posix())
            and Path("tests", path.parent, f"test_{path.name}") not in known]


def function_lengths(source: str) -> list[int]:
    """Returns the number of lines of each function, from its `def` to its last line."""
    return [(node.end_lineno or node.lineno) - node.lineno + 1
            for node in ast.walk(ast.parse(source))
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]


def percentile(values: Sequence[int], fraction: float) -> int:
    """Returns the percentile by nearest rank: value number ceil(fraction * n) of n, 0 for none.

    Args:
        values: in ascending order.
        fraction: in (0, 1].
    """
    return values[math.ceil(fraction * len(values)) - 1] if values else 0


def words(folder: Path) -> int:
    """Returns the number of words in the Markdown files of a folder, its subfolders included."""
    return sum(len(_text(path).split()) for path in folder.rglob("*.md"))


def import_graph(root: Path, modules: Iterable[Path]) -> dict[str, set[str]]:
    """Returns module -> modules of the checkout that it imports.

    Imports within functions and under `if TYPE_CHECKING` count as well. A package counts by its
    `__init__.py`.
    """
    paths = {module_name(path): root / path for path in modules}
    graph = {}
    for name, path in paths.items():
        imported = set(_imports(ast.parse(path.read_text("utf-8")), paths))
        graph[name] = imported - {name}
    return graph


def module_name(path: Path) -> str:
    parts = path.with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _imports(tree: ast.AST, known: Mapping[str, Path]) -> Iterable[str]:
    """Yields the known modules that a module imports; relative imports are not used here."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in known)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            for alias in node.names:
                submodule = f"{node.module}.{alias.name}"
                if submodule in known:
                    yield submodule
                elif node.module in known:
                    yield node.module


def import_circles(graph: Mapping[str, Iterable[str]]) -> list[list[str]]:
    """Returns the strongly connected components of more than one module, each sorted."""
    reachable = {name: _reachable(graph, name) for name in graph}
    circles = set()
    for name, targets in reachable.items():
        circle = {target for target in targets if name in reachable[target]}
        if circle:
            circles.add(tuple(sorted({name, *circle})))
    return [list(circle) for circle in sorted(circles)]


def _reachable(graph: Mapping[str, Iterable[str]], start: str) -> set[str]:
    """Returns the modules to which a path of at least one import leads."""
    reached: set[str] = set()
    stack = list(graph[start])
    while stack:
        name = stack.pop()
        if name not in reached:
            reached.add(name)
            stack += graph[name]
    return reached


def _text(path: Path) -> str:
    return path.read_text("utf-8") if path.is_file() else ""


def table(figures: Iterable[Figure]) -> str:
    """Returns the figures as text, one per line."""
    return "\n".join(f"{name:52} {value:>12}  {detail}".rstrip() for name, value, detail in figures)


def main(argv: Sequence[str] | None = None) -> int:
    args = build_parser().parse_args(argv)
    return run_program("tools.maintainer.measure_code", lambda: print(table(measure(args.root))))


if __name__ == "__main__":
    sys.exit(main())
