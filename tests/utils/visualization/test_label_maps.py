from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from utils.visualization import label_maps

PALETTE = np.zeros((256, 3), np.uint8)
PALETTE[:3] = (200, 0, 0), (0, 200, 0), (0, 0, 200)
NAMES = ("road", "car", "sky")


def scene(height: int = 20, width: int = 30) -> tuple[np.ndarray, np.ndarray]:
    """A gray image whose left third is road, middle car and right ignored."""
    labels = np.repeat(np.uint8([[0, 1, 255]]), height, 0).repeat(width // 3, 1)
    return np.full((height, width, 3), 100, np.uint8), labels


def test_a_mask_shows_each_class_in_its_color_and_ignored_pixels_black() -> None:
    mask = label_maps.color_mask(scene()[1], PALETTE)
    assert [tuple(mask[0, x]) for x in (0, 15, 29)] == [(200, 0, 0), (0, 200, 0), (0, 0, 0)]


def test_contours_run_along_borders_only() -> None:
    edges = label_maps.contours(scene()[1])
    assert edges[:, [9, 19]].all()
    assert edges.sum() == 2 * 20


def test_an_overlay_blends_colors_and_leaves_ignored_pixels_as_they_are() -> None:
    image, labels = scene()
    picture = label_maps.overlay(image, labels, PALETTE, alpha=0.5)
    assert [tuple(picture[5, x]) for x in (3, 25)] == [(150, 50, 50), (100, 100, 100)]
    # the light line between road and car
    assert picture[5, 9].min() > 150
    assert (image == 100).all()


def test_errors_are_red_hits_green_and_ignored_pixels_dark() -> None:
    image, truth = scene()
    picture = label_maps.error_map(image, np.zeros_like(truth), truth).astype(int)
    hit, miss, ignored = picture[5, 3], picture[5, 15], picture[5, 25]
    assert hit[1] > hit[0]
    assert miss[0] > miss[1]
    assert (ignored == 33).all()


def test_panels_hold_every_picture_under_its_title() -> None:
    image, _ = scene(60, 90)
    grid = label_maps.panels(
        [("image", image), ("truth", image + 50), ("errors", image + 90)], columns=2
    )
    assert grid.shape[0] > 2 * 60
    assert grid.shape[1] > 2 * 90
    assert all((grid == value).all(2).sum() >= 60 * 90 for value in (100, 150, 190))


@pytest.mark.parametrize("width", [40, 480, 2048])
def test_a_legend_shows_the_classes_that_occur_the_largest_first(width: int) -> None:
    labels = np.full((100, width), 2, np.uint8)
    labels[:10] = 0
    image = np.zeros((100, width, 3), np.uint8)
    strip = label_maps.with_legend(image, labels, PALETTE, NAMES)[100:]
    places = [np.argwhere((strip == PALETTE[i]).all(2)) for i in range(3)]
    assert strip.shape[1] == width
    assert len(places[2])
    assert len(places[0])
    assert not len(places[1])
    assert tuple(places[2].min(0)) < tuple(places[0].min(0))


def test_a_picture_without_any_class_has_a_legend_without_entries() -> None:
    image, labels = scene()
    assert (
        label_maps.with_legend(image, np.full_like(labels, 255), PALETTE, NAMES).shape[1]
        == image.shape[1]
    )


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    image, labels = scene()
    image[..., 0] = 7
    label_maps.write(tmp_path / "new" / "image.png", image)
    label_maps.write(tmp_path / "ids.png", labels)
    assert np.array_equal(cv2.imread(str(tmp_path / "new" / "image.png"))[..., ::-1], image)
    assert np.array_equal(cv2.imread(str(tmp_path / "ids.png"), cv2.IMREAD_UNCHANGED), labels)


def test_a_file_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file")
    with pytest.raises(OSError, match="taken"):
        label_maps.write(tmp_path / "taken" / "image.png", scene()[0])


def test_the_hue_of_a_flow_is_its_direction_and_the_strength_its_length() -> None:
    flow = np.zeros((2, 1, 5), np.float32)
    flow[0] = [[2, -2, 0, 0, 1]]
    flow[1] = [[0, 0, 2, 0, 0]]
    right, left, down, still, half = label_maps.flow_colors(flow, 2.0)[0].tolist()
    assert (right, left, still) == ([255, 0, 0], [0, 255, 255], [255, 255, 255])
    assert half == [255, 128, 128]
    # 90 degrees: between yellow and green
    assert down[1] == 255 and down[2] == 0


def test_the_wheel_holds_each_direction_where_it_points() -> None:
    wheel = label_maps.color_wheel(101)
    assert (wheel[50, 50] == 255).all()
    assert wheel[50, 100].tolist() == [255, 0, 0] and wheel[50, 0].tolist() == [0, 255, 255]
    assert (wheel[100, 50] == label_maps.flow_colors(np.array([[[0.0]], [[1.0]]]), 1.0)[0, 0]).all()


@pytest.mark.parametrize("count", [3, 60])
def test_the_legend_of_a_video_is_equally_high_whatever_its_labels_are(count: int) -> None:
    names = [f"class {i}" for i in range(count)]
    image = np.zeros((100, 640, 3), np.uint8)
    heights = {
        label_maps.with_legend(
            image,
            np.random.default_rng(0).integers(0, classes, (100, 640), np.uint8),
            PALETTE,
            names,
            steady=True,
        ).shape
        for classes in (1, 3, count)
    }
    assert len(heights) == 1


def test_the_wheel_stands_in_the_corner_of_a_flow() -> None:
    still = np.full((80, 120, 3), 255, np.uint8)
    shown = label_maps.with_wheel(still)
    assert (shown[:50, :80] == 255).all() and (still == 255).all()
    assert shown[50:, 80:].std() > 20
