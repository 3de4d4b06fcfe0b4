"""A dataset in a YAML file: train, resume, evaluate, demo; and a file that disappears."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import yaml

import eval as evaluation
import train
from tools.demo import __main__ as demo
from tools.report.evaluation import load_data
from utils.report import results

DESCRIPTION = {
    "name": "own",
    "root": "data",
    "images": "{split}/*.png",
    "labels": "{split}annot/*.png",
    "label_format": "rgb",
    "crop_size": "64x64",
    "classes": [{"name": "dark", "rgb": [10, 20, 200]}, {"name": "bright", "rgb": [250, 240, 10]}],
}


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """A YAML file beside its data: six images of two shades, with labels in colors."""
    rng = np.random.default_rng(0)
    for split, count in (("train", 4), ("val", 2)):
        for number in range(count):
            bright = np.zeros((64, 96), bool)
            bright[:, rng.integers(20, 76) :] = True
            # blue first
            colors = np.where(bright[..., None], (10, 240, 250), (200, 20, 10)).astype(np.uint8)
            for folder, picture in (
                (split, np.where(bright, 220, 30).astype(np.uint8)),
                (f"{split}annot", colors),
            ):
                path = tmp_path / "data" / folder / f"{number}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                assert cv2.imwrite(str(path), picture)
    path = tmp_path / "own.yaml"
    path.write_text(yaml.safe_dump(DESCRIPTION))
    return path


def flags(own: Path, *more: str) -> list[str]:
    return [
        "--arch",
        "sfnet_dfnetv1",
        "--pretrained",
        "none",
        "--dataset",
        str(own),
        "--ckpt",
        str(own.parent / "logs"),
        "--bs_mult",
        "2",
        "--num_workers",
        "0",
        "--precision",
        "fp32",
        *more,
    ]


def test_a_checkpoint_does_not_need_the_yaml_file_any_more(own: Path) -> None:
    assert train.main(flags(own, "--max_iters", "2")) == 0
    folder = own.parent / "logs/own_sfnet_dfnetv1"
    own.unlink()
    last = str(folder / "last.pth")
    scores = own.parent / "scores.json"
    assert (
        evaluation.main(
            ["--snapshot", last, "--num_workers", "0", "--json", str(scores), "--dump_images"]
        )
        == 0
    )
    assert [*yaml.safe_load(scores.read_text())["per_class_IoU"]] == ["dark", "bright"]
    data = load_data(results.read(folder / "eval_own_val"), None)  # what a report shows
    assert ([*data.spec.names], len(data)) == (["dark", "bright"], 2)
    written = cv2.imread(str(next((folder / "eval_own_val").rglob("label_ids/0.png"))))[..., ::-1]
    # as its own labels are
    assert {*map(tuple, written.reshape(-1, 3).tolist())} <= {(10, 20, 200), (250, 240, 10)}
    assert (
        demo.main(
            [
                "--snapshot",
                last,
                "--backend",
                "torch",
                "--input",
                str(own.parent / "data/val/0.png"),
                "--out",
                str(own.parent / "demo"),
            ]
        )
        == 0
    )
    mask = cv2.imread(str(own.parent / "demo/colour_masks/0.png"))[..., ::-1]
    assert (mask == written).all()


def test_a_run_resumes_only_with_the_description_it_began_with(
    own: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train.main(flags(own, "--max_iters", "2", "--val_split", "none", "--exp", "run")) == 0
    resume = ["--resume", str(own.parent / "logs/run"), "--num_workers", "0"]
    moved = {**DESCRIPTION, "root": str((own.parent / "data").rename(own.parent / "elsewhere"))}
    own.write_text(yaml.safe_dump(moved))
    assert train.main(resume) == 0
    own.write_text(yaml.safe_dump({**moved, "classes": DESCRIPTION["classes"][::-1]}))
    assert train.main(resume) == 2
    assert "own.yaml has changed since the run" in capsys.readouterr().err


def test_an_image_that_is_lost_stops_a_run_or_is_replaced(
    own: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    batches = train.Training.load_batches

    def losing(self: train.Training) -> Iterator[dict[str, Any]]:
        for batch in batches(self):
            (own.parent / "data/train/2.png").unlink(missing_ok=True)
            yield batch

    monkeypatch.setattr(train.Training, "load_batches", losing)
    command = flags(own, "--max_epoch", "3", "--val_split", "none", "--checkpoint_every", "1")
    image = own.parent / "data/train/2.png"
    kept = image.read_bytes()
    assert train.main([*command, "--exp", "stops"]) == 2
    assert "train/2.png cannot be read (No such file or directory)" in capsys.readouterr().err
    image.write_bytes(kept)
    assert train.main(["--resume", str(own.parent / "logs/stops"), "--on_bad_sample", "skip"]) == 0
    said = capsys.readouterr().err
    assert said.count("skipped, another image takes its place") == 1
    assert "Images that could not be used, each replaced by another: " in said
