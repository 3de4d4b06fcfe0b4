from __future__ import annotations

import numpy as np
import pytest

from tools.import_labels import run_lengths

MASK = np.array([[0, 1, 1], [0, 0, 1]], bool)


def test_coco_counts_go_down_the_columns_and_begin_with_zeros() -> None:
    # columns 00, 10, 11: two zeros, one, zero, two ones
    assert (run_lengths.decode_coco([2, 1, 1, 2], 2, 3) == MASK).all()
    # a mask that begins with a one has an empty first run
    assert run_lengths.decode_coco([0, 6], 2, 3).all()


def test_cvat_counts_go_along_the_rows() -> None:
    assert (run_lengths.decode_rows([1, 2, 2, 1], 2, 3) == MASK).all()


@pytest.mark.parametrize("counts", [[2, 1], [2, 1, 1, 3], [8, -2], []])
def test_runs_of_another_size_are_refused(counts: list[int]) -> None:
    with pytest.raises(ValueError, match="but the mask has 6"):
        run_lengths.decode_coco(counts, 2, 3)


def test_a_compressed_mask_is_read_by_its_definition() -> None:
    # each number plus 48 as a character; the fourth is a difference: 2 = 1 + 1
    assert run_lengths.decompress("2111") == [2, 1, 1, 2]
    # 100 = 4 + 3 * 32: 4 with the bit 32 that continues, then 3; -1 is 31 without it: "O"
    assert run_lengths.decompress("T321O") == [100, 2, 1, 1]


def test_a_compressed_mask_is_read_as_it_was_written() -> None:
    pytest.importorskip("pycocotools", reason="the extra `labels` brings it")
    written = run_lengths.encode_coco(MASK)
    assert written == {"size": [2, 3], "counts": "2111"}
    assert (run_lengths.decode_coco("2111", 2, 3) == MASK).all()
    rng = np.random.default_rng(0)
    large = rng.random((40, 50)) < 0.3
    encoded = run_lengths.encode_coco(large)
    assert (run_lengths.decode_coco(encoded["counts"], 40, 50) == large).all()


@pytest.mark.parametrize(("counts", "message"), [
    ("2119", "add up to 14 pixels, but the mask has 6"), ("21", "add up to 3 pixels"),
    ("211T", "truncated"), ("21 1", "the character ' '"), ("2O11", "but the mask has 6"),
])
def test_a_compressed_mask_of_another_size_is_refused(counts: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        run_lengths.decode_coco(counts, 2, 3)
