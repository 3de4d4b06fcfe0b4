"""Bytes of tensors, against sums worked out by hand for a network of two layers."""
from __future__ import annotations

import pytest
import torch
from torch import nn

from tools.benchmark.storages import StorageTracker, rounded


@pytest.mark.parametrize("device", ["meta", "cpu"])
def test_the_peak_of_two_layers_is_the_sum_by_hand(device: str) -> None:
    with StorageTracker(device) as tracker:
        with torch.device(device):
            net = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1, bias=False), nn.ReLU(),
                                nn.Conv2d(4, 2, 1, bias=False))
            image = torch.zeros(1, 3, 64, 64)
        # two weights of at most 512 bytes, and 3 channels of 64x64 float32
        assert tracker.current == 2 * 512 + 3 * 64 * 64 * 4
        loss = net(image).sum()
        # the input, and what ReLU saves for the backward pass: its output of 4 channels
        assert tracker.current == 2 * 512 + (3 + 4) * 64 * 64 * 4 + 512
        loss.backward()
        # The peak is in the backward pass of ReLU: the input, its saved output, the gradient of
        # that output and the gradient of its input. Beside them the loss, the gradient of the loss
        # and of the second weight, each a block.
        assert tracker.peak == 2 * 512 + (3 + 3 * 4) * 64 * 64 * 4 + 3 * 512
        # weights, their gradients, the image and the loss are left
        assert tracker.current == 4 * 512 + 3 * 64 * 64 * 4 + 512


def test_a_view_counts_with_its_tensor_and_other_devices_not_at_all() -> None:
    with StorageTracker("meta") as tracker:
        values = torch.empty(1000, device="meta")
        views = [values[:500], values.view(10, 100), values.detach()]
        torch.empty(1000)
        # 4000 bytes in blocks of 512
        assert tracker.current == tracker.peak == rounded(4000) == 4096
        del values
        assert tracker.current == 4096
        del views
    assert tracker.current == 0 and tracker.peak == 4096
