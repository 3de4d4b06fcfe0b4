"""Cross entropy over the labeled pixels."""
from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from loss.class_weights import pixel_weights
from loss.criterion import Criterion
from loss.pixel import mean_over, pixel_cross_entropy
from utils import IGNORE_LABEL


class PixelLoss(Criterion):
    """Base class of criteria that average over the labeled pixels, weighted by class.

    Args:
        class_weights: (K,), one weight per class; None weights all classes alike.
        ignore_label: the label of pixels that have no loss.

    Raises:
        ValueError: when called with logits whose number of classes is not K.
    """

    class_weights: Tensor | None

    def __init__(self, class_weights: Sequence[float] | None, ignore_label: int) -> None:
        super().__init__()
        self.ignore_label = ignore_label
        weights = None
        if class_weights is not None:
            weights = torch.tensor(class_weights, dtype=torch.float32)
        self.register_buffer("class_weights", weights)

    def weights(self, labels: Tensor, num_classes: int | None = None) -> Tensor:
        """Returns the weight of each pixel, (N, H, W) float32; a bool mask without class weights.

        Args:
            num_classes: number of classes of the logits, which is checked; None skips the check.

        Raises:
            ValueError: there is not one class weight for each of the `num_classes` classes.
        """
        if self.class_weights is None:
            return labels != self.ignore_label
        if num_classes not in (None, len(self.class_weights)):
            raise ValueError(f"there are {len(self.class_weights)} class weights, but the logits "
                             f"have {num_classes} classes: give one weight for each class")
        return pixel_weights(labels, self.class_weights, self.ignore_label)

    def normalizers(self, labels: Tensor) -> dict[str, Tensor | None]:
        return {"main": self.weights(labels).sum().float()}


class CrossEntropy(PixelLoss):
    """Mean cross entropy of `outputs["main"]` over the labeled pixels.

    With l the loss of a pixel and w the weight of its class, the term is sum(w l) / sum(w).

    Called with outputs (dict with `main` (N, K, h, w) logits) and labels (N, H, W) int64; returns
    {"main": scalar}, exactly 0 with zero gradient where every pixel is ignored.

    Args:
        class_weights: (K,), one weight per class.
        label_smoothing: fraction of the label that is spread evenly over all classes (Szegedy et
            al., CVPR 2016, arXiv 1512.00567, section 7), in [0, 1).

    Raises:
        ValueError: `label_smoothing` is out of range.
    """

    def __init__(self, ignore_label: int = IGNORE_LABEL,
                 class_weights: Sequence[float] | None = None,
                 label_smoothing: float = 0.0) -> None:
        super().__init__(class_weights, ignore_label)
        if not 0 <= label_smoothing < 1:
            raise ValueError(f"--label_smoothing is a fraction in [0, 1), not {label_smoothing}")
        self.label_smoothing = label_smoothing

    def forward(self, outputs: dict[str, Tensor], labels: Tensor) -> dict[str, Tensor]:
        logits = outputs["main"]
        losses = pixel_cross_entropy(logits, labels, self.ignore_label, self.label_smoothing)
        return {"main": mean_over(losses, self.weights(labels, logits.shape[1]))}
