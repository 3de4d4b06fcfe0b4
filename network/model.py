"""The base classes of a network: `Backbone`, `Head`, and `SceneParser`, which joins the two."""
from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from network.layers import resize
from network.normalization import IMAGENET, Normalization
from network.training_heads import TrainingHeads


class Backbone(nn.Module):
    """Base class of backbones: images (N, 3, H, W) -> list of feature maps (N, C_i, H_i, W_i).

    The maps are ordered from fine to coarse.

    Attributes:
        out_channels: C_i of each map.
        strides: H / H_i of each map.
        normalization: of the images that its ImageNet weights expect; None if it is unknown.
    """

    normalization: Normalization | None = IMAGENET

    out_channels: tuple[int, ...]
    strides: tuple[int, ...]


class Head(nn.Module):
    """Base class of heads: maps (N, C_i, H_i, W_i), fine to coarse -> dict of logits.

    The dict always holds `main`, (N, K, h, w). A head is built by
    `head(in_channels=..., num_classes=..., deep_supervision=...)`. The class attributes below list
    the roles of its submodules, by their attribute names; a submodule may be absent or None.

    Attributes:
        classifiers: submodules whose last convolution has one output channel per class, or
            `nn.ModuleList`s of such submodules. The first of them computes `main`.
        auxiliary: submodules for deep supervision. A checkpoint may lack them, and may be loaded
            into a network without them.
        training_only: submodules that run in training mode only, `auxiliary` among them.
        has_body_edge_outputs: whether the head also returns `body` and `edge` in training mode.
    """

    classifiers: tuple[str, ...] = ("conv_last", "dsn")
    auxiliary: tuple[str, ...] = ("dsn",)
    training_only: tuple[str, ...] = ("dsn",)
    has_body_edge_outputs = False

    def classifier_names(self) -> list[str]:
        """Returns the names, within the head, of the convolutions with one channel per class."""
        names: list[str] = []
        for name in self.classifiers:
            names += _last_convolutions(name, getattr(self, name, None))
        return names

    def training_only_parts(self) -> list[nn.Module]:
        """Returns the submodules that run in training mode only."""
        return [part for name, part in self.named_children() if name in self.training_only]

    def drop_training_only(self) -> None:
        """Removes the submodules that run in training mode only; then training is impossible."""
        for name in self.training_only:
            if getattr(self, name, None) is not None:
                setattr(self, name, None)


class SceneParser(nn.Module):
    """A semantic segmentation network: the head's logits for the backbone's maps.

    Attributes:
        backbone: its parameters are named `backbone.*`.
        head: its parameters are named `head.*`.
        training_heads: further outputs in training mode, see `add_training_heads`; None without.
        normalization: of its input. Programs read it here alone: `train.py` sets it for a training,
            and `network.checkpoints.snapshot` for a trained network.
        config: the `ModelConfig` of a network from `network.from_pretrained`; None for others.
    """

    normalization: Normalization = IMAGENET
    config: Any = None

    def __init__(self, backbone: Backbone, head: Head) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = head
        self.training_heads: TrainingHeads | None = None
        self.frozen_backbone = False
        self.frozen_norms = False
        self.frozen_training_only = False

    def add_training_heads(self, **outputs: Any) -> None:
        """Adds outputs that only a training needs, with random weights.

        Args:
            outputs: the keyword arguments of `TrainingHeads`; without a value, nothing is added.
        """
        if any(outputs.values()):
            self.training_heads = TrainingHeads(self.backbone.out_channels, **outputs)

    def drop_training_only(self) -> None:
        """Removes everything that runs in training mode only; then training is impossible."""
        self.head.drop_training_only()
        self.training_heads = None

    def freeze(self, *, backbone: bool = False, norms: bool = False,
               training_only: bool = False) -> None:
        """Excludes submodules from training: they get no gradients and stay in evaluation mode.

        Args:
            backbone: freezes the whole backbone; its dropout is off, and its batch norms use their
                running statistics.
            norms: freezes every batch norm of backbone and head; it uses its running statistics and
                keeps its scale and shift. Those of `training_heads` learn: no file has statistics
                of them.
            training_only: freezes the submodules of the head that run in training mode only. This
                is needed if the criterion reads none of their outputs: distributed training waits
                for the gradient of every trainable parameter.
        """
        self.frozen_backbone = backbone
        self.frozen_norms = norms
        self.frozen_training_only = training_only
        for module in self._frozen():
            module.requires_grad_(False)
        self.train(self.training)

    def train(self, mode: bool = True) -> SceneParser:
        super().train(mode)
        for module in self._frozen():
            module.eval()
        return self

    def _frozen(self) -> Iterator[nn.Module]:
        # Not stored: SyncBatchNorm modules replace the batch norms when a network is distributed.
        if self.frozen_backbone:
            yield self.backbone
        if self.frozen_training_only:
            yield from self.head.training_only_parts()
        if self.frozen_norms:
            for part in (self.backbone, self.head):
                yield from (module for module in part.modules() if isinstance(module, _BatchNorm))

    def forward(self, images: Tensor, upsample: bool = True) -> dict[str, Tensor]:
        """Returns the logits of a batch of images.

        Args:
            images: (N, 3, H, W), normalized by the dataset's mean and std, of any size.
            upsample: whether the logits are resized to (H, W); otherwise they keep the size at
                which the head computes them, (N, K, h, w).

        Returns:
            `main`, (N, K, H, W); in training mode with deep supervision also `aux0`, `aux1`, ...
            of the same shape, and the outputs of `training_heads`.
        """
        maps = self.backbone(images)
        outputs = self.head(maps)
        if self.training and self.training_heads is not None:
            outputs |= self.training_heads(maps)
        if not upsample:
            return outputs
        return {name: resize(output, images.shape[-2:]) for name, output in outputs.items()}


def _last_convolutions(name: str, part: nn.Module | None) -> list[str]:
    """Returns the name of a part's last convolution; of each element's for a `nn.ModuleList`."""
    if part is None:
        return []
    if isinstance(part, nn.ModuleList):
        names: list[str] = []
        for index, element in part.named_children():
            names += _last_convolutions(f"{name}.{index}", element)
        return names
    convolutions = [inner for inner, module in part.named_modules(prefix=name)
                    if isinstance(module, nn.Conv2d)]
    return convolutions[-1:]
