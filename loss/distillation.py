"""Distillation: losses that compare the outputs of a student with those of its teacher."""
from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from loss.criterion import Criterion
from loss.pixel import mean_over
from utils import IGNORE_LABEL
from utils.resizing import upsampled

# the logit of a position that does not count; finite, because with -inf the divergence is NaN
MASKED_LOGIT = -1e4


def pixel_kl(student: Tensor, teacher: Tensor, mask: Tensor | None = None, *,
             temperature: float = 1.0) -> Tensor:
    """Returns the KL divergence of the class probabilities, a mean over the pixels.

    With p the teacher's and q the student's softmax of the logits divided by T,

        T^2 mean over pixels of sum_k p_k (log p_k - log q_k).

    T^2 keeps the size of the gradient (Hinton et al., arXiv 1503.02531, section 2). Both logarithms
    are log-softmaxes: the log of a softmax that underflows is -inf, and the loss NaN.

    Args:
        student, teacher: logits (N, K, h, w) of the same shape.
        mask: (N, h, w) bool, the pixels that count; all when None.
        temperature: T, above 0.
    """
    log_p = F.log_softmax(teacher / temperature, dim=1)
    log_q = F.log_softmax(student / temperature, dim=1)
    divergence = F.kl_div(log_q, log_p, reduction="none", log_target=True).sum(1)
    return temperature ** 2 * _mean(divergence, mask)


def channel_kl(student: Tensor, teacher: Tensor, mask: Tensor | None = None, *,
               temperature: float = 4.0) -> Tensor:
    """Returns the KL divergence of each channel's distribution over the positions.

    With p and q the softmax over the positions i of each channel c of the teacher and the student,
    divided by T,

        T^2 / (N C) sum over images, c and i of p_ci (log p_ci - log q_ci).

    Source: Shu et al., ICCV 2021, arXiv 2011.13256, equations 4 and 5.

    Args:
        student, teacher: (N, C, h, w) of the same shape.
        mask: (N, h, w) bool, the positions that count; all when None.
        temperature: T, above 0.
    """
    log_p, log_q = (_log_softmax(maps / temperature, mask) for maps in (teacher, student))
    divergence = F.kl_div(log_q, log_p, reduction="none", log_target=True).sum(-1)
    return temperature ** 2 * divergence.mean()


def feature_distance(student: Tensor, teacher: Tensor, mask: Tensor | None = None) -> Tensor:
    """Returns the squared distance of normalized features, a mean over the positions.

    With s and t the vectors of C channels at a position,

        mean over positions of | s / |s| - t / |t| |^2 = 2 - 2 cos(s, t).

    The normalization spares the student the teacher's magnitudes (Liu et al., arXiv 2207.05256);
    the form is that of BYOL (Grill et al., arXiv 2006.07733, equation 2).

    Args:
        student, teacher: (N, C, h, w) of the same shape.
        mask: (N, h, w) bool, the positions that count; all when None.
    """
    student, teacher = (F.normalize(maps, dim=1, eps=1e-6) for maps in (student, teacher))
    return _mean((student - teacher).square().sum(1), mask)


class Method(NamedTuple):
    """A row of `METHODS`.

    Args:
        loss: (student, teacher, mask) -> scalar.
        output: of both networks: "main", the logits, or "feature", a map of the backbone.
        weight: the default factor.
        temperature: the default; None for a loss without one.
    """

    loss: Callable[..., Tensor]
    output: str
    weight: float
    temperature: float | None = None


# Name of the term -> its loss. The weights of channel-wise distillation are the paper's.
METHODS = {
    "kl": Method(pixel_kl, "main", weight=1.0, temperature=1.0),
    "cwd": Method(channel_kl, "main", weight=3.0, temperature=4.0),
    "cwd_feature": Method(channel_kl, "feature", weight=50.0, temperature=4.0),
    "feature": Method(feature_distance, "feature", weight=1.0),
}


