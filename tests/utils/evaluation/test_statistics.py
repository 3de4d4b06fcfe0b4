from __future__ import annotations

import numpy as np
import pytest
import torch

from utils.evaluation.metrics import ConfusionMatrix
from utils.evaluation.statistics import bootstrap, paired_test, sum_groups, t_interval


def images(accuracy: float, count: int = 40, classes: int = 3, seed: int = 0) -> np.ndarray:
    """Counts of images in which each pixel is right with a probability.

    The labels are the same for every accuracy.
    """
    labels = np.random.default_rng(7).integers(20, 200, (count, classes))
    rng = np.random.default_rng(seed)
    wrong = (1 - accuracy) / (classes - 1)
    rows = np.eye(classes) * (accuracy - wrong) + wrong
    return np.stack(
        [
            [rng.multinomial(pixels, row) for pixels, row in zip(image, rows, strict=True)]
            for image in labels
        ]
    )


def mean_iou(matrices: np.ndarray) -> float:
    matrix = ConfusionMatrix(matrices.shape[1])
    matrix.add(torch.from_numpy(matrices.sum(0)))
    return matrix.mean_iou()


def test_the_interval_holds_the_score_and_equals_a_plain_loop() -> None:
    found = images(0.8)
    low, high = bootstrap(found, repeats=200)
    assert low < mean_iou(found) < high
    draws = np.random.default_rng(0).multinomial(40, np.full(40, 1 / 40), 200)
    values = [mean_iou(np.repeat(found, draw, axis=0)) for draw in draws]
    assert (low, high) == pytest.approx(np.quantile(values, [0.025, 0.975]), abs=1e-9)


def test_equal_images_leave_no_doubt() -> None:
    one = images(0.8, count=1)
    assert bootstrap(np.repeat(one, 5, axis=0)) == pytest.approx([mean_iou(one)] * 2)


def test_classes_that_occur_nowhere_are_left_out() -> None:
    wider = np.zeros((40, 5, 5), int)
    wider[:, :3, :3] = images(0.8)
    assert bootstrap(wider, repeats=50) == bootstrap(images(0.8), repeats=50)


def test_more_images_make_the_interval_narrower() -> None:
    few, many = (bootstrap(images(0.8, count)) for count in (10, 160))
    assert many[1] - many[0] < (few[1] - few[0]) / 2


def test_a_better_model_is_told_from_a_worse_one() -> None:
    better, worse = images(0.85, seed=1), images(0.8, seed=2)
    found = paired_test(better, worse)
    assert found.difference == pytest.approx(mean_iou(better) - mean_iou(worse))
    assert 0 < found.low < found.difference < found.high
    assert found.p_value < 0.01
    assert paired_test(worse, better).difference == -found.difference


def test_two_models_alike_are_not_told_apart() -> None:
    found = paired_test(images(0.8, seed=1), images(0.8, seed=2))
    assert found.low < 0 < found.high
    assert found.p_value > 0.05
    assert paired_test(images(0.8), images(0.8)).p_value == 1.0


def test_p_values_are_even_where_nothing_differs() -> None:
    values = [
        paired_test(images(0.8, 12, seed=i), images(0.8, 12, seed=i + 100), repeats=200).p_value
        for i in range(40)
    ]
    assert 0.3 < np.mean(values) < 0.7


def test_several_models_give_the_interval_of_their_mean() -> None:
    several = np.stack([images(0.8, seed=1), images(0.75, seed=2)])
    draws = np.random.default_rng(0).multinomial(40, np.full(40, 1 / 40), 50)
    values = [
        np.mean([mean_iou(np.repeat(one, draw, axis=0)) for one in several]) for draw in draws
    ]
    assert bootstrap(several, repeats=50) == pytest.approx(
        np.quantile(values, [0.025, 0.975]), abs=1e-9
    )
    assert bootstrap(several[:1]) == bootstrap(several[0])


def test_pooled_pairs_are_tested_by_the_mean_of_their_differences() -> None:
    better = np.stack([images(0.81, seed=1), images(0.81, seed=2), images(0.81, seed=3)])
    worse = np.stack([images(0.8, seed=4), images(0.8, seed=5), images(0.8, seed=6)])
    pooled = paired_test(better, worse)
    each = [paired_test(one, other) for one, other in zip(better, worse, strict=True)]
    assert pooled.difference == pytest.approx(np.mean([one.difference for one in each]))
    assert pooled.low < pooled.difference < pooled.high
    assert pooled.high - pooled.low < min(one.high - one.low for one in each)
    assert pooled.p_value < max(one.p_value for one in each)
    assert paired_test(better[:1], worse[:1]) == each[0]


