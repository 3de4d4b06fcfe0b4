from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

import network
from network.alignment import BilinearUpsample, FlowAlignment
from network.heads.sfnet import FPNHead, SFNetHead
from network.layers import resize

CHANNELS = (4, 6, 8)


def maps(count: int = 2) -> list[Tensor]:
    """Maps of 12x16, 6x8 and 3x4 cells."""
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(count, channels, 12 >> level, 16 >> level, generator=generator)
            for level, channels in enumerate(CHANNELS)]


def images(count: int, height: int, width: int) -> Tensor:
    return torch.randn(count, 3, height, width, generator=torch.Generator().manual_seed(0))


@torch.no_grad()
def test_the_pyramid_is_the_papers_formula() -> None:
    head, features = SFNetHead(CHANNELS, 4, 3).eval(), maps()
    coarse = head.ppm(features[2])
    lateral = head.fpn_in[1](features[1])
    middle = lateral + head.fpn_out_align[1](coarse, lateral)
    lateral = head.fpn_in[0](features[0])
    fine = lateral + head.fpn_out_align[0](middle, lateral)
    levels = [head.fpn_out[0](fine), resize(head.fpn_out[1](middle), (12, 16)),
              resize(coarse, (12, 16))]
    torch.testing.assert_close(head(features)["main"], head.conv_last(levels))


def test_auxiliary_logits_come_from_coarse_to_fine() -> None:
    outputs = SFNetHead(CHANNELS, 4, 3, deep_supervision=True)(maps())
    assert {name: tuple(logits.shape) for name, logits in outputs.items()} == {
        "main": (2, 3, 12, 16), "aux0": (2, 3, 6, 8), "aux1": (2, 3, 12, 16)}


@pytest.mark.parametrize("options", [
    {"fam_levels": ()}, {"fam_levels": (0, 2)}, {"final_fams": True}, {"context": "sum"},
    {"output_stride": 8}, {"output_stride": 16},
], ids=str)
def test_options_of_the_papers_run_and_train(options: dict[str, Any]) -> None:
    net = network.build("sfnet_resnet18", 19, **options)
    logits = net(images(2, 64, 96))["main"]
    assert logits.shape == (2, 19, 64, 96)
    logits.square().mean().backward()
    assert all(parameter.grad is not None for parameter in net.parameters())


def test_without_any_alignment_an_sfnet_is_the_fpn() -> None:
    fpn = network.build("fpn_resnet18", 19)
    ablated = network.build("sfnet_resnet18", 19, fam_levels=())
    ablated.load_state_dict(fpn.state_dict())
    batch = images(1, 32, 64)
    with torch.no_grad():
        assert torch.equal(fpn.eval()(batch)["main"], ablated.eval()(batch)["main"])


def test_the_baseline_resizes_everywhere() -> None:
    head = FPNHead(CHANNELS, 4, 3)
    assert all(isinstance(module, BilinearUpsample) for module in head.fpn_out_align)
    assert not head.fuse_align


def test_fam_levels_name_the_keys_that_are_there() -> None:
    keys = network.build("sfnet_resnet18", 19, fam_levels=(1,)).state_dict()
    assert {key.split(".")[2] for key in keys if ".fpn_out_align." in key} == {"1"}


def test_final_fams_align_the_last_fusion() -> None:
    aligned = SFNetHead(CHANNELS, 4, 3, final_fams=True).fuse_align
    assert [type(module) for module in aligned] == [FlowAlignment, FlowAlignment]


@pytest.mark.parametrize("level", [-1, 2])
def test_a_level_that_does_not_exist_is_refused(level: int) -> None:
    with pytest.raises(ValueError, match=rf"fam_levels=\(0, {level}\) names a level that does not "
                                         r"exist: the levels here are 0 \(the finest\) to 1"):
        SFNetHead(CHANNELS, 4, 3, fam_levels=(0, level))
