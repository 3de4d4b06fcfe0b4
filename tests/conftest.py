"""Fixtures for data that a checkout does not carry: they skip, with a reason, where it is absent."""

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


def _shared(*parts: str) -> Path:
    """The path below the shared folder: $SFSEG_SHARED, or `shared` beside the checkout."""
    base = Path(os.environ.get("SFSEG_SHARED", ROOT.parent / "shared"))
    path = base.joinpath(*parts)
    if not path.is_dir():
        pytest.skip(f"{path} is absent: set SFSEG_SHARED to the folder that holds {'/'.join(parts)}")
    return path


@pytest.fixture(scope="session")
def parity() -> Path:
    """The folder of numbers recorded from the published networks and criteria."""
    return _shared("parity")


@pytest.fixture(scope="session")
def camvid_root() -> Path:
    """CamVid at 360x480 in the SegNet layout."""
    return _shared("data", "camvid")
