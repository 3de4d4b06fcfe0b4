from __future__ import annotations

import json
from pathlib import Path

from tests.tools.maintainer.results.conftest import edit, written
from tools.maintainer.results import commands


def test_the_commands_of_further_seeds_are_said_by_what_differs(study: Path) -> None:
    edit(study / "b_s1/env.json",
         command=["python", "train.py", "--lr", "0.1", "--seed", "1", "--exp", "b_s1"])
    text = written(study)
    assert (
        "python train.py --arch fpn_b --dataset camvid --data_root data/camvid --adamw --seed 0 "
        "--exp b_s0\npython eval.py --snapshot logs/b_s0/last.pth --data_root data/camvid --split "
        "test\npython train.py --lr 0.1 --seed 1 --exp b_s1\n"
    ) in text
    assert "# seed 2: the same with --seed 2 --exp b_s2" in text


def test_the_scoring_command_names_what_departs_from_the_defaults(study: Path) -> None:
    for path in study.glob("a_s*/scores.json"):
        settings = json.loads(path.read_text())["settings"]
        edit(
            path,
            settings={
                **settings, "scales": [0.75, 1.0], "flip": True, "crop_size": [240, 320],
                "weights": "raw", "precision": "fp32", "exact": True, "deployed": True,
                "dataset": "camvid_2",
            },
        )
    assert (
        "python eval.py --snapshot logs/a_s0/last.pth --dataset camvid_2 --data_root data/camvid "
        "\\\n    --split test --weights raw --crop_size 240x320 --scales 0.75,1.0 --flip --exact "
        "--deployed\n"
    ) in written(study)


def test_several_processes_are_started_by_torchrun(study: Path) -> None:
    edit(study / "a_s0/env.json", processes=2)
    text = written(study)
    assert "torchrun --nproc_per_node 2 train.py --arch fpn_a" in text
    assert "AMD EPYC, 1 thread, 2 processes" in text


def test_a_long_command_is_wrapped_before_a_flag() -> None:
    command = "python train.py " + " ".join(f"--flag_{i} value" for i in range(20))
    lines = commands.wrap(command).split("\n")
    assert all(len(line) <= 120 for line in lines)
    assert all(line.lstrip().startswith("--") for line in lines[1:])
    assert " ".join(line.removesuffix("\\").strip() for line in lines) == command
