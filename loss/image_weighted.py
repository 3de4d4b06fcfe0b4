"""Cross entropy that weighs rare classes up, by the histogram of each image or of the batch."""
from __future__ import annotations

from torch import Tensor

from loss.class_weights import inverse_frequency, pixel_weights
from loss.criterion import Criterion
from loss.pixel import mean_over, pixel_cross_entropy


class ImageWeightedCrossEntropy(Criterion):
    """Cross entropy with the weights 1 + bound (1 - h), where h is the class's share of the labelled pixels.

    By default of each image: its loss is sum(w l) / sum(w) over its own pixels, and the batch's is the mean of its
    images', an image without labels counting 0. With `per_batch` the histogram is the whole batch's, and so is the
    mean. The weights are those of the code published with Zhu et al. (CVPR 2019, arXiv 1812.01593), which adds the
    images up instead.

    Args:
        bound: what the rarest class gets on top of 1, at least 0.
        per_batch: weigh by the histogram of the process's batch.

    Called as `CrossEntropy`.
    """

    def __init__(self, bound: float = 1.0, per_batch: bool = False, ignore_label: int = 255) -> None:
        super().__init__()
        if bound < 0:
            raise ValueError(f"the bound of the class weights is at least 0, not {bound} (--wt_bound)")
        self.bound, self.per_batch, self.ignore_label = bound, per_batch, ignore_label

    def forward(self, outputs: dict[str, Tensor], labels: Tensor) -> dict[str, Tensor]:
        losses = self.losses(outputs["main"], labels)
        table = inverse_frequency(labels, outputs["main"].shape[1], self.ignore_label, self.bound, self.per_batch)
        weights = pixel_weights(labels, table, self.ignore_label)
        if self.per_batch:
            return {"main": mean_over(losses, weights)}
        return {"main": mean_over(losses, weights, dim=(1, 2)).mean()}

    def losses(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Returns each pixel's loss, (N, H, W), before it is weighed."""
        return pixel_cross_entropy(logits, labels, self.ignore_label)

    def normalizers(self, labels: Tensor) -> dict[str, Tensor | None]:
        """The number of images; None for a batch's own histogram, whose weights another batch does not share."""
        return {"main": None if self.per_batch else labels.new_full((), len(labels)).float()}
