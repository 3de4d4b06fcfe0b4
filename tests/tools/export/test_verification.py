from __future__ import annotations

import re
from pathlib import Path

import pytest
from torch import Tensor

from tests.tools.export.conftest import Export
from utils.backends import formats


def test_a_file_out_of_tolerance_is_not_kept(
    run: Export, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    row = formats.FORMATS["pt2"]

    def wrong(path: Path) -> tuple[formats.Run, formats.Metadata]:
        loaded, facts = row.open(path)
        return lambda images: (loaded(images) + 1) % 11, facts

    monkeypatch.setitem(formats.FORMATS, "pt2", row._replace(open=wrong))
    assert run("--format", "pt2", "--out", tmp_path / "net.pt2") == 1
    assert "differs from the network at 64x96 by more than is tolerable" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_does_not_run_is_not_kept(
    run: Export, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    row = formats.FORMATS["pt2"]

    def guarded(images: Tensor) -> Tensor:
        raise AssertionError("Guard failed: images.size()[2] != 64")

    monkeypatch.setitem(formats.FORMATS, "pt2",
                        row._replace(open=lambda path: (guarded, row.open(path)[1])))
    assert run("--format", "pt2", "--out", tmp_path / "net.pt2") == 1
    assert re.search(r"does not run at 64x96 \(AssertionError: Guard failed: .* != 64\): it was "
                     "not kept", capsys.readouterr().err)
    assert list(tmp_path.iterdir()) == []
