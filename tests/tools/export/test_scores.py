from __future__ import annotations

import shutil
from pathlib import Path

import pytest

import datasets
import network
from tests.tools.export.conftest import Export
from tools.export.scores import score
from utils.backends.graph import ExportModule

SIZE = 64, 96


def test_the_cost_is_printed_in_miou_and_equal_labels(
    run: Export, camvid_root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("--format", "pt2", "--out", tmp_path / "net.pt2", "--score", "val", "--data_root",
               camvid_root) == 0
    said = capsys.readouterr().out
    assert "camvid val, 2 images: mIoU" in said
    assert "+0.00 points; 100.000 % equal labels" in said


def test_a_later_image_of_another_size_is_named(camvid_root: Path, tmp_path: Path) -> None:
    for folder in ("val", "valannot"):
        shutil.copytree(camvid_root / folder, tmp_path / folder)
        shutil.copy(camvid_root / folder.replace("val", "train") / "0.png",
                    tmp_path / folder / "late.png")
    spec = datasets.spec("camvid")
    net = network.build("sfnet_dfnetv1", spec.num_classes)
    module = ExportModule(net, *net.normalization, "normalized", "labels")
    with pytest.raises(ValueError, match="late is 90x120, but the file takes 64x96 only"):
        score(module, module, datasets.build(spec, tmp_path, "val"), SIZE)
