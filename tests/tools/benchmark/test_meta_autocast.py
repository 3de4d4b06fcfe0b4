"""What the meta device computes in half precision is what CUDA's autocast does."""
from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from tools.benchmark.meta_autocast import meta_autocast


def test_convolutions_are_in_half_and_normalizations_as_autocast_has_them() -> None:
    with torch.device("meta"):
        net = nn.Conv2d(3, 4, 3)
        image = torch.empty(1, 3, 8, 8)
    with meta_autocast("fp16"):
        features = net(image)
        assert features.dtype == torch.float16
        # batch norm and activations keep the type of their input
        assert nn.BatchNorm2d(4, device="meta")(features).dtype == torch.float16
        assert F.layer_norm(features, (6, 6)).dtype == torch.float32
        assert features.softmax(1).dtype == torch.float32
        assert F.linear(features, torch.empty(5, 6, device="meta")).dtype == torch.float16
        features.float().sum().backward()
    assert net.weight.grad is not None and net.weight.grad.dtype == torch.float32
    with meta_autocast("fp32"):
        assert net(image).dtype == torch.float32
    with meta_autocast("bf16"):
        assert net(image).dtype == torch.bfloat16
