from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import pytest
import torch

from tests.utils.backends.conftest import FACTS
from utils.backends import openvino_files
from utils.backends.graph import EXACT, HALF, ExportModule, compare


def copy(path: Path, folder: Path) -> Path:
    for file in (path, path.with_suffix(".bin")):
        shutil.copy(file, folder)
    return folder / path.name


@pytest.mark.parametrize(("precision", "tolerance"), [("fp32", EXACT), ("bf16", HALF)])
@pytest.mark.parametrize(("size", "batch"), [((64, 96), 1), ((37, 131), 3)])
def test_a_file_gives_the_networks_logits_at_any_size(
    any_size: Path, module: ExportModule, precision: str, tolerance: object, size: tuple[int, int],
    batch: int
) -> None:
    run, _ = openvino_files.open_model(any_size, precision)
    images = module.example(size, batch)
    with torch.inference_mode():
        expected = module(images)
    assert run(images).shape == expected.shape
    assert compare(expected, run(images)).within(tolerance)  # type: ignore[arg-type]
    # the memory layout of the predictor's images
    channels_last = images.contiguous(memory_format=torch.channels_last)
    assert torch.equal(run(channels_last), run(images))


def test_the_metadata_is_read_back(any_size: Path) -> None:
    _, metadata = openvino_files.open_model(any_size)
    assert {name: json.loads(text) for name, text in metadata.items()} == FACTS


def test_a_file_without_its_weights_says_which_file_is_missing(any_size: Path,
                                                               tmp_path: Path) -> None:
    path = copy(any_size, tmp_path)
    path.with_suffix(".bin").unlink()
    with pytest.raises(ValueError, match=r"net\.bin is missing, .* weights of net\.xml: copy both"):
        openvino_files.open_model(path)


def test_weights_of_another_file_are_refused(any_size: Path, tmp_path: Path) -> None:
    path = copy(any_size, tmp_path)
    weights = bytearray(path.with_suffix(".bin").read_bytes())
    weights[0] ^= 1
    path.with_suffix(".bin").write_bytes(weights)
    with pytest.raises(ValueError, match=r"net\.bin is truncated, or of another file than net"):
        openvino_files.open_model(path)


def test_openvino_that_is_not_installed_is_named_with_its_extra(
    monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(ValueError, match=r"--format openvino needs openvino, .*'\.\[openvino\]'"):
        openvino_files.require("--format openvino")