class Distillation(Criterion):
    """One weighted term for each method, under its name.

    Called with outputs, which hold `main` and `teacher_main` (N, K, h, w), and `feature` and
    `teacher_feature` (N, C, h, w) for a method that reads them, and labels (N, H, W). The coarser
    map of a pair is resized to the size of the finer one: at the coarser size, the teacher's
    details would be lost.

    Args:
        weights: method of `METHODS` -> factor of its term.
        temperature: of every method that has one; None for their defaults.
        warmup_steps: steps in which the factors rise linearly from 0.
        labeled_only: leaves out the pixels without a label.

    Raises:
        ValueError: when called with outputs without those of a teacher.
    """

    def __init__(self, weights: Mapping[str, float], *, temperature: float | None = None,
                 warmup_steps: int = 0, labeled_only: bool = False,
                 ignore_label: int = IGNORE_LABEL) -> None:
        super().__init__()
        self.weights = dict(weights)
        self.temperature = temperature
        self.warmup_steps = warmup_steps
        self.labeled_only = labeled_only
        self.ignore_label = ignore_label
        self.set_step(0)

    def forward(self, outputs: dict[str, Tensor], labels: Tensor) -> dict[str, Tensor]:
        return {name: self.factor * weight * self._term(METHODS[name], outputs, labels)
                for name, weight in self.weights.items()}

    def _term(self, method: Method, outputs: dict[str, Tensor], labels: Tensor) -> Tensor:
        teacher_output = f"teacher_{method.output}"
        if not {method.output, teacher_output} <= outputs.keys():
            raise ValueError(f"distillation needs the outputs {method.output} and {teacher_output}"
                             f", not only {', '.join(outputs)}: add --teacher FILE")
        student, teacher = at_finer_size(outputs[method.output], outputs[teacher_output])
        mask = None
        if self.labeled_only:
            mask = sampled(labels, student.shape[-2:]) != self.ignore_label
        if method.temperature is None:
            return method.loss(student, teacher, mask)
        return method.loss(student, teacher, mask,
                           temperature=self.temperature or method.temperature)

    def normalizers(self, labels: Tensor) -> dict[str, Tensor | None]:
        """As `Criterion`: the number of pixels, or None with `labeled_only`.

        The number of labeled pixels is that at the size of the outputs, which is not known here.
        """
        pixels = None
        if not self.labeled_only:
            pixels = labels.new_full((), labels.numel(), dtype=torch.float32)
        return dict.fromkeys(self.weights, pixels)

    def set_step(self, step: int) -> None:
        self.factor = min(1.0, step / self.warmup_steps) if self.warmup_steps else 1.0


def at_finer_size(first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
    """Returns two maps (N, C, h, w), in float32, at the larger of their heights and widths."""
    height, width = (max(sides) for sides in zip(first.shape[-2:], second.shape[-2:], strict=True))

    def resized(maps: Tensor) -> Tensor:
        has_size = maps.shape[-2:] == (height, width)
        return maps.float() if has_size else upsampled(maps, (height, width))

    return resized(first), resized(second)


def sampled(labels: Tensor, size: torch.Size) -> Tensor:
    """Returns the labels (N, H, W) nearest to the pixels of logits of a size (h, w): (N, h, w)."""
    rows, columns = (_nearest(side, target, labels.device)
                     for side, target in zip(labels.shape[-2:], size, strict=True))
    return labels[:, rows][:, :, columns]


def _nearest(source: int, target: int, device: torch.device) -> Tensor:
    """Returns the samples of `source` nearest to `target` ones with aligned corners, int64."""
    return torch.linspace(0, source - 1, target, device=device).round().long()


def _log_softmax(maps: Tensor, mask: Tensor | None) -> Tensor:
    """Returns the log-softmax over the positions of each channel, (N, C, h w)."""
    if mask is not None:
        maps = maps.masked_fill(~mask[:, None], MASKED_LOGIT)
    return F.log_softmax(maps.flatten(2), dim=-1)


def _mean(values: Tensor, mask: Tensor | None) -> Tensor:
    return values.mean() if mask is None else mean_over(values, mask)
