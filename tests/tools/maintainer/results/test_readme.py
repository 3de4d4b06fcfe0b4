from __future__ import annotations

from pathlib import Path

import pytest

from tools.maintainer.results import __main__ as results
from tools.maintainer.results import readme


def test_the_sentences_replace_what_stands_between_the_marks(tmp_path: Path) -> None:
    page = tmp_path / "README.md"
    page.write_text(f"# A\n\n{readme.BEGIN}\nold\n{readme.END}\n\nB\n")
    for _ in range(2):
        readme.write_claims(page, "New. " * 30)
    text = page.read_text()
    assert text.startswith(f"# A\n\n{readme.BEGIN}\nNew. New.")
    assert text.endswith(f"New.\n{readme.END}\n\nB\n") and "old" not in text
    assert max(map(len, text.splitlines())) <= 100


@pytest.mark.parametrize("text", [
    "no marks", readme.BEGIN, f"{readme.END} {readme.BEGIN}",
    f"{readme.BEGIN} {readme.END} {readme.BEGIN} {readme.END}"])
def test_a_page_without_the_marks_is_refused_and_left_alone(tmp_path: Path, text: str) -> None:
    page = tmp_path / "README.md"
    page.write_text(text)
    with pytest.raises(ValueError, match="must hold <!-- claims --> and after it"):
        readme.write_claims(page, "New.")
    assert page.read_text() == text


def test_the_command_writes_the_claims_of_the_studies(
        study: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = tmp_path / "PAGE.md"
    page.write_text(f"{readme.BEGIN}\n{readme.END}\n")
    with (study / "study.yaml").open("a") as file:
        file.write("\nclaim: On a few frames\n")
    assert results.main(["--runs", str(study.parent), "--readme", str(page)]) == 0
    assert "On a few frames, with scores " in page.read_text()
    assert results.main(["--runs", str(study.parent), "--readme", str(tmp_path / "none.md")]) == 2
    assert "none.md" in capsys.readouterr().err
