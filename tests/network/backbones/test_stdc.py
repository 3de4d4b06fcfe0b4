from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from network.backbones.stdc import STDC, ShortTermDenseConcatenation, stdc1, stdc2


@torch.no_grad()
def test_all_outputs_of_a_module_are_concatenated() -> None:
    module = ShortTermDenseConcatenation(8, 16, stride=1).eval()
    features = torch.randn(1, 8, 5, 7)
    outputs = []
    for convolution in module.conv_list:
        features = convolution(features)
        outputs.append(features)
    # 16 / 2, 16 / 4, 16 / 8 and 16 / 8 channels
    assert [output.shape[1] for output in outputs] == [8, 4, 2, 2]
    torch.testing.assert_close(module(torch.zeros(1, 8, 5, 7)).shape, torch.Size((1, 16, 5, 7)))
    torch.manual_seed(0)
    image = torch.randn(1, 8, 5, 7)
    first = module.conv_list[0](image)
    second = module.conv_list[1](first)
    torch.testing.assert_close(module(image)[:, :12], torch.cat([first, second], dim=1))


@torch.no_grad()
def test_at_stride_2_the_first_output_is_pooled_into_the_concatenation() -> None:
    module = ShortTermDenseConcatenation(8, 16, stride=2).eval()
    image = torch.randn(1, 8, 6, 10)
    output = module(image)
    pooled = F.avg_pool2d(module.conv_list[0](image), 3, stride=2, padding=1)
    assert output.shape == (1, 16, 3, 5)
    torch.testing.assert_close(output[:, :8], pooled)


@pytest.mark.parametrize(("build", "ends"), [(stdc1, [2, 4, 6, 8]), (stdc2, [2, 6, 11, 14])])
def test_maps_are_taken_at_the_end_of_each_stage(build: type[STDC], ends: list[int]) -> None:
    backbone = build().eval()
    assert backbone.ends == ends
    with torch.no_grad():
        maps = backbone(torch.zeros(1, 3, 64, 96))
    assert [64 // features.shape[2] for features in maps] == [4, 8, 16, 32]
