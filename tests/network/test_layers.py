from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from network import build, fuse_for_inference
from network.layers import BAND_ROWS, Fusion


class Tallest(nn.Module):
    """Passes maps on, and remembers the most rows that it was given at once."""

    rows = 0

    def forward(self, maps: Tensor) -> Tensor:
        self.rows = max(self.rows, maps.shape[2])
        return maps


@pytest.mark.parametrize("height", [1, BAND_ROWS - 1, BAND_ROWS, BAND_ROWS + 1, 3 * BAND_ROWS + 5])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_a_fusion_in_bands_gives_the_same_logits(height: int, layout: torch.memory_format) -> None:
    torch.manual_seed(0)
    fusion = Fusion(8, 6, 3).eval().to(memory_format=layout)
    maps = [torch.randn(2, channels, height, 11).to(memory_format=layout) for channels in (5, 3)]
    seen = Tallest()
    with torch.no_grad():
        whole = fusion(maps)
        fusion.chunked = True
        fusion[0].insert(0, seen)
        torch.testing.assert_close(fusion(maps), whole, rtol=1e-5, atol=1e-6)
    assert seen.rows <= BAND_ROWS + 2


def test_a_deployed_network_fuses_in_bands_and_the_original_at_once() -> None:
    net = build("sfnet_dfnetv1", 3)
    assert not net.head.conv_last.chunked
    assert fuse_for_inference(net).head.conv_last.chunked
