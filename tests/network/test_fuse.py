from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

import network
from network import fuse_for_inference
from network.model import Backbone, Head, SceneParser


def with_statistics(net: SceneParser) -> SceneParser:
    """The network with batch norms far from the identity, as after training."""
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            assert module.running_mean is not None
            assert module.running_var is not None
            module.running_mean.uniform_(-0.2, 0.2)
            module.running_var.uniform_(0.5, 2.0)
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.uniform_(module.bias, -0.2, 0.2)
    return net.eval()


def norms(net: nn.Module) -> int:
    return sum(isinstance(module, nn.BatchNorm2d) for module in net.modules())


@pytest.mark.parametrize("name", [name for name in network.names()
                                  if "101" not in name and "wide" not in name])
def test_it_computes_the_same_without_normalizations(name: str) -> None:
    torch.manual_seed(0)
    net = with_statistics(network.build(name, 5))
    images = torch.rand(1, 3, 64, 96)
    fast = fuse_for_inference(net)
    with torch.no_grad():
        expected, actual = net(images)["main"], fast(images)["main"]
    tolerance = 1e-5 * float(expected.abs().max())
    torch.testing.assert_close(actual, expected, rtol=1e-4, atol=tolerance)
    assert norms(fast) == 0


@pytest.mark.parametrize("name", ["sfnet_dfnetv1", "sfnet_lite_stdc1", "pspnet_resnet18",
                                  "deeplabv3plus_resnet18"])
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


class Residual(Backbone):
    """The first convolution has two readers, so that only the second batch norm may be folded."""

    out_channels, strides = (4,), (1,)

    def __init__(self) -> None:
        super().__init__()
        self.first, self.shared = nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4)
        self.second, self.last = nn.Conv2d(4, 4, 3, padding=1), nn.BatchNorm2d(4)

    def forward(self, images: Tensor) -> Tensor:
        features = self.first(images)
        return features + self.last(self.second(self.shared(features).relu()))


class Twice(Residual):
    """The second convolution runs twice, with a batch norm after the second time only."""

    def forward(self, images: Tensor) -> Tensor:
        return self.last(self.second(self.second(self.first(images))))


class Main(Head):
    def forward(self, features: Tensor) -> dict[str, Tensor]:
        return {"main": features}


@pytest.mark.parametrize(("backbone", "remaining"), [
    (Residual, ["shared"]), (Twice, ["shared", "last"])])
def test_an_output_with_other_readers_keeps_its_batch_norm(backbone: type[Residual],
                                                           remaining: list[str]) -> None:
    torch.manual_seed(0)
    net = with_statistics(SceneParser(backbone(), Main()))
    fast, images = fuse_for_inference(net), torch.rand(1, 3, 8, 8)
    with torch.no_grad():
        torch.testing.assert_close(fast(images)["main"], net(images)["main"])
    assert [name.split(".")[-1] for name, module in fast.named_modules()
            if isinstance(module, nn.BatchNorm2d)] == remaining


def test_timms_normalizations_leave_their_activation() -> None:
    pytest.importorskip("timm", reason="timm is not installed: pip install timm")
    torch.manual_seed(0)
    net = with_statistics(network.build("sfnet_timm:mobilenetv3_small_050", 3))
    fast, images = fuse_for_inference(net), torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(fast(images)["main"], net(images)["main"], rtol=1e-4, atol=1e-4)
    assert norms(fast) == 0
