from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from tools.export_labels.__main__ import main


def test_the_predictions_of_a_folder_are_written(snapshot: Path, camvid_root: Path, tmp_path: Path,
                                                 capsys: pytest.CaptureFixture[str]) -> None:
    flags = ["--snapshot", str(snapshot), "--input", str(camvid_root / "val"), "--precision",
             "fp32"]
    assert main(["labelme", *flags, "--out", str(tmp_path / "tool")]) == 0
    assert "2 images in" in capsys.readouterr().out
    files = sorted((tmp_path / "tool").iterdir())
    assert [path.name for path in files] == ["0.json", "1.json"]
    content = json.loads(files[0].read_text())
    assert content["shapes"] and (content["imageHeight"], content["imageWidth"]) == (64, 96)
    assert (tmp_path / "tool" / content["imagePath"]).samefile(camvid_root / "val/0.png")
    # a corrected file is not lost
    files[1].write_text("corrected")
    files[0].unlink()
    assert main(["labelme", *flags, "--out", str(tmp_path / "tool")]) == 2
    assert "tool holds 1.json already, which may have been corrected" in capsys.readouterr().err
    assert files[1].read_text() == "corrected" and not files[0].exists()


def test_what_cannot_be_written_is_refused(snapshot: Path, tmp_path: Path,
                                           monkeypatch: pytest.MonkeyPatch,
                                           capsys: pytest.CaptureFixture[str]) -> None:
    flags = ["--snapshot", str(snapshot), "--out", str(tmp_path / "out"), "--input"]
    (tmp_path / "a.mp4").write_bytes(b"")
    assert main(["labelme", *flags, str(tmp_path / "a.mp4")]) == 2
    assert "a.mp4 is no image" in capsys.readouterr().err
    (tmp_path / "a.png").write_bytes(b"")
    monkeypatch.setitem(sys.modules, "pycocotools", None)
    assert main(["coco", *flags, str(tmp_path / "a.png")]) == 2
    assert "coco needs pycocotools, which is not installed: pip install '.[labels]'" in (
        capsys.readouterr().err)
    assert main(["labelme", *flags, str(tmp_path / "a.png")]) == 2
    assert "a.png is truncated or damaged" in capsys.readouterr().err
