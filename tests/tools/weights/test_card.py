from __future__ import annotations

import json
import shlex
import shutil
from pathlib import Path
from typing import Any

import cv2
import pytest
import yaml

import eval as evaluation
import network
from tools.weights import __main__ as weights
from tools.weights.card import PICTURE, read_scores, text

TERMS = ["--data_license", "research only"]


def test_the_card_states_scores_command_and_terms(packed: Path, scores_file: Path,
                                                  tmp_path: Path) -> None:
    folder = shutil.copytree(packed, tmp_path / "model")
    assert weights.main(["card", str(folder), "--scores", str(scores_file), *TERMS]) == 0
    card = (folder / "README.md").read_text()
    # IoU = 8 / (8 + 2 + 2) of each class
    assert "| mIoU | 66.67 | 60.00 to 70.00 |" in card
    assert "95 % bootstrap interval over 13 groups of correlated images |" in card
    assert "| pixel accuracy | 80.00 |  |" in card
    assert "| 3 | Road | 128, 64, 128 | 66.67 |" in card
    assert "233 images of camvid test" in card
    assert "research only" in card
    assert "The command of the training is not recorded." in card
    command = next(line for line in card.splitlines() if line.startswith("python eval.py"))
    args = evaluation.build_parser().parse_args(shlex.split(command)[2:])
    assert (args.crop_size, args.flip, args.scales) == ((360, 480), True, (1.0,))
    head = yaml.safe_load(card.split("---")[1])
    assert head["model-index"][0]["results"][0]["metrics"][0]["value"] == 0.6667
    assert cv2.imread(str(folder / PICTURE)).shape[1] > 512


def test_the_command_of_the_training_and_the_temperature_are_shown(scores: dict[str, Any],
                                                                   packed: Path) -> None:
    config = network.ModelConfig.read(packed)
    values: dict[str, Any] = {**vars(config), "temperature": 1.25,
                              "origin": {"command": "python train.py --exp x",
                                         "commit": "0123456789ab"}}
    card = text(network.ModelConfig(**values), scores, "none", "CamVid")
    assert "```\npython train.py --exp x\n```" in card
    assert "Commit `0123456` of the code" in card
    assert "temperature 1.250" in card


@pytest.mark.parametrize(("change", "message"), [
    ({"snapshot_sha256": "0" * 64}, "is of a network with SHA-256 000000000000"),
    ({"settings": {"weights": "ema", "split": "test"}}, "is of the ema weights"),
    ({"settings": None}, "is damaged or of another version"),
])
def test_scores_of_another_network_are_refused(packed: Path, scores: dict[str, Any],
                                               tmp_path: Path, change: dict[str, Any],
                                               message: str) -> None:
    path = tmp_path / "scores.json"
    path.write_text(json.dumps({**scores, **change}))
    with pytest.raises(ValueError, match=message):
        read_scores(path, packed, network.ModelConfig.read(packed))


def test_the_terms_of_the_data_must_be_known(packed: Path, scores_file: Path, tmp_path: Path,
                                             capsys: pytest.CaptureFixture[str]) -> None:
    assert weights.main(["card", str(packed), "--scores", str(scores_file)]) == 2
    assert "the terms of camvid, on which the network was trained" in capsys.readouterr().err
    assert weights.main(["card", str(packed), "--scores", str(tmp_path / "no.json"), *TERMS]) == 2
    assert "no.json is missing: evaluate the network first" in capsys.readouterr().err
    assert weights.main(["card", str(tmp_path), "--scores", str(scores_file), *TERMS]) == 2
    assert "is no model folder" in capsys.readouterr().err
