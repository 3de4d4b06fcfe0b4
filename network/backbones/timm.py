"""Any backbone of timm that gives maps at strides 4, 8, 16 and 32 (extra `timm`)."""
from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from network.layers import resize
from network.model import Backbone

STRIDES = (4, 8, 16, 32)
PROBE = (64, 96)                                            # an image size that no network is fixed to
SUGGESTION = "resnet18d, convnext_tiny or pvt_v2_b1"


class TimmBackbone(Backbone):
    """A feature extractor of timm, convolutional or a hierarchical transformer.

    Maps in channels-last layout are permuted. Where a transformer takes only sizes that its patches divide, images are
    first resized to the next such size.

    Args:
        name: a model of timm, such as `resnet18d` or `convnext_tiny.fb_in22k`.
        pretrained: whether timm fetches its weights, and keeps them in its cache.

    Raises:
        ValueError: timm is not installed, does not know the name, has no feature maps or no weights for it, the
            strides are others, or the model takes one image size only.
    """

    strides = STRIDES

    def __init__(self, name: str, pretrained: bool = False) -> None:
        super().__init__()
        self.name = name
        self.model, chosen = _create(name, pretrained)
        self.out_channels = tuple(self.model.feature_info.channels()[index] for index in chosen)
        self.chosen = chosen
        self.is_channels_last = str(getattr(self.model, "output_fmt", "")).endswith("NHWC")
        self.multiple = 1                                   # images are resized to a multiple of so many pixels
        if not self._accepts((PROBE[0] + 1, PROBE[1] + 1)):
            self.multiple = STRIDES[0]
        if not self._accepts(PROBE):
            raise ValueError(f"timm's {name} takes images of {_input_size(name)} only, but scenes are of any size: "
                             f"choose a backbone without a fixed size, such as {SUGGESTION}")

    def forward(self, images: Tensor) -> list[Tensor]:
        """(N, 3, H, W) -> four maps, fine to coarse, at strides 4, 8, 16 and 32."""
        if self.multiple > 1:
            images = resize(images, [-(-side // self.multiple) * self.multiple for side in images.shape[-2:]])
        maps = self.model(images)
        maps = [maps[index] for index in self.chosen]
        return [each.permute(0, 3, 1, 2) for each in maps] if self.is_channels_last else maps

    @torch.no_grad()
    def _accepts(self, size: tuple[int, int]) -> bool:
        """Whether an image of that (height, width) goes through."""
        was_training = self.training
        self.eval()
        try:
            self(torch.zeros(1, 3, *size))
        except (AssertionError, RuntimeError, ValueError):  # what timm's models raise at a size they cannot take
            return False
        finally:
            self.train(was_training)
        return True


def _create(name: str, pretrained: bool) -> tuple[Any, tuple[int, ...]]:
    """Returns timm's feature extractor and the positions of the four strides among its maps."""
    try:
        import timm
    except ImportError as error:
        raise ValueError(f"the backbone {name} comes from timm, which is not installed: pip install timm") from error
    if not timm.is_model(name):
        near = ", ".join(timm.list_models(f"*{name.split('.')[0]}*")[:3])
        raise ValueError(f"timm has no model {name!r}" + (f"; did you mean one of {near}?" if near else ".")
                         + " timm.list_models() lists all.")
    options: dict[str, Any] = {"features_only": True, "pretrained": pretrained}
    try:
        model = _any_size(timm, name, options)
    except (AttributeError, RuntimeError) as error:         # no feature maps, or no weights
        raise ValueError(f"timm's {name} cannot be a backbone ({error}): choose another, such as {SUGGESTION}, "
                         "or --pretrained none where it has no weights") from error
    reductions: list[int] = list(model.feature_info.reduction())
    if any(stride not in reductions for stride in STRIDES):
        raise ValueError(f"timm's {name} gives maps at strides {', '.join(map(str, reductions))}, but a pyramid needs "
                         f"4, 8, 16 and 32: choose another, such as {SUGGESTION}")
    return model, tuple(len(reductions) - 1 - reductions[::-1].index(stride) for stride in STRIDES)


def _any_size(timm: Any, name: str, options: dict[str, Any]) -> Any:
    """Creates the model, free of its fixed image size where it knows how to be."""
    if timm.get_pretrained_cfg(name, allow_unregistered=True).fixed_input_size:
        try:
            return timm.create_model(name, strict_img_size=False, **options)
        except TypeError:                                   # it knows no such option
            pass
    return timm.create_model(name, **options)


def _input_size(name: str) -> str:
    import timm
    return "x".join(map(str, timm.get_pretrained_cfg(name, allow_unregistered=True).input_size[1:]))
