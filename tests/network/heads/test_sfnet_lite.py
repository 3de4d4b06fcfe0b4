from __future__ import annotations

import pytest
import torch
from torch import Tensor

from network.heads.sfnet_lite import SFNetLiteHead
from network.layers import resize


def maps(channels: tuple[int, ...]) -> list[Tensor]:
    """Maps of 16x24 cells and halvings of it."""
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(2, width, 16 >> level, 24 >> level, generator=generator)
            for level, width in enumerate(channels)]


@torch.no_grad()
@pytest.mark.parametrize("channels", [(4, 6, 8), (4, 5, 6, 8)])
def test_the_context_is_aligned_with_the_finest_map_and_the_middle_one_resized(
        channels: tuple[int, ...]) -> None:
    head, features = SFNetLiteHead(channels, 4, 3).eval(), maps(channels)
    fine, middle = head.fpn_in[0](features[0]), head.fpn_in[1](features[-2])
    aligned = head.flow_align_module(head.ppm(features[-1]), fine)
    expected = head.conv_last([aligned, resize(middle, (16, 24))])
    torch.testing.assert_close(head(features)["main"], expected)


def test_of_four_maps_the_second_is_not_read() -> None:
    features = [level.requires_grad_() for level in maps((4, 5, 6, 8))]
    SFNetLiteHead((4, 5, 6, 8), 4, 3)(features)["main"].square().sum().backward()
    assert [level.grad is not None for level in features] == [True, False, True, True]


def test_the_auxiliary_classifier_reads_the_context() -> None:
    outputs = SFNetLiteHead((4, 6, 8), 4, 3, deep_supervision=True)(maps((4, 6, 8)))
    assert {name: tuple(logits.shape) for name, logits in outputs.items()} == {
        "main": (2, 3, 16, 24), "aux0": (2, 3, 4, 6)}
