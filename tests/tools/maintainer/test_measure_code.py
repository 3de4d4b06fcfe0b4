from __future__ import annotations

from pathlib import Path

import pytest

from tools.maintainer import measure_code
from tools.maintainer.measure_code import import_circles, measure, modules_without_tests, percentile

FILES = {
    # 3 lines, one with a comment, one over 100 columns
    "train.py": f"import utils.a\n# a reason\nx = '{'y' * 100}'\n",
    "eval.py": "",
    "utils/__init__.py": "",
    "utils/a.py": "from utils import b\ndef f():\n    return 1  # one\n",
    "utils/b.py": (
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from utils.a import f\n"
        "def g():\n    def h():\n        pass\n    return h\n"
    ),
    "tests/utils/test_a.py": "# a comment\n",
    "docs/one.md": "three words here",
    "docs/deeper/two.md": "two words",
    "logs/run/copy.py": "x = 1\n" * 50,
}


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    for name, text in FILES.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path


def test_a_made_up_checkout_is_counted(checkout: Path) -> None:
    figures = {name: (value, detail) for name, value, detail in measure(checkout)}
    # 3 + 0 + 0 + 3 + 7 + 1 lines in 6 files; 3 with a comment, 1 over 100 columns
    assert figures["lines of Python"] == ("14", "6 files")
    assert figures["lines over 100 columns"] == ("1", "7.1 %")
    assert figures["lines with a comment"] == ("21.4 %", "3")
    # train.py, eval.py and utils/b.py of the 5 modules; utils/__init__.py needs none
    untested = figures["modules without a test file of their name and place"]
    assert untested == ("3 of 5", "eval.py, train.py, utils/b.py")
    assert figures["hand-written words in docs/"] == ("5", "")
    assert figures["lines of train.py"] == ("3", "")
    # f has 2 lines, g 4, h 2
    assert figures["function length, 90th percentile"] == ("4 lines", "")
    assert figures["function length, longest"] == ("4 lines", "")
    assert figures["import circles"] == ("1", "utils.a, utils.b")
    assert figures["files directly in utils/"] == ("2", "")


def test_a_circle_needs_a_way_back() -> None:
    assert import_circles({"a": ["b"], "b": ["c"], "c": []}) == []
    circles = import_circles(
        {"a": ["b"], "b": ["c"], "c": ["a"], "d": ["a"], "e": ["f"], "f": ["e"]}
    )
    assert circles == [["a", "b", "c"], ["e", "f"]]


def test_programs_packages_and_tables_need_no_test_of_their_own() -> None:
    exempt = ["a/__init__.py", "a/__main__.py", "datasets/tables/x.py"]
    modules = [Path(name) for name in (*exempt, "a/b.py", "c.py")]
    assert modules_without_tests(modules, [Path("tests/a/test_b.py")]) == [Path("c.py")]


def test_nine_of_ten_values_are_not_above_the_percentile() -> None:
    assert percentile([1, 2, 3, 4, 5, 6, 7, 8, 9, 100], 0.9) == 9
    assert percentile([], 0.9) == 0


def test_the_table_is_printed_for_this_checkout(capsys: pytest.CaptureFixture[str]) -> None:
    assert measure_code.main([]) == 0
    output = capsys.readouterr().out
    assert "lines over 100 columns" in output
    assert "import circles" in output


def test_a_folder_without_code_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="holds no Python file: give --root a checkout"):
        measure(tmp_path)
