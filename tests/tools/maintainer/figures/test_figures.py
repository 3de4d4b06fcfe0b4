from __future__ import annotations

import re
from pathlib import Path

import cv2
import pytest

from tests.tools.maintainer.figures.conftest import Drawn
from tools.maintainer.figures import __main__ as figures
from tools.maintainer.figures import style

pytest.importorskip("matplotlib")

ROOT = Path(__file__).resolve().parents[4]


@pytest.mark.parametrize("name", figures.FIGURES)
def test_a_figure_is_drawn_for_light_and_dark_pages(drawn: Drawn, name: str) -> None:
    light, dark = (cv2.imread(str(drawn.out / f"{name}{theme.suffix}.png"))[..., ::-1]
                   for theme in style.THEMES)
    assert light.shape == dark.shape and light.shape[1] == style.WIDTH * style.DPI
    for picture, theme in ((light, style.LIGHT), (dark, style.DARK)):
        page = [int(theme.page[i:i + 2], 16) for i in (1, 3, 5)]
        assert (picture[0, 0] == page).all() and picture.std() > 5
    assert (light != dark).any()


def test_drawing_again_gives_the_same_bytes(drawn: Drawn, tmp_path: Path) -> None:
    assert figures.main(["class_uniform", "--sources", str(drawn.sources), "--out",
                         str(tmp_path)]) == 0
    for path in tmp_path.iterdir():
        assert path.read_bytes() == (drawn.out / path.name).read_bytes()
        # no version and no date
        assert not re.search(rb"(tEXt|iTXt|tIME)", path.read_bytes())


def test_what_is_missing_is_named_with_its_command(tmp_path: Path,
                                                   capsys: pytest.CaptureFixture[str]) -> None:
    names = [name for name in figures.FIGURES if name not in ("sfnets", "schedules")]
    assert figures.main([*names, "--sources", str(tmp_path / "figures"), "--out",
                         str(tmp_path)]) == 2
    said = capsys.readouterr().err.splitlines()
    assert len(said) == len(names)
    for name, line in zip(names, said, strict=True):
        assert line.startswith(f"tools.maintainer.figures: error: {name}: {tmp_path}")
    assert "published.yaml is missing" in said[0]
    assert ("image.png is missing: record it with `python -m tools.maintainer.figures --record"
            in said[1])
    assert ("class_uniform.json is missing: make it with `python -m tools.benchmark sampling"
            in said[2])
    assert not list(tmp_path.glob("*.png"))


@pytest.mark.parametrize(("words", "message"), [
    (["sfnet_ress"], r"no figure 'sfnet_ress', did you mean 'sfnet_res'"),
    (["--record", "x.pth"], "--record SNAPSHOT and --image FILE go together"),
    (["--record", "absent.pth", "--image", "absent.png"], "absent.pth")])
def test_mistakes_are_told_in_one_line(words: list[str], message: str,
                                       capsys: pytest.CaptureFixture[str]) -> None:
    assert figures.main(words) == 2
    said = capsys.readouterr().err
    assert re.search(message, said) and said.count("\n") == 1


def documents() -> str:
    """The text of all documents."""
    return "".join(path.read_text(encoding="utf-8")
                   for path in (*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")))


@pytest.mark.parametrize("name", figures.FIGURES)
def test_a_committed_figure_is_shown_in_a_document_in_both_looks(name: str) -> None:
    for theme in style.THEMES:
        assert (ROOT / "figs" / f"{name}{theme.suffix}.png").is_file()
        assert f"figs/{name}{theme.suffix}.png" in documents()
