"""Cross entropy that gives rare classes more weight, by the histogram of each image or batch."""
from __future__ import annotations

from torch import Tensor

from loss.class_weights import inverse_frequency, pixel_weights
from loss.criterion import Criterion
from loss.pixel import mean_over, pixel_cross_entropy
from utils import IGNORE_LABEL


class ImageWeightedCrossEntropy(Criterion):
    """Cross entropy weighted by w = 1 + bound (1 - h).

    h is the frequency of the pixel's class among the labeled pixels of its image. With l the loss
    of a pixel, the loss of an image is sum(w l) / sum(w) over its pixels, 0 if it has no labels,
    and the term is the mean over the batch's images. With `per_batch`, h and the mean are over the
    whole batch.

    The weights are those of the code published with Zhu et al. (CVPR 2019, arXiv 1812.01593), which
    sums over the images instead. Called as `CrossEntropy`.

    Args:
        bound: largest addition to a class's weight of 1, at least 0.
        per_batch: whether h is the frequency in the whole forward pass instead of the image.

    Raises:
        ValueError: `bound` is negative.
    """

    def __init__(self, bound: float = 1.0, per_batch: bool = False,
                 ignore_label: int = IGNORE_LABEL) -> None:
        super().__init__()
        if bound < 0:
            raise ValueError(
                f"the bound of the class weights is at least 0, not {bound} (--wt_bound)")
        self.bound, self.per_batch, self.ignore_label = bound, per_batch, ignore_label

    def forward(self, outputs: dict[str, Tensor], labels: Tensor) -> dict[str, Tensor]:
        logits = outputs["main"]
        losses = self.losses(logits, labels)
        class_weights = inverse_frequency(labels, logits.shape[1], self.ignore_label,
                                          bound=self.bound, per_batch=self.per_batch)
        weights = pixel_weights(labels, class_weights, self.ignore_label)
        if self.per_batch:
            return {"main": mean_over(losses, weights)}
        return {"main": mean_over(losses, weights, dim=(1, 2)).mean()}

    def losses(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Returns the unweighted loss of each pixel, (N, H, W)."""
        return pixel_cross_entropy(logits, labels, self.ignore_label)

    def normalizers(self, labels: Tensor) -> dict[str, Tensor | None]:
        """Returns the number of images; None with `per_batch`: weights differ between batches."""
        if self.per_batch:
            return {"main": None}
        return {"main": labels.new_full((), len(labels)).float()}
