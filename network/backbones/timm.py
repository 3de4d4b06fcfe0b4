"""Backbones of timm that return feature maps at strides 4, 8, 16 and 32 (extra `timm`)."""
from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from network.layers import resize
from network.model import Backbone

STRIDES = (4, 8, 16, 32)
# The size of a trial image, for which no model is made.
PROBE = (64, 96)
SUGGESTION = "resnet18d, convnext_tiny or pvt_v2_b1"


class TimmBackbone(Backbone):
    """A feature extractor of timm, a convolutional network or a hierarchical transformer.

    Shapes: (N, 3, H, W) -> four maps at strides 4, 8, 16 and 32.

    Maps in channels-last layout are permuted. If a transformer only takes sizes that its patches
    divide, images are first resized to the next such size.

    Args:
        name: a timm model, such as `resnet18d` or `convnext_tiny.fb_in22k`.
        pretrained: whether timm downloads its weights into its cache.

    Raises:
        ValueError: timm is not installed or does not know the name, or the model has no feature
            maps, no weights, other strides, or takes a single image size.
    """

    strides = STRIDES

    def __init__(self, name: str, pretrained: bool = False) -> None:
        super().__init__()
        self.name = name
        # `indices` are the positions of the four strides among the model's maps.
        self.model, self.indices = _create(name, pretrained)
        channels = self.model.feature_info.channels()
        self.out_channels = tuple(channels[index] for index in self.indices)
        self.is_channels_last = str(getattr(self.model, "output_fmt", "")).endswith("NHWC")
        # Images are resized to a multiple of this number of pixels.
        self.multiple = 1
        if not self._accepts((PROBE[0] + 1, PROBE[1] + 1)):
            self.multiple = STRIDES[0]
        if not self._accepts(PROBE):
            raise ValueError(
                f"timm's {name} takes images of {_input_size(name)} only, but scenes have any "
                f"size: choose a backbone without a fixed size, such as {SUGGESTION}")

    def forward(self, images: Tensor) -> list[Tensor]:
        if self.multiple > 1:
            images = resize(images, [-(-side // self.multiple) * self.multiple
                                     for side in images.shape[-2:]])
        maps = self.model(images)
        maps = [maps[index] for index in self.indices]
        if self.is_channels_last:
            maps = [features.permute(0, 3, 1, 2) for features in maps]
        return maps

    @torch.no_grad()
    def _accepts(self, size: tuple[int, int]) -> bool:
        """Returns whether the model takes an image of that (height, width)."""
        was_training = self.training
        self.eval()
        try:
            self(torch.zeros(1, 3, *size))
        # What the models of timm raise for a size that they do not take.
        except (AssertionError, RuntimeError, ValueError):
            return False
        finally:
            self.train(was_training)
        return True


def _create(name: str, pretrained: bool) -> tuple[Any, tuple[int, ...]]:
    """Returns timm's feature extractor and the indices of the four strides among its maps."""
    timm = _import_timm(name)
    if not timm.is_model(name):
        similar = ", ".join(timm.list_models(f"*{name.split('.')[0]}*")[:3])
        suggestion = f"; did you mean one of {similar}?" if similar else "."
        raise ValueError(f"timm has no model {name!r}{suggestion} timm.list_models() lists all.")
    try:
        model = _any_size(timm, name, {"features_only": True, "pretrained": pretrained})
    # The model has no feature maps, or no weights.
    except (AttributeError, RuntimeError) as error:
        raise ValueError(
            f"timm's {name} cannot be a backbone ({error}): choose another, such as {SUGGESTION}, "
            'or pass pretrained="none" if it has no weights') from error
    reductions: list[int] = list(model.feature_info.reduction())
    if any(stride not in reductions for stride in STRIDES):
        listed = ", ".join(map(str, reductions))
        raise ValueError(f"timm's {name} gives maps at strides {listed}, but a pyramid needs 4, 8, "
                         f"16 and 32: choose another, such as {SUGGESTION}")
    # Of several maps of one stride, the last.
    last = len(reductions) - 1
    return model, tuple(last - reductions[::-1].index(stride) for stride in STRIDES)


def _import_timm(name: str) -> Any:
    try:
        import timm
    except ImportError as error:
        raise ValueError(f"the backbone {name} comes from timm, which is not installed: "
                         "pip install timm") from error
    return timm


def _any_size(timm: Any, name: str, options: dict[str, Any]) -> Any:
    """Returns the model, without its fixed image size if it has an option for that."""
    if timm.get_pretrained_cfg(name, allow_unregistered=True).fixed_input_size:
        try:
            return timm.create_model(name, strict_img_size=False, **options)
        # The model has no such option.
        except TypeError:
            pass
    return timm.create_model(name, **options)


def _input_size(name: str) -> str:
    import timm
    size = timm.get_pretrained_cfg(name, allow_unregistered=True).input_size[1:]
    return "x".join(map(str, size))
