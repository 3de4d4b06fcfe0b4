from __future__ import annotations

from pathlib import Path

import pytest
import torch

import hubconf
import network
from network.checkpoints.weights import published_state_dict

ROOT = Path(network.__file__).parents[1]


def test_torch_hub_lists_every_architecture() -> None:
    entries = {name for name in dir(hubconf) if callable(getattr(hubconf, name))}
    assert set(network.names()) <= entries
    assert "class count and options" in (hubconf.sfnet_dfnetv1.__doc__ or "")
    assert set(hubconf.dependencies) == {"torch", "numpy"}


def test_torch_hub_builds_a_network() -> None:
    net = torch.hub.load(
        str(ROOT), "sfnet_dfnetv1", source="local", num_classes=5, deep_supervision=True)
    assert list(net(torch.zeros(2, 3, 64, 64))) == ["main", "aux0", "aux1"]


def test_torch_hub_fills_a_network_from_a_checkpoint(tmp_path: Path) -> None:
    state = published_state_dict(network.build("sfnet_dfnetv1", 7, final_fams=True))
    path = tmp_path / "a.pth"
    torch.save({"arch": "sfnet_dfnetv1", "args": {"final_fams": True}, "state_dict": state}, path)
    net = torch.hub.load(str(ROOT), "sfnet_dfnetv1", source="local", weights=path)
    assert all(torch.equal(value, state[key]) for key, value in published_state_dict(net).items())
    assert not net.training


def test_torch_hub_loads_a_model_folder(tmp_path: Path) -> None:
    net = network.build("sfnet_dfnetv1", 2)
    config = network.ModelConfig("sfnet_dfnetv1", ("road", "sky"), ((1, 2, 3), (4, 5, 6)))
    network.save_pretrained(net, tmp_path, config)
    loaded = torch.hub.load(str(ROOT), "from_pretrained", tmp_path, source="local")
    assert loaded.config.classes == ("road", "sky")
    entry = torch.hub.load(str(ROOT), "sfnet_dfnetv1", source="local", weights=tmp_path)
    assert all(torch.equal(value, entry.state_dict()[key])
               for key, value in loaded.state_dict().items())


def test_a_backbone_of_timm_is_named_in_full() -> None:
    pytest.importorskip("timm", reason="timm is not installed: pip install timm")
    net = torch.hub.load(
        str(ROOT), "timm", source="local", arch="sfnet_timm:mobilenetv3_small_050", num_classes=3)
    with torch.no_grad():
        assert net.eval()(torch.zeros(1, 3, 64, 64))["main"].shape == (1, 3, 64, 64)


def test_a_shipped_network_is_an_entry() -> None:
    pytest.importorskip("timm", reason="timm is not installed: pip install timm")
    net = torch.hub.load(str(ROOT), "sfnet_lite_efflite0_camvid", source="local")
    assert not net.training
    with torch.no_grad():
        assert net(torch.zeros(1, 3, 64, 64))["main"].shape == (1, 11, 64, 64)
    same = torch.hub.load(str(ROOT), "timm", source="local", weights="sfnet_lite_efflite0_camvid",
                          arch="sfnet_lite_timm:tf_efficientnet_lite0")
    assert all(torch.equal(*pair) for pair in zip(net.parameters(), same.parameters(), strict=True))
