from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from tools.maintainer.results import __main__ as results
from utils.files import ROOT, sha256

PLACE = "/home/someone/data/camvid"


def edit(path: Path, **entries: Any) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **entries}))


@pytest.fixture
def run(study: Path, tmp_path: Path) -> Path:
    """A finished and scored run of the study's row `b`, with seed 2, as it lies on the machine that
    trained it.
    """
    folder = tmp_path / "logs" / "b_s2"
    shutil.copytree(study / "b_s2", folder)
    shutil.rmtree(study / "b_s2")
    (folder / "eval_camvid_test").mkdir()
    for name in ("scores.json", "per_image.npz"):
        (folder / name).rename(folder / "eval_camvid_test" / name)
    (folder / "last.pth").write_bytes(b"weights")
    scores = folder / "eval_camvid_test/scores.json"
    settings = json.loads(scores.read_text())["settings"]
    edit(scores, snapshot_sha256=sha256(folder / "last.pth"),
         settings={**settings, "snapshot": str(folder / "last.pth"),
                   "data_root": "../../data/camvid"})
    words = ["/usr/bin/python3", "/home/someone/checkout/train.py", "--data_root", PLACE,
             "--ckpt=/scratch", "--fpn_dsn_loss", "--exp", "b_s2", "--seed", "2", "--snapshot",
             "/home/someone/logs/before/last.pth"]
    edit(folder / "args.json", data_root=PLACE, ckpt="/scratch",
         pretrained=str(ROOT / "pretrained_models/x.pth"),
         teacher="/home/someone/logs/large/last.pth",
         extra_data=["/home/someone/more/dataset.yaml:train:0.5"])
    environment = json.loads((folder / "env.json").read_text())
    del environment["started"]
    (folder / "env.json").write_text(json.dumps({**environment, "command": words}))
    return folder


def add(run: Path, study: Path, *flags: str) -> int:
    return results.main(["--runs", str(study.parent), "--study", study.name, "--add", str(run),
                         *flags])


def written(study: Path) -> str:
    out = study.parent / "README.md"
    assert results.main(["--runs", str(study.parent), "--out", str(out)]) == 0
    return out.read_text()
