from __future__ import annotations

import pytest
import torch
from torch import nn

import network


@pytest.mark.parametrize(("init", "variance"), [("he", 2.0), ("uniform", 1 / 3)])
def test_the_variance_times_the_fan_in_is_the_documented_one(init: str, variance: float) -> None:
    torch.manual_seed(0)
    net = network.build("sfnet_dfnetv1", 3)
    network.initialize(net, init)
    large = [module for module in net.modules()
             if isinstance(module, nn.Conv2d) and module.weight.numel() > 50_000]
    assert large
    for convolution in large:
        fan_in = convolution.weight[0].numel()
        assert convolution.weight.var().item() * fan_in == pytest.approx(variance, rel=0.05)
        if init == "he" and convolution.bias is not None:
            assert not convolution.bias.any()


def test_an_unknown_name_is_refused() -> None:
    message = "unknown initialization 'xavier': choose uniform or he"
    with pytest.raises(ValueError, match=message):
        network.initialize(network.build("sfnet_dfnetv1", 3), "xavier")
