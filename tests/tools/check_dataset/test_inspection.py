"""Reading pairs and collecting their problems and counts."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from datasets.listing import Listing, Sample
from datasets.spec import UNKNOWN, ClassInfo, DatasetSpec
from tools.check_dataset.inspection import (
    Finding,
    Inspection,
    Summary,
    count_values,
    inspect,
    pairing_problems,
    repeated_names,
)
from utils import IGNORE_LABEL

SPEC = DatasetSpec(
    name="tiny",
    title="Tiny",
    classes=(ClassInfo("road", (1, 2, 3), (4,)), ClassInfo("car", (4, 5, 6), (7,))),
    layouts=(),
    splits={},
    hint="",
)


def write_sample(root: Path, image: np.ndarray, label: np.ndarray) -> Sample:
    assert cv2.imwrite(str(root / "image.png"), image)
    assert cv2.imwrite(str(root / "label.png"), label)
    return Sample("a", root / "image.png", root / "label.png", SPEC)


def test_a_valid_pair_has_a_size_and_counts(tmp_path: Path) -> None:
    label = np.array([[4, 4, 7, 255]], np.uint8)
    sample = write_sample(tmp_path, np.zeros((1, 4, 3), np.uint8), label)
    expected = Finding((1, 4), {4: 2, 7: 1, 255: 1}, ())
    assert inspect(sample) == expected
    assert Inspection([sample])[0] == expected
    assert len(Inspection([sample])) == 1


def test_several_problems_of_one_pair_are_collected(tmp_path: Path) -> None:
    sample = write_sample(tmp_path, np.zeros((2, 4, 3), np.uint8), np.array([[9]], np.uint8))
    problems = inspect(sample).problems
    assert [problem.kind for problem in problems] == ["image and label of two sizes",
                                                      "unmapped ids"]
    assert "9 (1 pixel)" in problems[1].message


def test_an_orientation_beside_a_label_of_the_same_size_is_a_problem(tmp_path: Path) -> None:
    sample = write_sample(tmp_path, np.zeros((2, 4, 3), np.uint8), np.full((2, 4), 4, np.uint8))
    exif = Image.Exif()
    exif[0x0112] = 3
    Image.new("RGB", (4, 2)).save(sample.image, exif=exif)
    problem, = inspect(sample).problems
    assert problem.kind == "EXIF orientation"
    assert "orientation 3" in problem.message


def test_a_damaged_image_does_not_hide_the_label(tmp_path: Path) -> None:
    sample = write_sample(tmp_path, np.zeros((1, 1, 3), np.uint8), np.array([[4]], np.uint8))
    sample.image.write_bytes(b"")
    finding = inspect(sample)
    assert (finding.size, finding.counts) == (None, {4: 1})
    assert [problem.kind for problem in finding.problems] == ["unreadable image"]


def test_ids_above_8_bits_and_colors_are_counted() -> None:
    assert count_values(np.array([[7, 7, 300]], np.uint16)) == {7: 2, 300: 1}
    assert count_values(np.array([[0x010203, 0x010203]], np.uint32)) == {0x010203: 2}
    assert count_values(np.array([[0, 255, 255]], np.uint8)) == {0: 1, 255: 2}


def test_fractions_and_weights_are_those_of_the_definition() -> None:
    summary = Summary()
    sample = Sample("a", Path("a"), Path("b"), SPEC)
    summary.add(sample, Finding((1, 10), {4: 6, 7: 2, 255: 2}, ()))
    summary.add(sample, Finding((1, 10), {4: 8, 9: 2}, ()))
    assert summary.num_labeled == 16
    assert [summary.pixel_fraction(train_id) for train_id in (0, 1)] == [14 / 16, 2 / 16]
    # of all 20 pixels
    assert summary.pixel_fraction(IGNORE_LABEL) == summary.pixel_fraction(UNKNOWN) == 0.1
    # road is 14 of the 16 labeled pixels of the images that contain it, car 2 of 8
    median = (14 / 16 + 2 / 8) / 2
    assert summary.weights(3) == pytest.approx([median / (14 / 16), median / (2 / 8), 1.0])
    assert [(row.raw_id, row.num_pixels, row.num_images)
            for row in summary.raw_counts()] == [(4, 14, 2), (7, 2, 1), (9, 2, 1), (255, 2, 1)]


def test_an_empty_summary_has_fractions_of_zero_and_weights_of_one() -> None:
    assert Summary().pixel_fraction(0) == 0.0
    assert Summary().weights(2) == [1.0, 1.0]


def test_images_without_label_and_labels_without_image_are_problems() -> None:
    lonely = Sample("a", Path("a.png"), Path("a_label.png"), SPEC)
    problems = pairing_problems(Listing((), (lonely,), (Path("b_label.png"),)))
    assert [(problem.kind, problem.file) for problem in problems] == [
        ("image without label", "a.png"),
        ("label without image", "b_label.png"),
    ]


def test_a_name_of_two_images_is_a_problem_but_an_image_listed_twice_is_none() -> None:
    samples = [Sample("a", Path(path), None, SPEC) for path in ("x/a.png", "y/a.png", "x/a.png")]
    (problem,) = repeated_names(samples)
    assert problem.file == "y/a.png"
    assert repeated_names([samples[0], samples[2]]) == []
