"""The files of a folder of pseudo-labels, without a network."""
from __future__ import annotations

import os
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

import datasets
from tools.pseudo_label import folder as module
from tools.pseudo_label.folder import PseudoLabels, kept_pixels
from tools.pseudo_label.selection import CODES, Selection
from utils.evaluation.evaluator import Prediction
from utils.evaluation.records import RUN

SPEC = datasets.spec("camvid")
IDENTITY = {"images": 2, "classes": list(SPEC.names), "split": "test"}


def records(folder: Path, **changes: object) -> PseudoLabels:
    opened = PseudoLabels(folder, {**IDENTITY, **changes})
    opened.prepare_folder(resume=False, replace=False)
    return opened


def prediction(name: str, probability: float) -> Prediction:
    """Two rows: class 3 at a probability, and class 5 at half of it."""
    labels = torch.tensor([[3, 3, 3], [5, 5, 5]], dtype=torch.uint8)
    probabilities = torch.tensor([[probability], [probability / 2]]).expand(2, 3)
    return Prediction(name, torch.zeros(3, 2, 3, dtype=torch.uint8), labels, None, 0,
                      probabilities.contiguous())


def label(opened: PseudoLabels, name: str) -> list[list[int]]:
    return cv2.imread(str(opened.label(name)), cv2.IMREAD_UNCHANGED).tolist()


def test_a_threshold_writes_the_label_at_once(tmp_path: Path) -> None:
    opened = records(tmp_path / "out")
    opened.add_prediction(0, prediction("a", 0.8), Selection(threshold=0.5))
    opened.save()
    assert label(opened, "a") == [[3, 3, 3], [255, 255, 255]]
    images, histogram, kept = opened.totals()
    assert (images, histogram.sum(), kept.sum(), kept[3]) == (1, 6, 3, 3)


def test_a_share_writes_the_labels_at_the_end(tmp_path: Path) -> None:
    opened, chosen = records(tmp_path / "out"), Selection(keep_share=0.5)
    for index, (name, probability) in enumerate((("a", 0.8), ("b", 0.4))):
        opened.add_prediction(index, prediction(name, probability), chosen)
    opened.save()
    assert not opened.label("a").exists() and opened.unfinished("codes", "a").is_file()
    _, histogram, kept = opened.totals()
    assert kept.sum() == 0
    smallest = chosen.smallest_codes(histogram)
    opened.write_labels(smallest, ["a", "b"], num_workers=0)
    # the half of each class that is more probable is that of the first image
    assert label(opened, "a") == [[3, 3, 3], [5, 5, 5]]
    assert label(opened, "b") == [[255] * 3] * 2
    assert kept_pixels(histogram, smallest)[[3, 5]].tolist() == [3, 3]
    opened.finish(smallest)
    assert not (tmp_path / "out/unfinished").exists() and not (tmp_path / "out/parts").exists()
    finished = {record.name: record.matrix for record in opened.stream()}
    assert finished["a"][3].tolist() == [3, 3] and finished["b"][3].tolist() == [3, 0]


def test_many_waiting_counts_are_saved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = records(tmp_path / "out")
    monkeypatch.setattr(module, "MAX_PENDING", 2 * SPEC.num_classes * CODES)
    opened.add_prediction(0, prediction("a", 0.8), Selection())
    assert not [*opened.stream()]
    opened.add_prediction(1, prediction("b", 0.8), Selection())
    assert len([*opened.stream()]) == 2


def test_images_are_linked_and_missing_labels_are_named(tmp_path: Path) -> None:
    images = [tmp_path / f"data/{name}.PNG" for name in "ab"]
    images[0].parent.mkdir()
    for path in images:
        cv2.imwrite(str(path.with_suffix(".png")), np.zeros((2, 3, 3), np.uint8))
        path.with_suffix(".png").rename(path)
    opened = records(tmp_path / "out")
    samples = [datasets.Sample(path.stem, path, None, SPEC) for path in images]
    opened.add_prediction(0, prediction("a", 0.99), Selection())
    with pytest.raises(FileNotFoundError, match="1 of 2 images have no label"):
        opened.write_dataset(SPEC, samples, "a test")
    opened.add_prediction(1, prediction("b", 0.99), Selection())
    data = opened.write_dataset(SPEC, samples, "a test")
    assert [sample.image.resolve() for sample in data.samples] == images
    assert (data.spec.name, data.spec.names) == ("camvid_test_pseudo", SPEC.names)
    assert data[1]["label"].tolist() == [[3, 3, 3], [255, 255, 255]]


def test_where_links_are_impossible_images_are_copied(tmp_path: Path,
                                                      monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object, **flags: object) -> None:
        raise OSError("not supported")

    (tmp_path / "a.png").write_bytes(b"image")
    monkeypatch.setattr(Path, "symlink_to", refuse)
    monkeypatch.setattr(os, "link", refuse)
    for _ in range(2):
        module._link(tmp_path / "out/a.png", tmp_path / "a.png")
    assert (tmp_path / "out/a.png").read_bytes() == b"image"
    assert not (tmp_path / "out/a.png").is_symlink()


def test_only_folders_of_pseudo_labels_are_written_into(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "other/picture.png").write_bytes(b"")
    with pytest.raises(ValueError, match="exists and holds no pseudo-labels: name a new folder"):
        records(tmp_path / "other")
    # as another shard leaves it while it prepares the folder
    (tmp_path / "begun/parts").mkdir(parents=True)
    (tmp_path / f"begun/{RUN}.123.tmp").write_text("{}")
    (tmp_path / "empty").mkdir()
    for name in ("begun", "empty"):
        assert (records(tmp_path / name).folder / RUN).is_file()
