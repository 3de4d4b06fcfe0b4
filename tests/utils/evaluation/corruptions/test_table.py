from __future__ import annotations

import pickle
import time
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from utils.evaluation.corruptions.table import KINDS, SEVERITIES, Corrupted, Corruption


@pytest.mark.parametrize("kind", KINDS)
def test_an_image_depends_on_its_name_the_kind_and_the_severity_only(kind: str,
                                                                     picture: np.ndarray) -> None:
    before = picture.copy()
    first = Corruption(kind, 2).apply(picture, "a")
    assert first.shape == picture.shape and first.dtype == np.uint8
    assert (first == Corruption(kind, 2).apply(picture, "a")).all()
    assert (picture == before).all()
    assert (first != Corruption(kind, 3).apply(picture, "a")).any()
    is_random = kind not in ("defocus", "jpeg", "contrast")
    assert (first != Corruption(kind, 2).apply(picture, "b")).any() == is_random


@pytest.mark.parametrize("kind", KINDS)
def test_a_higher_severity_changes_the_image_more(kind: str, picture: np.ndarray) -> None:
    distances = [np.abs(Corruption(kind, severity).apply(picture, "a").astype(float)
                        - picture).mean() for severity in SEVERITIES]
    assert distances == sorted({*distances}) and distances[0] > 0.3


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", [(1, 1), (3, 200), (64, 2)])
def test_images_of_any_size_are_corrupted(kind: str, size: tuple[int, int]) -> None:
    image = np.full((*size, 3), 100, np.uint8)
    assert Corruption(kind, 5).apply(image, "a").shape == image.shape


def test_no_kind_takes_long(picture: np.ndarray) -> None:
    large = np.tile(picture, (4, 5, 1))
    for kind in KINDS:
        start = time.process_time()
        Corruption(kind, 5).apply(large, "a")
        # 360x600; a network takes longer for it on the same core
        assert time.process_time() - start < 0.5, kind


def test_a_corrupted_split_differs_from_the_split_in_its_images_only(picture: np.ndarray) -> None:
    sample = {"image": torch.from_numpy(picture).permute(2, 0, 1), "name": "a",
              "label": torch.zeros(90, 120, dtype=torch.uint8)}
    data = Split([sample])
    corrupted = Corrupted(data, Corruption("fog", 3))
    assert len(corrupted) == 1 and corrupted.spec == "spec" and corrupted.labeled
    read = corrupted[0]
    assert read["label"] is sample["label"] and read["name"] == "a"
    expected = Corruption("fog", 3).apply(picture, "a")
    assert (read["image"].permute(1, 2, 0).numpy() == expected).all()
    # as worker processes get it
    assert (pickle.loads(pickle.dumps(corrupted))[0]["image"] == read["image"]).all()


class Split(list):
    """What a `SegmentationDataset` has."""

    spec, split, root, samples, labeled = "spec", "val", "root", SimpleNamespace(), True
