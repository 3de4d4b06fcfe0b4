from __future__ import annotations

import base64

import cv2
import numpy as np

from utils.report import pictures


def decode(uri: str) -> np.ndarray:
    data = base64.b64decode(uri.split(",", 1)[1])
    return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)


def test_a_label_map_survives_as_a_palette_picture_with_transparent_ignored_pixels() -> None:
    ids = np.random.default_rng(0).choice(np.array([0, 1, 2, 255], np.uint8), (9, 13))
    palette = np.zeros((256, 3), np.uint8)
    palette[:3] = (10, 20, 30), (250, 5, 90), (255, 255, 255)
    # BGRA
    decoded = decode(pictures.palette_png(ids, pictures.label_colors(palette)))
    assert (decoded[..., 3] == np.where(ids == 255, 0, 255)).all()
    assert (decoded[..., 2::-1][ids != 255] == palette[ids][ids != 255]).all()


def test_a_gray_picture_holds_the_ids_themselves() -> None:
    ids = np.random.default_rng(0).integers(0, 256, (5, 7), np.uint8)
    assert np.array_equal(decode(pictures.gray_png(ids)), ids)


def test_errors_and_disagreement_tell_every_case_apart() -> None:
    labels = np.array([[1, 1, 1, 1, 255]], np.uint8)
    a, b = np.array([[1, 1, 2, 0, 1]], np.uint8), np.array([[1, 0, 1, 0, 1]], np.uint8)
    assert pictures.errors(a, labels).tolist() == [[0, 0, 1, 1, 2]]
    assert pictures.disagreement(a, b, labels).tolist() == [[0, 1, 2, 3, 4]]


def test_shrinking_keeps_the_ratio_and_the_ids() -> None:
    ids = np.array([[3, 7], [9, 11]], np.uint8).repeat(50, 0).repeat(100, 1)
    small = pictures.shrink(ids, 40)
    assert small.shape == (20, 40)
    assert set(np.unique(small)) == {3, 7, 9, 11}
    assert pictures.shrink(ids, 200) is ids
