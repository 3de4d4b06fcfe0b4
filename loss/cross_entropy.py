"""Plain cross entropy over the pixels that have a label."""
from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from loss.class_weights import pixel_weights
from loss.criterion import Criterion
from loss.pixel import mean_over, pixel_cross_entropy


class PixelLoss(Criterion):
    """What criteria share that take a mean over the labelled pixels, each weighed by its class.

    Args:
        class_weights: one for each class; all alike when None.

    Raises:
        ValueError: when called with logits of another number of classes.
    """

    class_weights: Tensor | None

    def __init__(self, class_weights: Sequence[float] | None, ignore_label: int) -> None:
        super().__init__()
        self.ignore_label = ignore_label
        weights = None if class_weights is None else torch.tensor(class_weights, dtype=torch.float32)
        self.register_buffer("class_weights", weights)

    def weights(self, labels: Tensor, num_classes: int | None = None) -> Tensor:
        """Returns a mask of the labelled pixels, or their weights, (N, H, W)."""
        if self.class_weights is None:
            return labels != self.ignore_label
        if num_classes not in (None, len(self.class_weights)):
            raise ValueError(f"there are {len(self.class_weights)} class weights, but the logits have {num_classes} "
                             "classes: give one weight for each")
        return pixel_weights(labels, self.class_weights, self.ignore_label)

    def normalizers(self, labels: Tensor) -> dict[str, Tensor | None]:
        return {"main": self.weights(labels).sum().float()}


class CrossEntropy(PixelLoss):
    """Mean cross entropy of `outputs["main"]` over the pixels that are not ignored.

    Args:
        class_weights: one for each class; the mean is by them, sum of w l over sum of w.
        label_smoothing: share of the truth that is spread evenly over all classes (Szegedy et al., CVPR 2016, arXiv
            1512.00567, section 7), in [0, 1).

    Called with outputs (dict with `main` (N, K, h, w) logits) and labels (N, H, W) int64; returns {"main": scalar},
    exactly 0 with zero gradient where every pixel is ignored.
    """

    def __init__(self, ignore_label: int = 255, class_weights: Sequence[float] | None = None,
                 label_smoothing: float = 0.0) -> None:
        super().__init__(class_weights, ignore_label)
        if not 0 <= label_smoothing < 1:
            raise ValueError(f"--label_smoothing is a share in [0, 1), not {label_smoothing}")
        self.label_smoothing = label_smoothing

    def forward(self, outputs: dict[str, Tensor], labels: Tensor) -> dict[str, Tensor]:
        losses = pixel_cross_entropy(outputs["main"], labels, self.ignore_label, self.label_smoothing)
        return {"main": mean_over(losses, self.weights(labels, outputs["main"].shape[1]))}
