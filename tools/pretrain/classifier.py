"""A backbone with a classifier of whole images, and the file that other trainings start from."""
from __future__ import annotations

from argparse import ArgumentParser, Namespace
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import network
from network.backbones.timm import timm_backbone
from network.backbones.wide_resnet import WideResNet38
from network.checkpoints.imagenet import imagenet_state_dict
from network.checkpoints.paths import PRETRAINED
from network.checkpoints.sources import backbone_of, imagenet_file
from network.depthwise import train_depthwise_in_float32
from network.model import Backbone, Head, SceneParser
from network.normalization import of_training
from network.registry import BACKBONES
from utils.cli import fraction, suggest
from utils.files import replacing

TIMM = "timm:"                  # before the name of a timm model


class ClassifierHead(Head):
    """A linear layer on the mean of the coarsest map: one vector of logits per image.

    Shapes: maps (N, C_i, H_i, W_i) -> {"main": (N, K, 1, 1)}, logits of a map of one pixel.

    Args:
        in_channels: C of the coarsest map.
        preactivated: the map is a sum without the batch norm and ReLU that follow it, which are
            applied first (Wide ResNet).
    """

    classifiers = ("fc",)
    auxiliary = ()
    training_only = ()

    def __init__(self, in_channels: int, num_classes: int, preactivated: bool = False) -> None:
        super().__init__()
        self.bn = nn.BatchNorm2d(in_channels) if preactivated else nn.Identity()
        self.relu = nn.ReLU() if preactivated else nn.Identity()
        self.fc = nn.Linear(in_channels, num_classes)

    def forward(self, maps: list[Tensor]) -> dict[str, Tensor]:
        features = self.relu(self.bn(maps[-1])).mean((2, 3))
        return {"main": self.fc(features)[:, :, None, None]}


def build(arch: str, num_classes: int) -> SceneParser:
    """Returns a classifier with random weights, and with the normalization of its backbone.

    Args:
        arch: a name of `BACKBONES`, or `timm:MODEL`.

    Raises:
        ValueError: the timm model cannot be used, or the normalization of its weights is unknown.
    """
    backbone: Backbone
    if arch.startswith(TIMM):
        backbone = timm_backbone(arch.removeprefix(TIMM))
    else:
        backbone = BACKBONES[arch].build()
    head = ClassifierHead(backbone.out_channels[-1], num_classes,
                          preactivated=isinstance(backbone, WideResNet38))
    net = SceneParser(backbone, head)
    network.initialize(net, "he")
    train_depthwise_in_float32(net)
    net.normalization = of_training(backbone.normalization, "auto")
    return net


def write_backbone(path: Path, net: nn.Module, **facts: Any) -> None:
    """Writes the file of a trained backbone, in the published naming, whole or not at all.

    Args:
        net: a classifier of `build`, or its average.
        facts: plain values that stand beside the state dict, mean and standard deviation.

    Raises:
        OSError: the file cannot be written; the message names `--out`.
    """
    assert isinstance(net, SceneParser) and isinstance(net.head, ClassifierHead)
    mean, std = net.normalization
    payload = {"state_dict": imagenet_state_dict(net.backbone, net.head.fc), "mean": mean,
               "std": std, **facts}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path, path.with_name(f"{path.name}.tmp")) as file:
            torch.save(payload, file)
    except (OSError, RuntimeError) as error:
        raise OSError(f"the weights could not be written to {path} ({error}): free some space or "
                      "change the permissions, then --resume the run, or name another file by "
                      "--out") from error


@dataclass(frozen=True)
class ClassifierOptions:
    """The fields are the flags of the same name.

    Raises:
        ValueError: a value is out of range.
    """

    arch: str = "resnet18"
    label_smoothing: float = 0.1
    out: Path | None = None

    def __post_init__(self) -> None:
        check_backbone(self.arch)
        if self.label_smoothing == 1:
            raise ValueError("--label_smoothing 1.0 leaves nothing of the label: give less.")

    @classmethod
    def from_args(cls, args: Namespace) -> ClassifierOptions:
        return cls(args.arch, args.label_smoothing, Path(args.out) if args.out else None)

    @property
    def path(self) -> Path:
        """The file to write: that of `--pretrained auto` without `--out`."""
        return self.out or PRETRAINED / imagenet_file(self.arch.removeprefix(TIMM))


def add_flags(parser: ArgumentParser) -> None:
    """Declares the flags of `ClassifierOptions`."""
    group = parser.add_argument_group("Classifier")
    group.add_argument("--arch", default=ClassifierOptions.arch,
                       help=f"backbone: {', '.join(BACKBONES)}, or {TIMM}MODEL")
    group.add_argument("--label_smoothing", type=fraction,
                       default=ClassifierOptions.label_smoothing,
                       help="share of the target that is spread over all classes")
    group.add_argument("--out", metavar="FILE",
                       help="file of the trained backbone (default: the one in "
                            f"{PRETRAINED.name}/ that --pretrained auto reads)")


def check_backbone(name: str) -> None:
    """Raises ValueError if there is no backbone of this name; names the nearest."""
    if name in BACKBONES or (name.startswith(TIMM) and name != TIMM):
        return
    inner = backbone_of(name)
    hint = f": its backbone is {inner}" if inner in BACKBONES else suggest(name, BACKBONES)
    raise ValueError(f"--arch {name} is no backbone{hint} (all names: {', '.join(BACKBONES)}, "
                     f"{TIMM}MODEL)")
