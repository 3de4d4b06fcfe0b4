"""Fixtures for data that a checkout does not carry; they skip where it is absent."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

ROOT = Path(__file__).resolve().parents[1]


def _shared(*parts: str) -> Path:
    """The path below the shared folder: $SFSEG_SHARED, or `shared` beside the checkout."""
    base = Path(os.environ.get("SFSEG_SHARED", ROOT.parent / "shared"))
    path = base.joinpath(*parts)
    if not path.is_dir():
        pytest.skip(f"{path} is absent: set SFSEG_SHARED to the folder that holds "
                    f"{'/'.join(parts)}")
    return path


@pytest.fixture(scope="session")
def parity() -> Path:
    """The folder of numbers recorded from the published networks and criteria."""
    return _shared("parity")


@pytest.fixture(scope="session")
def camvid_root() -> Path:
    """CamVid at 360x480 in the SegNet layout."""
    return _shared("data", "camvid")


@pytest.fixture(scope="session")
def idd_lite_root() -> Path:
    """IDD-lite as it is published."""
    return _shared("data", "idd_lite")


@pytest.fixture
def threads() -> Iterator[Callable[[int], None]]:
    """torch.set_num_threads, undone after the test."""
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def gpu() -> torch.device:
    """The device of the tests marked `gpu`: the first CUDA device.

    $SFSEG_GPU_TESTS_DEVICE names another one: with `cpu`, the tests check themselves.
    """
    name = os.environ.get("SFSEG_GPU_TESTS_DEVICE", "cuda:0")
    if name.startswith("cuda") and not torch.cuda.is_available():
        pytest.skip("needs a CUDA device; SFSEG_GPU_TESTS_DEVICE=cpu runs the test on the CPU")
    return torch.device(name)


@pytest.fixture(autouse=True)
def _skip_without_a_gpu(request: pytest.FixtureRequest) -> None:
    """Skips a test marked `gpu` where `gpu` does, also if the test does not take that fixture."""
    if request.node.get_closest_marker("gpu"):
        request.getfixturevalue("gpu")


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    """A headless Chromium whose camera shows a test picture."""
    pytest.importorskip("playwright", reason="the extra `test` brings it")
    from tools.maintainer import screenshots
    if screenshots.find_browser() is None:
        pytest.skip(f"no Chromium ({', '.join(screenshots.BROWSERS)}) is installed")
    flags = ["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]
    with screenshots.browser(*flags) as opened:
        yield opened
