from __future__ import annotations

import torch

from network.heads.dfsegnet import DFSegHead
from network.layers import resize

CHANNELS = (4, 6, 8)
MAPS = [torch.randn(2, channels, 16 >> level, 24 >> level,
                    generator=torch.Generator().manual_seed(level))
        for level, channels in enumerate(CHANNELS)]


@torch.no_grad()
def test_a_fusion_convolves_the_sum_of_the_finer_and_the_resized_coarser_map() -> None:
    head = DFSegHead(CHANNELS, 4, 3).eval()
    coarse, middle, fine = (head.controllers[level](MAPS[level]) for level in (2, 1, 0))
    fused = head.fusions[1](middle + resize(coarse, (8, 12)))
    fused = head.fusions[0](fine + resize(fused, (16, 24)))
    torch.testing.assert_close(head(MAPS)["main"], head.conv_last(fused))


def test_auxiliary_logits_are_those_of_the_coarser_inputs() -> None:
    outputs = DFSegHead(CHANNELS, 4, 3, deep_supervision=True)(MAPS)
    assert {name: tuple(logits.shape) for name, logits in outputs.items()} == {
        "main": (2, 3, 16, 24), "aux0": (2, 3, 4, 6), "aux1": (2, 3, 8, 12)}


def test_one_image_trains() -> None:
    logits = DFSegHead(CHANNELS, 4, 3)([features[:1] for features in MAPS])["main"]
    assert logits.isfinite().all()
