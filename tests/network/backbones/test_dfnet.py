from __future__ import annotations

import pytest
import torch
from torch import nn

from network.backbones.dfnet import DFNetV1, DFNetV2
from network.model import Backbone


@torch.no_grad()
@pytest.mark.parametrize(("build", "sizes"), [
    (DFNetV1, [(4, 6), (2, 3), (2, 3)]),
    (DFNetV2, [(8, 12), (4, 6), (2, 3)]),
])
def test_three_maps_of_an_image_of_64x96(build: type[Backbone],
                                         sizes: list[tuple[int, int]]) -> None:
    maps = build().eval()(torch.zeros(1, 3, 64, 96))
    assert [tuple(features.shape[2:]) for features in maps] == sizes
    assert [features.shape[1] for features in maps] == [128, 256, 512]


@pytest.mark.parametrize(("build", "blocks"), [(DFNetV1, 10), (DFNetV2, 20)])
def test_each_block_has_two_convolutions(build: type[Backbone], blocks: int) -> None:
    with torch.device("meta"):
        backbone = build()
    convolutions = [module for module in backbone.modules()
                    if isinstance(module, nn.Conv2d) and module.kernel_size == (3, 3)]
    # Two more are those of the stem.
    assert len(convolutions) == 2 + 2 * blocks
