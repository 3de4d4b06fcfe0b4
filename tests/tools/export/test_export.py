from __future__ import annotations

from pathlib import Path

import pytest

from tests.tools.export.conftest import Export


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
