from __future__ import annotations

import json
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import pytest
import torch
import yaml

import datasets
import network
from network.checkpoints.weights import published_state_dict
from tests.tools.conftest import keep_run
from tools.maintainer.figures import __main__ as figures

pytest.importorskip("matplotlib")

LABELS = ("fpn_dfnetv1", "sfnet_dfnetv1")

PUBLISHED = {
    "cost": [
        {
            "family": "SFNet", "name": "R18", "gmacs": 243, "miou": 79, "imagenet": True,
            "source": "a README",
        },
        {
            "family": "Other", "name": "S", "gmacs": 100, "miou": 80, "imagenet": False,
            "source": "a README",
        },
    ],
    "speed": [
        {
            "device": "a card",
            "points": [
                {
                    "family": "SFNet-Lite", "name": "R18", "fps": 60, "miou": 80.1,
                    "at": "upper left", "source": "a paper",
                }
            ],
        }
    ],
}


class Drawn(NamedTuple):
    sources: Path
    out: Path


def record(folder: Path, arch: str = "sfnet_dfnetv1") -> tuple[Path, Path]:
    """Writes a snapshot with random weights and a picture; returns their paths."""
    torch.manual_seed(0)
    net = network.build(arch, 11)
    torch.nn.init.normal_(net.head.conv_last[1].weight, std=1.0)
    snapshot, picture = folder / f"{arch}.pth", folder / "frame.png"
    torch.save({"arch": arch, "dataset": "camvid", "classes": list(datasets.spec("camvid").names),
                "state_dict": published_state_dict(net), "ema": None}, snapshot)
    pixels = np.random.default_rng(0).integers(0, 256, (6, 8, 3),
                                               np.uint8).repeat(16, 0).repeat(16, 1)
    cv2.imwrite(str(picture), pixels)
    return snapshot, picture


def add_study(docs: Path) -> None:
    study = docs / "runs" / "camvid_pair"
    study.mkdir(parents=True)
    (study / "study.yaml").write_text(yaml.safe_dump({"title": "Does it help?", "place": 1,
                                                      "question": "Does it?",
                                                      "rows": dict.fromkeys(LABELS, "a row")}))
    for label in LABELS:
        for seed in range(2):
            keep_run(study, label, seed, 0.6 + 0.1 * seed, arch=label)


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Drawn:
    """All figures, drawn from small inputs."""
    docs = tmp_path_factory.mktemp("docs")
    sources, out = docs / "figures", docs / "figs"
    snapshot, picture = record(docs)
    assert figures.main(["--record", str(snapshot), "--image", str(picture), "--sources",
                         str(sources)]) == 0
    add_study(docs)
    shares = {"pixels": [1 / 11] * 11, "crops": [0.5] * 11}
    inputs = {"speed_dfnetv1.json": {"rows": [{"network": label, "setting": "bf16",
                                               "images_per_second": 50}
                                              for label in LABELS]},
              "class_uniform.json": {"without": shares, "with": shares,
                                     "settings": {"dataset": "camvid", "class_uniform_pct": 0.5,
                                                  "crop_size": [180, 240]}},
              "published.yaml": PUBLISHED}
    for name, content in inputs.items():
        (sources / name).write_text(json.dumps(content))
    assert figures.main(["--sources", str(sources), "--out", str(out)]) == 0
    return Drawn(sources, out)
