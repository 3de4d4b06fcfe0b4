from __future__ import annotations

import pytest
import torch
from torch import nn

import network
from network.batch_statistics import check_batch_statistics
from network.model import SceneParser

# without an average over the whole image, which one image can never train
WITHOUT_POOLING = "dfsegnet_dfnetv1"
ARCHITECTURES = [WITHOUT_POOLING, "fpn_dfnetv1", "sfnet_lite_stdc1", "pspnet_resnet18"]


@pytest.fixture(params=ARCHITECTURES)
def net(request: pytest.FixtureRequest) -> SceneParser:
    return network.build(request.param, 3)


@pytest.mark.parametrize("size", [(32, 32), (32, 96), (64, 64)])
def test_the_check_refuses_exactly_what_the_training_would(
    net: SceneParser, size: tuple[int, int]
) -> None:
    def refuses(run: object) -> bool:
        try:
            run()  # type: ignore[operator]
        except ValueError:
            return True
        return False

    net.train()
    is_refused = refuses(lambda: check_batch_statistics(net, size, images=1))
    assert is_refused == refuses(lambda: net(torch.randn(1, 3, *size), upsample=False))
    check_batch_statistics(net, size, images=2)
    assert net(torch.randn(2, 3, *size), upsample=False)["main"].isfinite().all()


def test_the_message_names_layer_size_and_a_crop_that_is_large_enough() -> None:
    net = network.build(WITHOUT_POOLING, 3)
    with pytest.raises(ValueError, match=r"^the batch normalization (backbone\.\S+) sees one map "
                       r"of 1x1 for a crop of 32x32: .*\(crop_size=64x64\).*\(batch_size=2\).*"
                       r"\(fix_bn=True\)") as found:
        check_batch_statistics(net, (32, 32), images=1)
    name = str(found.value).split()[3]
    assert isinstance(net.get_submodule(name), nn.BatchNorm2d)
    check_batch_statistics(net, (64, 64), images=1)
    flags = network.with_flags(str(found.value))
    assert "--crop_size 64x64" in flags and "--bs_mult 2" in flags and "--fix_bn" in flags


def test_frozen_normalizations_need_no_statistics_and_the_network_is_left_alone() -> None:
    net = network.build(WITHOUT_POOLING, 3)
    net.freeze(norms=True)
    check_batch_statistics(net, (32, 32), images=1)
    assert {parameter.device.type for parameter in net.parameters()} == {"cpu"}
    assert not any(module._forward_pre_hooks for module in net.modules())


def test_a_timm_backbone_is_checked_too() -> None:
    pytest.importorskip("timm")
    net = network.build("fpn_timm:test_efficientnet", 3)
    with pytest.raises(ValueError, match=r"sees one map of 1x1|batch of one image"):
        check_batch_statistics(net, (32, 32), images=1)
