"""Whether networks can be run in OpenVINO here, and a network that is converted in a second."""
from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from network.alignment import warp
from utils.backends import runtimes
from utils.backends.formats import FORMATS


def need_openvino() -> None:
    """Skips the test, or the module that calls it, where OpenVINO would be refused."""
    try:
        FORMATS["openvino"].require("--format openvino")
    except ValueError as error:
        pytest.skip(str(error), allow_module_level=True)


def hide_openvino(patch: pytest.MonkeyPatch) -> None:
    """Makes `--backend auto` torch, as without OpenVINO: a conversion takes seconds."""
    row = runtimes.BACKENDS["openvino"]
    assert row is not None
    patch.setitem(runtimes.BACKENDS, "openvino", row._replace(package="absent"))


class TinyNetwork(nn.Module):
    """A convolution at half the size of the images, shifted by a flow: the operators of SFNet."""

    def __init__(self, num_classes: int = 3) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.features = nn.Conv2d(3, num_classes, 3, stride=2, padding=1)
        self.flow = nn.Conv2d(num_classes, 2, 3, padding=1)

    def forward(self, images: Tensor, upsample: bool = True) -> dict[str, Tensor]:
        features = self.features(images)
        logits = warp(features, self.flow(features))
        if upsample:
            logits = nn.functional.interpolate(logits, size=images.shape[-2:], mode="bilinear",
                                               align_corners=True)
        return {"main": logits}
