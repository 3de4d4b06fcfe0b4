from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from network.context import (
    AdaptiveAveragePooling,
    AtrousPyramidPooling,
    PyramidPooling,
    SummedPyramidPooling,
    make_context,
)
from network.layers import resize


@pytest.mark.parametrize("cells", [1, 2, 3, 6])
@pytest.mark.parametrize("size", [(6, 12), (4, 8), (5, 7), (1, 1), (33, 65)])
def test_pooling_by_matrices_is_adaptive_average_pooling(cells: int, size: tuple[int, int]) -> None:
    features = torch.randn(2, 3, *size, generator=torch.Generator().manual_seed(0))
    expected = F.adaptive_avg_pool2d(features, cells)
    actual = AdaptiveAveragePooling(cells)(features)
    torch.testing.assert_close(actual, expected, atol=1e-5, rtol=1e-5)


def test_pooling_one_row_by_hand() -> None:
    # Five positions into two cells: from floor(0) to ceil(2.5) = 3 and from floor(2.5) = 2 to 5, so
    # the middle is in both.
    row = torch.tensor([[[[1.0, 2.0, 3.0, 4.0, 8.0]]]])
    torch.testing.assert_close(AdaptiveAveragePooling(2)(row)[0, 0, 0], torch.tensor([2.0, 5.0]))


def test_the_pyramid_comes_first_and_the_input_last() -> None:
    module = PyramidPooling(4, 2).eval()
    assert module.bottleneck[0].in_channels == 4 * 2 + 4
    with torch.no_grad():
        # Only the input is left.
        module.bottleneck[0].weight[:, :8] = 0
    features = torch.randn(1, 4, 5, 7)
    convolved = F.conv2d(features, module.bottleneck[0].weight[:, 8:])
    expected = module.bottleneck[2](module.bottleneck[1](convolved))
    torch.testing.assert_close(module(features), expected)


def test_dropout_is_a_module_of_whole_channels() -> None:
    dropout = PyramidPooling(4, 2).bottleneck[3]
    assert isinstance(dropout, nn.Dropout2d)
    assert dropout.p == 0.1


@pytest.mark.parametrize("kind", [PyramidPooling, SummedPyramidPooling, AtrousPyramidPooling])
def test_a_single_image_in_training_is_refused_with_a_remedy(kind: type[nn.Module]) -> None:
    with pytest.raises(ValueError, match=r"batch of one image: .*2 images per process "
                                         r"\(batch_size=2\).*several GPUs"):
        kind(4, 2)(torch.zeros(1, 4, 5, 7))
    kind(4, 2).eval()(torch.zeros(1, 4, 5, 7))


def test_the_sum_variant_adds_its_levels_and_the_projected_input() -> None:
    module = SummedPyramidPooling(4, 3).eval()
    features = torch.randn(2, 4, 5, 7)
    levels = [resize(stage(features), (5, 7)) for stage in module.stages]
    torch.testing.assert_close(module(features), F.relu(sum(levels) + module.project(features)))


def test_the_sum_variant_is_smaller() -> None:
    def count(module: nn.Module) -> int:
        return sum(parameter.numel() for parameter in module.parameters())

    # Five 1x1 convolutions 512-128 with BN, against four and the merging one of 4 x 128 + 512 to
    # 128.
    assert count(SummedPyramidPooling(512, 128)) == 5 * (512 * 128 + 256)
    assert count(PyramidPooling(512, 128)) == 4 * (512 * 128 + 256) + 1024 * 128 + 256


def test_atrous_pooling_puts_the_images_average_first() -> None:
    module = AtrousPyramidPooling(4, 3).eval()
    features = torch.randn(1, 4, 5, 7)
    out = module(features)
    assert out.shape == (1, 5 * 3, 5, 7)
    average = module.img_conv(features.mean((2, 3), keepdim=True)).expand(-1, -1, 5, 7)
    torch.testing.assert_close(out[:, :3], average)
    assert [branch[0].dilation[0] for branch in module.features] == [1, 12, 24, 36]


@pytest.mark.parametrize(("name", "kind"), [("ppm", PyramidPooling), ("sum", SummedPyramidPooling)])
def test_a_context_is_made_by_name(name: str, kind: type[nn.Module]) -> None:
    assert type(make_context(name, 4, 2)) is kind


def test_an_unknown_context_is_refused() -> None:
    with pytest.raises(ValueError, match='unknown context="aspp": choose ppm or sum'):
        make_context("aspp", 4, 2)
