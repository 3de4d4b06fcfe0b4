from __future__ import annotations

import torch

from network.heads.deeplab import DeepLabV3PlusHead, double_conv_classifier
from network.layers import resize

CHANNELS = (4, 5, 6)
MAPS = [torch.randn(2, channels, 16 >> level, 24 >> level,
                    generator=torch.Generator().manual_seed(level))
        for level, channels in enumerate(CHANNELS)]


@torch.no_grad()
def test_the_fine_map_comes_before_the_upsampled_pyramid() -> None:
    head = DeepLabV3PlusHead(CHANNELS, 3).eval()
    pyramid = resize(head.bot_aspp(head.aspp(MAPS[-1])), (16, 24))
    expected = head.final(torch.cat([head.bot_fine(MAPS[0]), pyramid], dim=1))
    torch.testing.assert_close(head(MAPS)["main"], expected)


def test_the_auxiliary_logits_have_the_size_of_the_second_coarsest_map() -> None:
    outputs = DeepLabV3PlusHead(CHANNELS, 3, deep_supervision=True)(MAPS)
    assert {name: tuple(logits.shape) for name, logits in outputs.items()} == {
        "main": (2, 3, 16, 24), "aux0": (2, 3, 8, 12)}


def test_the_classifiers_are_declared() -> None:
    head = DeepLabV3PlusHead(CHANNELS, 3, deep_supervision=True)
    assert head.classifier_names() == ["final.6", "dsn.4"]


def test_the_classifier_is_two_convolutions_and_one_without_bias() -> None:
    classifier = double_conv_classifier(8, 3)
    # 3x3: 8 x 256 and 256 x 256, each with scale and shift of BN; 1x1: 256 x 3.
    expected = 9 * (8 + 256) * 256 + 2 * 2 * 256 + 256 * 3
    assert sum(parameter.numel() for parameter in classifier.parameters()) == expected
