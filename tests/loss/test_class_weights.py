"""Weights of classes: from a file, of pixels, and from frequencies."""
from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from loss.class_weights import inverse_frequency, pixel_weights, read_class_weights

NAMES = ("road", "car", "sky")


def write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


@pytest.mark.parametrize("content", [{"sky": 3, "road": 1.0, "car": 0.5}, [1.0, 0.5, 3]])
def test_weights_are_read_by_name_or_in_the_order_of_train_ids(
        content: object, tmp_path: Path) -> None:
    path = write(tmp_path / "weights.json", json.dumps(content))
    assert read_class_weights(path, NAMES) == [1.0, 0.5, 3.0]


@pytest.mark.parametrize(("text", "message"), [
    ('{"road": 1, "car": 1, "sly": 1}', "'sly', which is not a class .* did you mean 'sky'"),
    ('{"road": 1, "car": 1}', "no weight for sky"),
    ("[1, 2]", "holds 2 weights, but the dataset has 3 classes"),
    ("[1, 2, 0]", "weight of sky is 0"),
    ('[1, 2, "3"]', "not a number above 0"),
    ("[1, 2, true]", "weight of sky is True"),
    ("{", "is not JSON"),
    ("3", "holds a int"),
    ("[1, 2, NaN]", "not a number above 0"),
])
def test_an_invalid_file_is_refused(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=message):
        read_class_weights(write(tmp_path / "weights.json", text), NAMES)


def test_a_missing_file_is_named() -> None:
    with pytest.raises(FileNotFoundError, match=r"no class weights at nowhere.json"):
        read_class_weights("nowhere.json", NAMES)


def test_pixels_have_the_weight_of_their_class_and_ignored_ones_0() -> None:
    labels = torch.tensor([[[0, 1]], [[1, 255]]])
    assert pixel_weights(labels, torch.tensor([2.0, 5.0]), 255).tolist() == [[[2, 5]], [[5, 0]]]
    per_image = torch.tensor([[2.0, 5.0], [1.0, 7.0]])
    assert pixel_weights(labels, per_image, 255).tolist() == [[[2, 5]], [[7, 0]]]


def test_rare_classes_have_a_larger_weight_and_absent_ones_1() -> None:
    # image 1: three of four pixels are of class 0; image 2: its one labeled pixel is of class 1
    labels = torch.tensor([[[0, 0, 0, 1]], [[1, 255, 255, 255]]])
    weights = inverse_frequency(labels, 3, 255, bound=1.0, per_batch=False)
    assert weights.tolist() == [[1.25, 1.75, 1], [1, 1, 1]]
    # of the five labeled pixels of the batch, three are of class 0 and two of class 1
    weights = inverse_frequency(labels, 3, 255, bound=0.5, per_batch=True)
    expected = torch.tensor([1 + 0.5 * 2 / 5, 1 + 0.5 * 3 / 5, 1]).expand(2, 3)
    torch.testing.assert_close(weights, expected)
