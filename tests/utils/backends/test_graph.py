from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

import network
from tests.tools.export.conftest import MEAN, STD
from utils.backends.graph import EXACT, Difference, ExportModule, compare, trace
from utils.batches import normalize


def test_a_difference_is_measured_by_logits_and_by_labels() -> None:
    # class 1 is preferred by 2
    expected = torch.stack([torch.zeros(1, 4, 4), torch.full((1, 4, 4), 2.0)], dim=1)
    labels = torch.ones(1, 4, 4, dtype=torch.int32)
    assert compare(expected, expected) == compare(expected, labels) == (0, 1)
    # 0.5 of at most 2; no label changes
    assert compare(expected, expected + 0.5) == (0.25, 1)
    labels[:, :1] = 0
    # a quarter wrong, by 2 of at most 2
    assert compare(expected, labels) == (1, 0.75)
    assert not Difference(0, 0.99).within(EXACT) and not Difference(0.01, 1).within(EXACT)
    assert Difference(1e-5, 0.9995).within(EXACT)


class Stubborn(nn.Module):
    """A network that looks at a value, which no tracer can."""

    def forward(self, images: Tensor, upsample: bool = True) -> dict[str, Tensor]:
        return {"main": images if images.sum() > 0 else -images}


def test_a_network_that_cannot_be_traced_says_why() -> None:
    module = ExportModule(Stubborn(), MEAN, STD, "normalized", "labels")
    with pytest.raises(ValueError, match=r"stubborn cannot be exported: .*[Dd]ata.dependent"):
        trace(module, (32, 32), (), "stubborn")


def test_bytes_are_normalized_inside() -> None:
    module = ExportModule(network.build("sfnet_dfnetv1", 3), MEAN, STD, "rgb", "labels")
    images = module.example((64, 96), batch=2)
    assert (images.dtype, images.shape) == (torch.uint8, (2, 3, 64, 96))
    assert (module(images).dtype, module(images).shape) == (torch.int32, (2, 64, 96))
    plain = ExportModule(module.net, MEAN, STD, "normalized", "logits")
    torch.testing.assert_close(plain(normalize(images, MEAN, STD)), module.logits(images))


def test_exported_logits_are_divided_by_the_temperature() -> None:
    plain = ExportModule(network.build("sfnet_dfnetv1", 3), MEAN, STD, "normalized", "logits")
    calibrated = ExportModule(plain.net, MEAN, STD, "normalized", "logits", 2.0)
    images = plain.example((64, 96))
    torch.testing.assert_close(calibrated(images), plain(images) / 2)
    labels = ExportModule(plain.net, MEAN, STD, "normalized", "labels", 2.0)
    assert torch.equal(labels(images), plain(images).argmax(1).to(torch.int32))
