from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

import network
from network import fuse_for_inference
from network.model import SceneParser


def with_statistics(net: nn.Module) -> nn.Module:
    """A network as after training: no normalization is near the identity."""
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            for values, low, high in ((module.running_mean, -0.2, 0.2), (module.running_var, 0.5, 2.0),
                                      (module.weight.data, 0.5, 1.5), (module.bias.data, -0.2, 0.2)):
                assert values is not None
                values.uniform_(low, high)
    return net.eval()


def norms(net: nn.Module) -> int:
    return sum(isinstance(module, nn.BatchNorm2d) for module in net.modules())


@pytest.mark.parametrize("name", [name for name in network.names() if "101" not in name and "wide" not in name])
def test_it_computes_the_same_without_normalizations(name: str) -> None:
    torch.manual_seed(0)
    net = with_statistics(network.build(name, 5))
    images = torch.rand(1, 3, 64, 96)
    fast = fuse_for_inference(net)
    with torch.no_grad():
        expected, found = net(images)["main"], fast(images)["main"]
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5 * float(expected.abs().max()))
    assert norms(fast) == 0


@pytest.mark.parametrize("name", ["sfnet_dfnetv1", "sfnet_lite_stdc1", "pspnet_resnet18", "deeplabv3plus_resnet18"])
def test_auxiliary_heads_are_gone_and_the_original_is_untouched(name: str) -> None:
    net = network.build(name, 5, deep_supervision=True).train()
    before = {key: value.clone() for key, value in net.state_dict().items()}
    fast = fuse_for_inference(net)
    assert not any("dsn" in key for key in fast.state_dict())
    assert net.training and norms(net) > 0
    assert all(torch.equal(value, before[key]) for key, value in net.state_dict().items())
    assert not any(parameter.requires_grad for parameter in fast.parameters())


def test_body_and_edge_of_decouple_are_gone() -> None:
    fast = fuse_for_inference(network.build("decouple_resnet50", 5))
    assert not any("edge_out" in key or "dsn_seg_body" in key for key in fast.state_dict())


class Residual(nn.Module):
    """A convolution whose output two readers want: only one of the two normalizations may be folded."""

    out_channels, strides = (4,), (1,)

    def __init__(self) -> None:
        super().__init__()
        self.first, self.shared = nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4)
        self.second, self.own = nn.Conv2d(4, 4, 3, padding=1), nn.BatchNorm2d(4)

    def forward(self, images: Tensor) -> Tensor:
        features = self.first(images)
        return features + self.own(self.second(self.shared(features).relu()))


class Twice(Residual):
    """A convolution that runs twice, with a normalization after the second time only."""

    def forward(self, images: Tensor) -> Tensor:
        return self.own(self.second(self.second(self.first(images))))


class Main(nn.Module):
    def forward(self, features: Tensor) -> dict[str, Tensor]:
        return {"main": features}


@pytest.mark.parametrize(("backbone", "left"), [(Residual, ["shared"]), (Twice, ["shared", "own"])])
def test_an_output_that_is_read_otherwise_keeps_its_normalization(backbone: type[Residual], left: list[str]) -> None:
    torch.manual_seed(0)
    net = with_statistics(SceneParser(backbone(), Main()))  # type: ignore[arg-type]
    fast, images = fuse_for_inference(net), torch.rand(1, 3, 8, 8)
    with torch.no_grad():
        torch.testing.assert_close(fast(images)["main"], net(images)["main"])
    assert [name.split(".")[-1] for name, module in fast.named_modules() if isinstance(module, nn.BatchNorm2d)] == left


def test_timms_normalizations_leave_their_activation() -> None:
    pytest.importorskip("timm", reason="timm is not installed: pip install timm")
    torch.manual_seed(0)
    net = with_statistics(network.build("sfnet_timm:mobilenetv3_small_050", 3))
    fast, images = fuse_for_inference(net), torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(fast(images)["main"], net(images)["main"], rtol=1e-4, atol=1e-4)
    assert norms(fast) == 0
