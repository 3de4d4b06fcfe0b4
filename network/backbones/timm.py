"""Backbones of timm that return feature maps at strides 4, 8, 16 and 32 (extra `timm`)."""
from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.func import functional_call

from network.layers import resize
from network.model import Backbone
from network.normalization import Normalization

STRIDES = (4, 8, 16, 32)
# Images are resized to a multiple of the first of these numbers of pixels that the model takes.
# Convolutional models with parallel branches need 32, windows of a transformer 4.
MULTIPLES = (1, 4, 8, 16, 32, 64)
SUGGESTION = "resnet18d, convnext_tiny or pvt_v2_b1"


class StrideNotOffered(ValueError):
    """The timm model has no option `output_stride`, or not for this value."""


class TimmBackbone(Backbone):
    """A feature extractor of timm, a convolutional network or a hierarchical transformer.

    Shapes: (N, 3, H, W) -> four maps at strides 4, 8, 16 and 32, each at most `output_stride`.

    Maps in channels-last layout are permuted. If a model only takes sizes that its patches or
    strides divide, images are first resized to the next such size.

    Args:
        name: a timm model, such as `resnet18d` or `convnext_tiny.fb_in22k`.
        pretrained: whether timm downloads its weights into its cache.
        output_stride: of the coarsest map: 8, 16 or 32.

    Raises:
        StrideNotOffered: the model has no such output stride.
        ValueError: timm is not installed or does not know the name; or the model has no feature
            maps, no weights or other strides, or takes images of a single size only.
    """

    def __init__(self, name: str, pretrained: bool = False, output_stride: int = 32) -> None:
        super().__init__()
        self.name = name
        self.strides = tuple(min(stride, output_stride) for stride in STRIDES)
        # `indices` are the positions of the four maps among those of the model.
        self.model, self.indices = _create(name, pretrained, self.strides)
        self.normalization = _normalization(name)
        channels = self.model.feature_info.channels()
        self.out_channels = tuple(channels[index] for index in self.indices)
        self.is_channels_last = str(getattr(self.model, "output_fmt", "")).endswith("NHWC")
        self.multiple = next(filter(self._accepts_multiples_of, MULTIPLES), 0)
        if not self.multiple:
            raise ValueError(
                f"timm's {name} takes images of {_input_size(name)} only, but scenes have any "
                f"size: choose a backbone without a fixed size, such as {SUGGESTION}")

    def forward(self, images: Tensor) -> list[Tensor]:
        if self.multiple > 1:
            # -(-a // b) is a / b, rounded up
            images = resize(images, [-(-side // self.multiple) * self.multiple
                                     for side in images.shape[-2:]])
        maps = self.model(images)
        maps = [maps[index] for index in self.indices]
        if self.is_channels_last:
            maps = [features.permute(0, 3, 1, 2) for features in maps]
        return maps

    def _accepts_multiples_of(self, multiple: int) -> bool:
        """Returns whether the model takes images whose sides are multiples of a number of pixels.

        Tried are sides with an odd number of cells at each stride, for models that round it up
        (65 pixels are 33, 17, 9, ... cells) and for those that round it down (127: 63, 31, 15).
        """
        self.multiple = 1
        up, down = (64 // multiple + 1) * multiple, max(1, 128 // multiple - 1) * multiple
        even = 64 + 64 % multiple
        return all(map(self._accepts, ((up, down), (down, up), (even, even + multiple))))

    def _accepts(self, size: tuple[int, int]) -> bool:
        """Returns whether the model takes an image of that (height, width)."""
        # Without data a forward pass is fast, but some models need data for it.
        meta = {name: tensor.to("meta") for name, tensor
                in (*self.named_parameters(), *self.named_buffers())}
        return (self._runs(lambda: functional_call(self, meta, torch.zeros(1, 3, *size,
                                                                           device="meta")))
                or self._runs(lambda: self(torch.zeros(1, 3, *size))))

    @torch.no_grad()
    def _runs(self, forward: Callable[[], Any]) -> bool:
        """Returns whether a forward pass of the model succeeds."""
        was_training = self.training
        self.eval()
        try:
            forward()
        # What the models of timm raise for a size that they do not take.
        except (AssertionError, NotImplementedError, RuntimeError, ValueError):
            return False
        finally:
            self.train(was_training)
        return True


def timm_backbone(name: str, output_stride: int | None = None,
                  preferred_stride: int = 32) -> TimmBackbone:
    """Returns the backbone with `output_stride`.

    If it is None, the backbone has the preferred stride if timm offers it, and otherwise 32.

    Raises:
        ValueError: as `TimmBackbone`.
    """
    if output_stride is not None:
        return TimmBackbone(name, output_stride=output_stride)
    try:
        return TimmBackbone(name, output_stride=preferred_stride)
    except StrideNotOffered:
        return TimmBackbone(name)


def _create(name: str, pretrained: bool,
            strides: tuple[int, ...]) -> tuple[Any, tuple[int, ...]]:
    """Returns timm's feature extractor and the indices of the strides among its maps."""
    timm = _import_timm(name)
    if not timm.is_model(name):
        similar = ", ".join(timm.list_models(f"*{name.split('.')[0]}*")[:3])
        suggestion = f"; did you mean one of {similar}?" if similar else "."
        raise ValueError(f"timm has no model {name!r}{suggestion} timm.list_models() lists all.")
    options = {"features_only": True, "pretrained": pretrained}
    if strides != STRIDES:
        return _create_dilated(timm, name, options, strides)
    try:
        model = _any_size(timm, name, options)
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
    return model, _last_indices(reductions, STRIDES)


def _create_dilated(timm: Any, name: str, options: dict[str, Any],
                    strides: tuple[int, ...]) -> tuple[Any, tuple[int, ...]]:
    """As `_create`, with dilated convolutions in place of the strides beyond the last one."""
    try:
        model = _any_size(timm, name, {**options, "output_stride": strides[-1]})
        indices = _last_indices(list(model.feature_info.reduction()), strides)
    # What the models of timm raise for an option or a value that they do not take.
    except (AssertionError, AttributeError, RuntimeError, TypeError, ValueError) as error:
        raise StrideNotOffered(f"timm's {name} has no output_stride={strides[-1]}: leave it out, "
                               "or choose another backbone, such as resnet18d") from error
    return model, indices


def _last_indices(reductions: list[int], strides: tuple[int, ...]) -> tuple[int, ...]:
    """Returns different indices of maps with these strides, each the last that is possible.

    Args:
        reductions: the strides of all maps.
        strides: the strides to look for; a stride may occur several times.

    Raises:
        ValueError: there are no such maps.
    """
    indices: list[int] = []
    end = len(reductions)
    for stride in reversed(strides):
        end -= 1 + reductions[:end][::-1].index(stride)
        indices.insert(0, end)
    return tuple(indices)


def _import_timm(name: str) -> Any:
    try:
        import timm
    # a broken package may raise an error of any type
    except Exception as error:
        if isinstance(error, ModuleNotFoundError) and error.name == "timm":
            raise ValueError(f"the backbone {name} comes from timm, which is not installed: "
                             "pip install timm") from error
        message = " ".join(str(error).split())
        raise ValueError(f"the backbone {name} comes from timm, which is installed but cannot be "
                         f"imported ({type(error).__name__}: {message}): check that torchvision "
                         "belongs to this torch, or pip install --force-reinstall --no-deps "
                         "timm") from error
    return timm


def _normalization(name: str) -> Normalization | None:
    """Returns the normalization that timm declares for the model's weights, None without one."""
    import timm
    config = timm.get_pretrained_cfg(name)
    if config is None or not config.mean or not config.std:
        return None
    return Normalization(tuple(config.mean), tuple(config.std))


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
