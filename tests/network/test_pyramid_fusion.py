"""The last fusion of a pyramid gives the same logits in chunks, and before or after upsampling."""
from __future__ import annotations

from unittest import mock

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from network import build, fuse_for_inference, pyramid_fusion
from network.layers import resize
from network.pyramid_fusion import (
    CHUNK_ROWS,
    Fusion,
    convolve_pyramid,
    convolve_upsampled,
    relative_cost,
)

# (h, w) of a map and (H, W) to which it is upsampled
SIZES = [((5, 7), (10, 14)), ((5, 7), (9, 13)), ((3, 4), (23, 29)), ((1, 1), (4, 6)),
         ((1, 3), (1, 6)), ((2, 2), (2, 2))]


class Tallest(nn.Module):
    """Passes maps on, and records the largest number of rows that it was given."""

    rows = 0

    def forward(self, maps: Tensor) -> Tensor:
        self.rows = max(self.rows, maps.shape[2])
        return maps


@pytest.mark.parametrize("height", [1, CHUNK_ROWS - 1, CHUNK_ROWS, CHUNK_ROWS + 1,
                                    3 * CHUNK_ROWS + 5])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_a_chunked_fusion_gives_the_same_logits(height: int, layout: torch.memory_format) -> None:
    torch.manual_seed(0)
    fusion = Fusion(8, 6, 3).eval().to(memory_format=layout)
    maps = [torch.randn(2, 5, height, 11).to(memory_format=layout)]
    coarser = [torch.randn(2, 3, (height + 1) // 2, 6).to(memory_format=layout)]
    tallest = Tallest()
    with torch.no_grad():
        whole = fusion(maps, coarser)
        fusion.chunked = True
        fusion[0].insert(0, tallest)
        torch.testing.assert_close(fusion(maps, coarser), whole, rtol=1e-5, atol=1e-6)
    assert tallest.rows <= CHUNK_ROWS + 2


def test_a_fused_network_works_in_chunks_and_the_original_does_not() -> None:
    net = build("sfnet_dfnetv1", 3)
    assert not net.head.conv_last.chunked
    assert fuse_for_inference(net).head.conv_last.chunked


@pytest.mark.parametrize(("small", "large"), SIZES)
def test_convolving_before_upsampling_gives_the_same_map(
        small: tuple[int, int], large: tuple[int, int]) -> None:
    torch.manual_seed(0)
    features, weight = torch.randn(2, 4, *small), torch.randn(6, 4, 3, 3)
    expected = F.conv2d(resize(features, large), weight, padding=1)
    output = convolve_upsampled(features, weight, large)
    torch.testing.assert_close(output, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("small", "large"), SIZES)
def test_convolving_before_upsampling_gives_the_same_gradients(
        small: tuple[int, int], large: tuple[int, int]) -> None:
    torch.manual_seed(0)
    inputs = [torch.randn(2, 4, *small, dtype=torch.float64).requires_grad_(),
              torch.randn(6, 4, 3, 3, dtype=torch.float64).requires_grad_()]
    toward = torch.randn(2, 6, *large, dtype=torch.float64)
    expected = torch.autograd.grad(
        F.conv2d(resize(inputs[0], large), inputs[1], padding=1), inputs, toward)
    gradients = torch.autograd.grad(
        convolve_upsampled(inputs[0], inputs[1], large), inputs, toward)
    torch.testing.assert_close(gradients, expected)


def test_only_small_maps_are_convolved_before_upsampling() -> None:
    maps = [torch.randn(1, 8, 24, 24)]
    # upsampled 2 times with 8 channels, and 8 times
    coarser = [torch.randn(1, 8, 12, 12), torch.randn(1, 8, 3, 3)]
    weight = torch.randn(5, 24, 3, 3)
    expected = F.conv2d(torch.cat([*maps, *(resize(level, (24, 24)) for level in coarser)], dim=1),
                        weight, padding=1)
    with mock.patch.object(pyramid_fusion, "convolve_upsampled",
                           side_effect=convolve_upsampled) as before:
        output = convolve_pyramid(maps, coarser, weight)
    torch.testing.assert_close(output, expected, rtol=1e-5, atol=1e-4)
    assert [call.args[0].shape[2] for call in before.call_args_list] == [3]


def test_the_cost_counts_multiply_adds() -> None:
    taps, rows, columns = 9 * 128 * 45 * 60, 90 * (3 * 45) * (3 * 60), 90 * 120 * (3 * 60)
    convolution = 9 * 128 * 90 * 120
    assert relative_cost((4, 128, 45, 60), (90, 120)) == (taps + rows + columns) / convolution


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_in_training_a_fusion_computes_the_same_logits_before_upsampling(
        layout: torch.memory_format) -> None:
    torch.manual_seed(0)
    fusion = Fusion(48, 6, 3).train().to(memory_format=layout)
    maps = [torch.randn(2, 16, 12, 16).to(memory_format=layout)]
    coarser = [torch.randn(2, 16, 6, 8).to(memory_format=layout),
               torch.randn(2, 16, 3, 4).to(memory_format=layout)]
    concatenated = torch.cat([*maps, *(resize(level, (12, 16)) for level in coarser)], dim=1)
    with mock.patch.object(pyramid_fusion, "convolve_upsampled",
                           side_effect=convolve_upsampled) as before:
        logits = fusion(maps, coarser)
    assert before.call_count == 2
    expected = nn.Sequential.forward(fusion, concatenated)
    torch.testing.assert_close(logits, expected, rtol=1e-4, atol=1e-5)
