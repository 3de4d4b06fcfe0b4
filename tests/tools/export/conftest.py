from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

import datasets
from network.normalization import IMAGENET
from tools.export import __main__ as export

SPEC = datasets.spec("camvid")
MEAN, STD = IMAGENET

Export = Callable[..., int]


@pytest.fixture(scope="session")
def run(snapshot: Path) -> Export:
    return lambda *flags: export.main(["--snapshot", str(snapshot), "--size", "64x96",
                                       *map(str, flags)])
