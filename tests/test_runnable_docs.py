"""Every block of the documents that is marked `runnable` is run, in their order, in one copy of the checkout.

The copy holds what a reader has by then: drawn street scenes and the network of the quick start, both tiny.
"""
from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests import documents
from tests.documents import Block

DRAW = "python -m tools.make_streets --out data/streets --test 2"
TRAIN = ("python train.py --arch sfnet_dfnetv1 --pretrained none --dataset streets --data_root data/streets "
         "--exp quickstart")
RUNNABLE = [pytest.param(block, id=block.name, marks=pytest.mark.slow if "slow" in block.words else ())
            for document in documents.DOCUMENTS if document.name != "extend.md"       # test_extend.py runs those
            for block in documents.blocks(document) if "runnable" in block.words]


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = documents.copy_checkout(tmp_path_factory.mktemp("docs") / "checkout")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert [documents.run(line) for line in (DRAW, TRAIN)] == [0, 0]
    for run in ("NAME", "A", "B"):                          # what the documents call runs of the reader's own
        shutil.copytree(folder / "logs/quickstart", folder / "logs" / run)
    return folder


@pytest.mark.parametrize("block", RUNNABLE)
def test_a_block_runs(block: Block, checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(checkout)
    monkeypatch.setenv("XDG_CACHE_HOME", str(checkout / "cache"))
    for line in block.commands():
        assert documents.run(line) == 0, line
