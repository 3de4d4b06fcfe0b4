from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.tools.export.conftest import Export
from tools.export import __main__ as export


@pytest.mark.parametrize(("flags", "message"),
                         [(["--format", "pt2", "--out", "net.onnx"],
                           "a file of --format pt2 ends in .pt2"),
                          (["--format", "pt2", "--out", "net.pt2", "--size", "16x64"],
                           "a side below 32 leaves nothing"),
                          (["--format", "pt2", "--out", "net.pt2", "--dataset", "cityscapes"],
                           "cityscapes has 19 classes"),
                          (["--format", "pt2", "--out", "file/net.pt2"],
                           "net.pt2 cannot be written")])
def test_mistakes_are_told_before_anything_is_written(run: Export, tmp_path: Path, flags: list[str],
                                                      message: str, monkeypatch: pytest.MonkeyPatch,
                                                      capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    Path("file").write_text("not a folder")
    assert run(*flags) == 2
    assert message in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == [tmp_path / "file"]


@pytest.mark.parametrize(("flags", "expected"), [
    ({"crop_size": [128, 256]}, (128, 256)), ({"crop_size": 96}, (96, 96)),
    ({"crop_size": (16, 64)}, (32, 64)), ({}, (1024, 2048)), (None, (1024, 2048))])
def test_the_default_size_is_that_of_the_training(
        flags: dict[str, Any] | None, expected: tuple[int, int]) -> None:
    trained = SimpleNamespace(payload={"args": flags})
    assert export.training_size(trained) == expected           # type: ignore[arg-type]
