"""A run on a tiny network without files: what `train.Training.train_step` needs."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.optim.lr_scheduler import LambdaLR

import train
from optimizer import OptimizerOptions
from utils.training.micro_batches import MicroBatches
from utils.training.progress import Progress
from utils.training.recovery import SkipBadSteps

CPU = torch.device("cpu")


class Net(nn.Module):
    """A pixel classifier; it takes `upsample` as the networks do."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.backbone = nn.ModuleDict(
            {
                "stage": nn.Sequential(
                    nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(inplace=True)
                )
            }
        )
        self.head = nn.Conv2d(4, 2, 1)

    def forward(self, images: torch.Tensor, upsample: bool = True) -> dict[str, torch.Tensor]:
        return {"main": self.head(self.backbone["stage"](images))}


class Mean(nn.Module):
    """Cross entropy over the labeled pixels."""

    def forward(
        self, outputs: dict[str, torch.Tensor], labels: torch.Tensor
    ) -> dict[str, torch.Tensor]:
        return {"main": nn.functional.cross_entropy(outputs["main"], labels, ignore_index=255)}

    def normalizers(self, labels: torch.Tensor) -> dict[str, torch.Tensor | None]:
        return {"main": (labels != 255).sum().float()}


def batch() -> dict[str, Any]:
    """Four images, of which the first two have few pixels with a label."""
    torch.manual_seed(1)
    labels = torch.randint(0, 2, (4, 6, 6))
    labels[:2, 1:] = 255
    return {"image": torch.randn(4, 3, 6, 6), "label": labels, "name": list("abcd")}


class TinyTraining(train.Training):
    """Takes steps of a network; `step(batch)` is `train_step` and counts."""

    def __init__(
        self,
        net: nn.Module,
        *,
        criterion: nn.Module | None = None,
        accumulate: int = 1,
        loss_norm: str = "global",
        on_nan: str = "stop",
        loss_scaling: bool = False,
    ) -> None:
        self.net = self.model = net
        self.device, self.precision, self.ema = CPU, "fp32", None
        self.criterion = criterion or Mean()
        self.optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
        self.schedule = LambdaLR(self.optimizer, lambda step: 1.0)
        self.scaler = torch.amp.GradScaler("cpu", enabled=loss_scaling)
        self.micro_batches = MicroBatches(
            self.criterion, dict, accumulate=accumulate, loss_norm=loss_norm
        )
        self.skip_bad_steps = SkipBadSteps(net, self.optimizer, self.scaler, on_nan)
        self.progress = Progress()
        self.max_norm = OptimizerOptions().clip_grad

    def step(self, batch: dict[str, Any]) -> dict[str, torch.Tensor] | None:
        result = self.train_step(batch)
        self.progress.step += 1
        return result.terms


def weights(net: nn.Module) -> torch.Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in net.parameters()])
