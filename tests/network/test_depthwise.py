from __future__ import annotations

import copy
import pickle

import pytest
import torch
from torch import nn

import network
from network.depthwise import Float32Training, is_depthwise, train_depthwise_in_float32


class OwnConv(nn.Conv2d):
    """A subclass, as timm's `Conv2dSame` is."""

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return super().forward(features) + 1


def depthwise_net() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 4, 1), nn.Conv2d(4, 4, 3, groups=4), OwnConv(4, 8, 3, groups=4),
        nn.Conv2d(8, 8, 3, groups=2))


def test_only_depthwise_convolutions_change_and_keep_their_class_and_parameters() -> None:
    net = depthwise_net()
    before = {key: value.clone() for key, value in net.state_dict().items()}
    parameters = [*net.parameters()]
    train_depthwise_in_float32(net)
    assert [isinstance(module, Float32Training) for module in net] == [False, True, True, False]
    assert isinstance(net[2], OwnConv)
    assert all(a is b for a, b in zip(parameters, net.parameters(), strict=True))
    assert all(torch.equal(before[key], value) for key, value in net.state_dict().items())
    train_depthwise_in_float32(net)
    assert type(net[1]).__mro__.count(Float32Training) == 1


def test_a_network_can_be_pickled() -> None:
    net = depthwise_net()
    train_depthwise_in_float32(net)
    images = torch.randn(1, 3, 8, 8)
    again = pickle.loads(pickle.dumps(net))
    assert [type(module) for module in again] == [type(module) for module in net]
    assert torch.equal(again(images), net(images))


def test_without_autocast_nothing_changes() -> None:
    images, plain = torch.randn(2, 3, 16, 16), depthwise_net()
    changed = copy.deepcopy(plain)
    train_depthwise_in_float32(changed)
    assert torch.equal(plain(images), changed(images))


def test_under_bf16_training_runs_depthwise_layers_in_float32_and_prediction_does_not() -> None:
    net = depthwise_net()
    train_depthwise_in_float32(net)
    dtypes: list[torch.dtype] = []
    for module in net:
        module.register_forward_hook(lambda module, inputs, output: dtypes.append(output.dtype))
    images = torch.randn(2, 3, 16, 16)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output = net(images)
        bf16, fp32 = torch.bfloat16, torch.float32
        assert dtypes == [bf16, fp32, fp32, bf16]
        output.float().mean().backward()
        assert all(parameter.grad is not None for parameter in net.parameters())
        dtypes.clear()
        with torch.no_grad():
            net(images)
        assert dtypes == [bf16] * 4


def test_gradients_are_those_of_float32() -> None:
    layer = nn.Sequential(nn.Conv2d(8, 8, 5, padding=2, stride=2, groups=8))
    changed = copy.deepcopy(layer)
    train_depthwise_in_float32(changed)
    images = torch.randn(2, 8, 17, 19)
    layer(images).square().mean().backward()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = changed(images).square().mean()
    loss.backward()
    assert torch.equal(layer[0].weight.grad, changed[0].weight.grad)


@pytest.mark.parametrize("name", ["sfnet_timm:tf_efficientnet_lite0", "sfnet_lite_timm:resnet18d"])
def test_build_covers_the_backbones_of_timm(name: str) -> None:
    pytest.importorskip("timm", reason="timm is not installed: pip install timm")
    net = network.build(name, 3)
    depthwise = [module for module in net.modules() if is_depthwise(module)]
    assert len(depthwise) == (16 if "lite0" in name else 0)
    assert all(isinstance(module, Float32Training) for module in depthwise)
    images = torch.randn(2, 3, 64, 96)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = net.train()(images)["main"].float().mean()
    loss.backward()
    # a network that is fused for prediction computes the same
    net.eval()
    with torch.no_grad():
        expected, fused = net(images)["main"], network.fuse_for_inference(net)(images)["main"]
    assert torch.allclose(expected, fused, atol=1e-3)
