from __future__ import annotations

import pytest
import torch

import network
from network.heads.decouple import DecoupleHead, SqueezeBodyEdge


def features(height: int, width: int) -> torch.Tensor:
    return torch.randn(2, 4, height, width, generator=torch.Generator().manual_seed(0))


@torch.no_grad()
def test_body_and_edge_sum_up_to_the_map() -> None:
    split = SqueezeBodyEdge(4).eval()
    body, edge = split(features(12, 16))
    torch.testing.assert_close(body + edge, features(12, 16))
    assert edge.abs().max() > 0


@torch.no_grad()
def test_a_map_of_seven_pixels_is_split_and_a_smaller_one_refused() -> None:
    split = SqueezeBodyEdge(4).eval()
    assert split(features(7, 7))[0].shape == (2, 4, 7, 7)
    message = "6x8 is too small for that: use images of at least 49x49"
    with pytest.raises(ValueError, match=message):
        split(features(6, 8))


def test_training_also_gives_body_and_edge() -> None:
    head = DecoupleHead((4, 6), 3)
    maps = [features(16, 24), torch.randn(2, 6, 8, 12)]
    assert {name: tuple(logits.shape) for name, logits in head(maps).items()} == {
        "main": (2, 3, 16, 24), "body": (2, 3, 8, 12), "edge": (2, 1, 16, 24)}
    assert list(head.eval()(maps)) == ["main"]


def test_the_roles_of_the_parts_are_declared() -> None:
    head = DecoupleHead((4, 6), 3)
    assert head.classifier_names() == ["final_seg.6", "dsn_seg_body.3"]
    assert head.training_only_parts() == [head.edge_out, head.dsn_seg_body]
    assert head.has_body_edge_outputs


@pytest.mark.slow
def test_the_network_trains_on_body_and_edge() -> None:
    batch = torch.randn(2, 3, 64, 96, generator=torch.Generator().manual_seed(0))
    outputs = network.build("decouple_resnet50", 19).train()(batch)
    assert {name: tuple(logits.shape) for name, logits in outputs.items()} == {
        "main": (2, 19, 64, 96), "body": (2, 19, 64, 96), "edge": (2, 1, 64, 96)}


@pytest.mark.slow
def test_an_image_that_is_too_small_is_refused_with_the_least_size() -> None:
    net = network.build("decouple_resnet50", 19).eval()
    with pytest.raises(ValueError, match=r"6x8 is too small for that: use images of at least "
                                         r"49x49 pixels"):
        net(torch.zeros(1, 3, 48, 64))


def test_auxiliary_heads_are_refused() -> None:
    with pytest.raises(ValueError, match=r"decouple_resnet50: DecoupleSegNets has no auxiliary "
                                         r".*deep_supervision=False"):
        network.build("decouple_resnet50", 19, deep_supervision=True)
