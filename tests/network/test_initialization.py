"""Random weights have the variance that is written down."""
from __future__ import annotations

import pytest
import torch
from torch import nn

import network


@pytest.mark.parametrize(("how", "variance"), [("he", 2.0), ("uniform", 1 / 3)])
def test_the_variance_is_that_over_the_fan_in(how: str, variance: float) -> None:
    torch.manual_seed(0)
    net = network.build("sfnet_dfnetv1", 3)
    network.initialize(net, how)
    large = [one for one in net.modules() if isinstance(one, nn.Conv2d) and one.weight.numel() > 50_000]
    assert large
    for convolution in large:
        fan_in = convolution.weight[0].numel()
        assert convolution.weight.var().item() * fan_in == pytest.approx(variance, rel=0.05)
        if how == "he" and convolution.bias is not None:
            assert not convolution.bias.any()


def test_an_unknown_name_is_refused() -> None:
    with pytest.raises(ValueError, match="unknown initialization 'xavier': choose uniform or he"):
        network.initialize(network.build("sfnet_dfnetv1", 3), "xavier")
