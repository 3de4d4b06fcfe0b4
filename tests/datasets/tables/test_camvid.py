"""The CamVid table fits the real files."""

from pathlib import Path

import numpy as np
import pytest

import datasets
from datasets.tables.camvid import CAMVID
from utils import IGNORE_LABEL


def test_void_is_ignored_in_both_spellings() -> None:
    assert CAMVID.lookup[[11, 255]].tolist() == [IGNORE_LABEL, IGNORE_LABEL]
    assert CAMVID.lookup[:11].tolist() == list(range(11))


@pytest.mark.parametrize(
    ("split", "count"), [("train", 367), ("val", 101), ("test", 233), ("trainval", 468)]
)
def test_the_real_splits_have_segnets_counts(camvid_root: Path, split: str, count: int) -> None:
    assert len(datasets.build("camvid", camvid_root, split)) == count


def test_real_frames_are_read_with_their_labels(camvid_root: Path) -> None:
    data = datasets.build("camvid", camvid_root, "val")
    labels = np.stack([data[index]["label"].numpy() for index in range(0, len(data), 20)])
    assert tuple(data[0]["image"].shape) == (3, 360, 480)
    assert set(np.unique(labels).tolist()) <= {*range(11), IGNORE_LABEL}
    # Over all of val: sky 9 %, road 29 % of the pixels, sky above and road below.
    assert (labels[:, :180] == 0).mean() > (labels[:, 180:] == 0).mean()
    assert (labels[:, 180:] == 3).mean() > 0.4
