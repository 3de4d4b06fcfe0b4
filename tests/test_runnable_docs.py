"""Runs every block of the documents that is marked `runnable`, in order, in a copy of the checkout.

The copy contains tiny versions of what a reader has by then: drawn street scenes, which also
replace Cityscapes, since their files have the same names; noise in CamVid's folders; and the
results of the quick start.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests import documents
from tests.documents import Block
from tests.onnx_here import need_onnx

DRAW = "python -m tools.make_streets --out data/streets"
TRAIN = (
    "python train.py --arch sfnet_dfnetv1 --pretrained none --dataset streets "
    "--data_root data/streets "
    "--exp quickstart"
)
SCORE = "python eval.py --snapshot logs/quickstart/last.pth --data_root data/streets"
RUNNABLE = [
    pytest.param(block, id=block.name, marks=pytest.mark.slow if "slow" in block.words else ())
    # test_extend.py runs those
    for document in documents.DOCUMENTS
    if document.name != "extend.md"
    for block in documents.blocks(document)
    if "runnable" in block.words
]


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = documents.copy_checkout(tmp_path_factory.mktemp("docs") / "checkout")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert [documents.run(line) for line in (DRAW, TRAIN, SCORE)] == [0, 0, 0]
    (folder / "data/cityscapes").symlink_to("streets")
    rng = np.random.default_rng(0)
    for split in ("train", "val", "test"):
        for name, limit, channels in ((split, 256, 3), (f"{split}annot", 12, 1)):
            (folder / "data/camvid" / name).mkdir(parents=True)
            for number in range(4):
                noise = rng.integers(0, limit, (64, 96, channels), np.uint8)
                cv2.imwrite(str(folder / f"data/camvid/{name}/{number}.png"), noise)
    # placeholders for the reader's runs
    for run in ("NAME", "A", "B"):
        shutil.copytree(folder / "logs/quickstart", folder / "logs" / run)
    return folder


@pytest.mark.parametrize("block", RUNNABLE)
def test_a_block_runs(block: Block, checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if "--format onnx" in block.text:
        need_onnx()
    monkeypatch.chdir(checkout)
    monkeypatch.setenv("XDG_CACHE_HOME", str(checkout / "cache"))
    for line in block.commands():
        assert documents.run(line) == 0, line
