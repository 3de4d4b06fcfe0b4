"""One suite over every architecture of the registry."""
from __future__ import annotations

import copy
import time

import pytest
import torch
from torch import Tensor, nn

import network

NAMES = network.names()


def images(count: int, height: int, width: int) -> Tensor:
    return torch.randn(count, 3, height, width, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module", params=NAMES)
def net(request: pytest.FixtureRequest) -> nn.Module:
    """The network with 19 classes; a test that trains it takes a copy."""
    torch.manual_seed(0)
    return network.build(request.param, 19).eval()


@torch.no_grad()
@pytest.mark.parametrize("size", [(64, 96), (65, 97), (33, 50)])
def test_logits_have_the_images_size(net: nn.Module, size: tuple[int, int]) -> None:
    out = net(images(1, *size))
    assert list(out) == ["main"]
    assert out["main"].shape == (1, 19, *size)
    assert out["main"].isfinite().all()


@torch.no_grad()
def test_channels_last_changes_nothing(net: nn.Module) -> None:
    batch = images(2, 64, 64)
    expected = net(batch)["main"]
    found = copy.deepcopy(net).to(memory_format=torch.channels_last)(
        batch.contiguous(memory_format=torch.channels_last))["main"]
    torch.testing.assert_close(found, expected, atol=1e-4 * float(expected.abs().max()), rtol=0)


@torch.no_grad()
def test_bf16_is_close_to_fp32(net: nn.Module) -> None:
    batch = images(1, 64, 64)
    expected = net(batch)["main"]
    with torch.autocast("cpu", torch.bfloat16):
        found = net(batch)["main"]
    assert (found.float() - expected).abs().mean() <= 0.05 * expected.abs().mean()


def test_backward_reaches_every_parameter(net: nn.Module) -> None:
    net = copy.deepcopy(net).train()
    sum(logits.square().mean() for logits in net(images(2, 64, 64), upsample=False).values()).backward()
    assert [name for name, parameter in net.named_parameters()
            if parameter.grad is None or not parameter.grad.isfinite().all()] == []


@torch.no_grad()
def test_compiles_without_a_graph_break(net: nn.Module) -> None:
    batch = images(1, 64, 64)
    torch._dynamo.reset()
    compiled = torch.compile(net, fullgraph=True, backend="eager")
    torch.testing.assert_close(compiled(batch)["main"], net(batch)["main"])


@torch.no_grad()
def test_exports(net: nn.Module) -> None:
    batch = images(1, 64, 64)
    program = torch.export.export(net, (batch,))
    torch.testing.assert_close(program.module()(batch)["main"], net(batch)["main"])


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("num_classes", [2, 150])
def test_any_class_count_is_built_quickly_and_reads_no_file(name: str, num_classes: int,
                                                            monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("builtins.open", lambda *args, **kwargs: pytest.fail(f"opened {args[0]}"))
    start = time.process_time()
    net = network.build(name, num_classes).eval()
    assert time.process_time() - start < 2
    with torch.no_grad():
        assert net(images(1, 64, 64))["main"].shape == (1, num_classes, 64, 64)


def test_deep_supervision_adds_outputs_in_training_only() -> None:
    net = network.build("sfnet_dfnetv1", 19, deep_supervision=True)
    assert list(net(images(2, 64, 64))) == ["main", "aux0", "aux1"]
    assert list(net.eval()(images(2, 64, 64))) == ["main"]


def test_an_unknown_name_is_answered_with_the_nearest() -> None:
    with pytest.raises(ValueError, match=r"unknown architecture 'sfnet_resnet81'; did you mean sfnet_resnet18"):
        network.build("sfnet_resnet81", 19)


def test_fewer_than_two_classes_are_refused() -> None:
    with pytest.raises(ValueError, match="sfnet_dfnetv1: num_classes is 1, but a classifier needs at least 2"):
        network.build("sfnet_dfnetv1", 1)