def test_pooling_one_pair_with_itself_makes_nothing_surer() -> None:
    one, other = images(0.81, seed=1), images(0.8, seed=2)
    assert paired_test(np.stack([one] * 3), np.stack([other] * 3)) == pytest.approx(
        paired_test(one, other)
    )


def test_the_interval_of_few_values_is_students() -> None:
    # mean 2, standard deviation 1, the 97.5 % quantile of t with 2 degrees of freedom is 4.30265
    assert t_interval([1.0, 2.0, 3.0]) == pytest.approx(
        (2 - 4.30265 / 3**0.5, 2 + 4.30265 / 3**0.5), abs=1e-4
    )
    assert t_interval([5.0, 5.0]) == (5.0, 5.0)
    with pytest.raises(ValueError, match=r"1 value\(s\) do not show"):
        t_interval([1.0])
    with pytest.raises(ValueError, match="level 2 must lie"):
        t_interval([1.0, 2.0], level=2)


def test_groups_are_drawn_and_exchanged_whole() -> None:
    # IoU of the one class of two groups: 4 / 4, 0 / 4; of all, 4 / 8
    right, wrong = np.array([[2, 0], [0, 0]]), np.array([[0, 2], [0, 0]])
    matrices = np.stack([right, wrong, right, wrong])
    groups = ["a", "b", "a", "b"]
    assert sum_groups(matrices, groups).tolist() == [[[4, 0], [0, 0]], [[0, 4], [0, 0]]]
    # a draw of two groups is of a alone in 1 of 4, and of b alone in 1 of 4
    iou = bootstrap(matrices, groups=groups)
    assert iou == bootstrap(sum_groups(matrices, groups))
    assert iou == (0.0, 1.0)
    # in this case alone it is that of single images, too: all four are right in 1 of 16 draws
    other = matrices[[1, 1, 3, 3]]
    tested = paired_test(matrices, other, groups=groups)
    assert tested == paired_test(sum_groups(matrices, groups), sum_groups(other, groups))
    # the models differ in one group only: each exchange gives the difference or its negative
    assert tested.p_value == 1.0


def test_the_interval_of_correlated_images_is_wider() -> None:
    # frames of a drive are copies: 40 drives of 5 equal frames are 40 images, not 200
    drives = images(0.8)
    frames = drives.repeat(5, axis=0)
    groups = [f"drive{index // 5}" for index in range(200)]
    assert bootstrap(frames, groups=groups) == pytest.approx(bootstrap(drives))
    (low, high), (narrow_low, narrow_high) = bootstrap(drives), bootstrap(frames)
    # by the square root of 5, give or take the noise of 2,000 draws
    assert (high - low) / (narrow_high - narrow_low) == pytest.approx(5 ** 0.5, rel=0.15)


def test_groups_of_seeds_are_those_of_each() -> None:
    several = np.stack([images(0.8, seed=1), images(0.75, seed=2)])
    groups = [str(index // 4) for index in range(40)]
    assert sum_groups(several, groups).shape == (2, 10, 3, 3)
    assert (sum_groups(several, groups)[1] == sum_groups(several[1], groups)).all()
    assert sum_groups(several, None) is several
    with pytest.raises(ValueError, match=r"39 groups for matrices \(40, 3, 3\)"):
        bootstrap(several[0], groups=groups[:39])


def test_models_on_other_images_cannot_be_pooled() -> None:
    with pytest.raises(ValueError, match="models do not count the same labels"):
        bootstrap(np.stack([images(0.8), images(0.8)[::-1]]))


@pytest.mark.parametrize("other", [images(0.8, 39), images(0.8)[::-1], images(0.8, classes=4)])
def test_other_images_cannot_be_compared(other: np.ndarray) -> None:
    with pytest.raises(ValueError, match="do not count the same labels"):
        paired_test(images(0.8), other)


def test_no_images_and_impossible_levels_are_refused() -> None:
    with pytest.raises(ValueError, match="at least one image"):
        bootstrap(np.zeros((0, 3, 3)))
    with pytest.raises(ValueError, match="level 95 must lie between 0 and 1"):
        bootstrap(images(0.8), level=95)
