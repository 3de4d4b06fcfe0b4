"""Hours of a training, from numbers that a reader can follow."""
from __future__ import annotations

import pytest

from tools.benchmark import launchers
from tools.benchmark.machine import plan, recipes
from tools.benchmark.machine.worker import Deadline

# 2975 images, 300 times
IMAGES = 2975 * 300


def recipe(run: str, arch: str, operations: int) -> dict:
    return {"run": run, "arch": arch, "operations": operations, "images": IMAGES,
            "crop": [1024, 1024]}


def timed(arch: str, images: int, speed: float, arithmetic: str = "bf16") -> dict:
    return {"arch": arch, "images": images, "images_per_second": speed, "arithmetic": arithmetic,
            "crop": [1024, 1024]}


def test_a_launcher_trains_on_so_many_images() -> None:
    assert recipes.training_images(launchers.options_of("cityscapes_sfnet_res18")) == IMAGES
    more = launchers.options_of("cityscapes_sfnet_res18_trainval")
    assert recipes.training_images(more) == 3475 * more.intervals.max_epoch
    steps = launchers.options_of("cityscapes_sfnet_res18", ["--max_iters", "50"])
    # a global batch of 16
    assert recipes.training_images(steps) == 50 * 16


def test_hours_are_images_over_speed() -> None:
    rows = [recipe("a", "small", 100), recipe("b", "large", 250)]
    measured = [timed("small", 8, 50.0), timed("small", 2, 40.0), timed("small", 8, 10.0, "fp32")]
    small, large = recipes.hours(rows, measured)
    assert small == recipes.Hours("a", "bf16", False, pytest.approx(IMAGES / 50 / 3600),
                                  pytest.approx(IMAGES / (8 * 40) / 3600))
    # 2.5 times the operations take 2.5 times as long
    assert large.is_estimated and large.one_gpu == pytest.approx(2.5 * small.one_gpu)


def test_smaller_crops_are_counted_by_their_pixels() -> None:
    measured = [{**timed("small", 2, 32.0, "fp32"), "crop": [256, 256]}]
    (hours,) = recipes.hours([recipe("a", "small", 100)], measured)
    # a crop of 1024x1024 has 16 times the pixels
    assert hours.one_gpu == pytest.approx(IMAGES / 2 / 3600)


def test_without_a_timed_network_there_are_no_hours() -> None:
    assert recipes.hours([recipe("a", "small", 100)], []) == []
    assert recipes.hours([recipe("a", "small", 100)], [{"error": "out of memory"}]) == []


def test_the_network_with_the_nearest_operations_stands_for_another() -> None:
    # 30 is 3 times 10, and 100 is 3.3 times 30
    operations = {"tiny": 10, "large": 100, "new": 30}
    assert recipes.nearest("new", ["tiny", "large"], operations) == "tiny"


def test_recipes_end_at_the_deadline() -> None:
    assert list(recipes.recipes(plan.CPU, Deadline(0))) == []


@pytest.mark.slow
def test_every_cityscapes_launcher_has_a_row() -> None:
    rows = list(recipes.recipes(plan.CPU, Deadline(600)))
    assert [row["run"] for row in rows] == [name for name in launchers.names()
                                            if name.startswith("cityscapes_")]
    by_run = {row["run"]: row["operations"] for row in rows}
    assert by_run["cityscapes_sfnet_res101"] > by_run["cityscapes_sfnet_res18"] > 0
