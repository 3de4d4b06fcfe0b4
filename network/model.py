"""What every network here is: a backbone that gives maps, fine to coarse, and a head that gives logits."""
from __future__ import annotations

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from network.layers import resize

TRAINING_ONLY = ("dsn", "dsn_seg_body", "edge_out")         # what heads call the parts that no prediction runs


class Backbone(nn.Module):
    """The contract of a backbone: images (N, 3, H, W) -> list of maps (N, C_i, H_i, W_i), fine to coarse.

    Attributes:
        out_channels: C_i of each map.
        strides: H / H_i of each map.
    """

    out_channels: tuple[int, ...]
    strides: tuple[int, ...]


class SceneParser(nn.Module):
    """A scene parsing network.

    Args:
        head: maps, fine to coarse -> dict of logits at the head's own stride, `main` among them.
    """

    def __init__(self, backbone: Backbone, head: nn.Module) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = head
        self.frozen_backbone = self.frozen_norms = self.frozen_training_only = False

    def freeze(self, *, backbone: bool = False, norms: bool = False, training_only: bool = False) -> None:
        """Takes parts out of training: no gradient reaches their parameters, and they stay in evaluation mode.

        Args:
            backbone: the whole backbone, its dropout and batch statistics included.
            norms: every batch norm: running statistics instead of the batch's, scale and shift as they are.
            training_only: the head's parts that no prediction runs, where no loss reads them either: processes that
                train together wait for the gradient of each parameter.
        """
        self.frozen_backbone, self.frozen_norms, self.frozen_training_only = backbone, norms, training_only
        for module in self._frozen():
            module.requires_grad_(False)
        self.train(self.training)

    def train(self, mode: bool = True) -> SceneParser:
        super().train(mode)
        for module in self._frozen():
            module.eval()
        return self

    def _frozen(self) -> list[nn.Module]:
        """Looked up anew each time: synchronized norms replace plain ones when a network is distributed."""
        frozen: list[nn.Module] = [self.backbone] if self.frozen_backbone else []
        if self.frozen_training_only:
            frozen += [part for name, part in self.head.named_children() if name in TRAINING_ONLY]
        return frozen + [each for each in self.modules() if self.frozen_norms and isinstance(each, _BatchNorm)]

    def forward(self, images: Tensor, upsample: bool = True) -> dict[str, Tensor]:
        """Parses a batch of images.

        Args:
            images: (N, 3, H, W), normalized, of any size.
            upsample: whether the logits are resized to (H, W) or stay at the head's own stride.

        Returns:
            `main` (N, K, H, W) logits; in training mode with deep supervision also `aux0`, ... of the same shape.
        """
        logits = self.head(self.backbone(images))
        return {name: resize(each, images.shape[-2:]) for name, each in logits.items()} if upsample else logits
