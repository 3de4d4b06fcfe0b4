"""The replacing of norms, alone; over two processes they are compared in
tests/test_two_processes.py.
"""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from utils.sync_bn import CPUSyncBatchNorm, convert


class NormAndRelu(nn.BatchNorm2d):
    """A fused layer as timm has them: its children `drop` and `act` come after the normalization.
    """

    def __init__(self, channels: int) -> None:
        super().__init__(channels)
        self.drop, self.act = nn.Identity(), nn.ReLU()

    def forward(self, input: Tensor) -> Tensor:
        return self.act(self.drop(super().forward(input)))


@pytest.mark.parametrize("kind", [nn.BatchNorm2d, NormAndRelu])
def test_a_converted_network_has_the_same_parameters_keys_and_outputs(
    kind: type[nn.BatchNorm2d],
) -> None:
    torch.manual_seed(0)
    net, images = nn.Sequential(nn.Conv2d(3, 4, 1), kind(4)), torch.randn(2, 3, 5, 5)
    keys, weight, expected = list(net.state_dict()), net[1].weight, net.eval()(images)
    assert convert(net, torch.device("cpu")) is net
    assert (
        isinstance(net[1], CPUSyncBatchNorm)
        and net[1].weight is weight
        and list(net.state_dict()) == keys
    )
    assert torch.equal(net(images), expected)
    assert net.train()(images).min() < 0 or kind is NormAndRelu


def test_a_lone_norm_is_refused() -> None:
    with pytest.raises(ValueError, match="no parent"):
        convert(nn.BatchNorm2d(3), torch.device("cpu"))
