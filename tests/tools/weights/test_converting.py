from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

import network
from network.checkpoints.snapshot import Snapshot
from network.checkpoints.weights import published_state_dict
from tools.weights.converting import check_new, reduced, write


def trained(path: Path, **changes: Any) -> Snapshot:
    net = network.build("sfnet_dfnetv1", 2)
    torch.save({"arch": "sfnet_dfnetv1", "dataset": "toys", "classes": ["a", "b"], "ema": None,
                "state_dict": published_state_dict(net), "optimizer": {}, "temperature": 1.5,
                "args": {"crop_size": [64, 96], "lr": 0.1}, **changes}, path)
    return Snapshot(path)


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_the_crop_size_and_the_temperature_are_kept(tmp_path: Path, suffix: str) -> None:
    snapshot = trained(tmp_path / "last.pth")
    write(reduced(snapshot, snapshot.build_network()), tmp_path / f"small{suffix}")
    small = Snapshot(tmp_path / f"small{suffix}")
    assert small.temperature == 1.5
    assert list(small.payload["args"]["crop_size"]) == [64, 96]
    assert {"optimizer", "lr"}.isdisjoint({*small.payload, *small.payload["args"]})
    assert not [*tmp_path.glob("*.tmp")]


def test_a_failed_write_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(AttributeError):
        write({"state_dict": {"a": 3}}, tmp_path / "new.safetensors")
    assert [*tmp_path.iterdir()] == []


def test_only_a_new_name_with_a_known_suffix_is_taken(tmp_path: Path) -> None:
    check_new(tmp_path / "a.pth")
    (tmp_path / "a.pth").touch()
    with pytest.raises(ValueError, match="exists: choose another name"):
        check_new(tmp_path / "a.pth")
    with pytest.raises(ValueError, match=r"must end in \.pth or \.safetensors"):
        check_new(tmp_path / "a.onnx")
