"""The flags of the network, their options, and flags in place of arguments in error messages."""
from __future__ import annotations

import argparse
import re
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from network.backbones.resnet import STAGE_STRIDES
from network.context import CONTEXTS
from network.initialization import INITIALIZATIONS
from network.registry import names, resolve_name, timm_names

# The flags that are keywords of `network.build`; a checkpoint stores them in its `args`.
BUILD_OPTIONS = ("fam_levels", "final_fams", "context", "output_stride")

# The name of an argument in this package's error messages (`reset_classifier=True`) -> its flag.
ARGUMENT_FLAGS = {
    "arch": "--arch",
    "batch_size": "--bs_mult",
    "context": "--context",
    "crop_size": "--crop_size",
    "dataset": "--dataset",
    "deep_supervision": "--fpn_dsn_loss",
    "fam_levels": "--fam_levels",
    "fix_bn": "--fix_bn",
    "init_aux": "--init_aux",
    "output_stride": "--output_stride",
    "pretrained": "--pretrained",
    "reset_classifier": "--reset_classifier",
    "teacher": "--teacher",
    "weights": "--weights",
}
# name=value, where the value is "text", a (tuple), or a word with dots and colons.
_ARGUMENT = re.compile(r"""(?<![\w-])(\w+)=("[^"]*"|\([^)]*\)|[\w:]+(?:\.\w+)*)""")


def add_flags(parser: ArgumentParser) -> None:
    """Declares the flags of group "Model"."""
    group = parser.add_argument_group("Model")
    group.add_argument(
        "--arch", default="sfnet_resnet18", type=_arch,
        help=f"one of: {', '.join(names())}, or {', '.join(timm_names())} on a timm backbone")
    _add_switch(group, "fpn_dsn_loss", "deep supervision: an auxiliary loss at each level")
    group.add_argument(
        "--fam_levels", type=_levels, metavar="LEVELS",
        help="pyramid levels with flow alignment, as 0,1 with 0 the finest, or none; default: all")
    _add_switch(group, "final_fams", "flow alignment in the last fusion too")
    group.add_argument(
        "--context", choices=list(CONTEXTS),
        help="pyramid pooling that concatenates its levels (ppm, the default) or adds them (sum)")
    group.add_argument(
        "--output_stride", type=int, choices=sorted(STAGE_STRIDES),
        help="stride of the coarsest map of a ResNet, and of timm's models that offer it; "
             "default: 32 in SFNet, 8 in PSPNet and DeepLabV3+")
    group.add_argument(
        "--pretrained", default="auto",
        help="ImageNet weights of the backbone: auto (its file in pretrained_models/; timm "
             "downloads its own), none (random weights) or a path")
    group.add_argument(
        "--init", choices=INITIALIZATIONS, default="uniform",
        help="distribution of the random weights: torch's default, or He's as for ResNet")
    group.add_argument(
        "--snapshot",
        help="start from the weights of this checkpoint, the averaged ones if it has them "
             "(for fine-tuning; use --resume to continue a run); default: those of --pretrained")
    _add_switch(group, "reset_classifier", "with --snapshot: start with a random classifier")
    _add_switch(group, "init_aux",
                "with --snapshot: start with random auxiliary heads if the file has none")
    _add_switch(group, "restore_optimizer",
                "with --snapshot: copy its optimizer's momentum too; the learning rate and the "
                "step count start anew")
    group.add_argument(
        "--teacher", metavar="FILE",
        help="a trained network that the student imitates (see --distill): a checkpoint, the "
             "folder of a run or a shipped network, with the classes of the dataset")
    _add_switch(group, "fix_bn", "batch norms of the network keep their statistics, scale and "
                "shift; outputs that only the training has learn theirs")
    _add_switch(group, "freeze_backbone", "train the head alone, on the loaded backbone")


@dataclass(frozen=True)
class NetworkOptions:
    """The architecture of a network, its initial weights, and the parts to train.

    Attributes:
        arch: a name that `network.build` takes.
        deep_supervision: adds the auxiliary classifiers.
        fam_levels, final_fams, context, output_stride: as in `network.build`; None and False
            stand for the default of the architecture.
        pretrained: ImageNet weights of the backbone: "auto", "none" or a path.
        init: a name of `INITIALIZATIONS`.
        snapshot: a checkpoint to start from.
        reset_classifier, init_aux: as in `network.weights.load`, for `snapshot`.
        restore_optimizer: copies the momentum of the snapshot's optimizer, and loads its raw
            weights, to which the momentum belongs.
        teacher: a checkpoint whose network teaches; None for labels alone.
        fix_bn: keeps the statistics, scale and shift of every batch norm of backbone and head.
        freeze_backbone: trains only the head.

    Raises:
        ValueError: a value is unknown or out of range; the message names the flag.
    """

    arch: str = "sfnet_resnet18"
    deep_supervision: bool = False
    fam_levels: tuple[int, ...] | None = None
    final_fams: bool = False
    context: str | None = None
    output_stride: int | None = None
    pretrained: str = "auto"
    init: str = "uniform"
    snapshot: str | None = None
    reset_classifier: bool = False
    init_aux: bool = False
    restore_optimizer: bool = False
    teacher: str | None = None
    fix_bn: bool = False
    freeze_backbone: bool = False

    def __post_init__(self) -> None:
        resolve_name(self.arch)
        if self.fam_levels is not None and any(level < 0 for level in self.fam_levels):
            raise ValueError(f"--fam_levels {','.join(map(str, self.fam_levels))}: levels count "
                             "from 0, the finest")
        _check_choice("--context", self.context, (None, *CONTEXTS))
        _check_choice("--output_stride", self.output_stride, (None, *STAGE_STRIDES))
        _check_choice("--init", self.init, INITIALIZATIONS)
        if self.restore_optimizer and not self.snapshot:
            raise ValueError("--restore_optimizer copies the optimizer of --snapshot, which is not "
                             "given. To continue a run, --resume restores everything.")
        if self.freeze_backbone and self.pretrained == "none" and not self.snapshot:
            raise ValueError("--freeze_backbone would keep random weights (--pretrained none): "
                             "give --pretrained or --snapshot, or leave out --freeze_backbone")

    @classmethod
    def from_args(cls, args: Namespace) -> NetworkOptions:
        """Reads the flags of `add_flags`, and `--aux`, which also turns on deep supervision."""
        return cls(
            arch=resolve_name(args.arch),
            deep_supervision=args.fpn_dsn_loss or args.aux,
            fam_levels=args.fam_levels,
            final_fams=args.final_fams,
            context=args.context,
            output_stride=args.output_stride,
            pretrained=args.pretrained,
            init=args.init,
            snapshot=args.snapshot,
            reset_classifier=args.reset_classifier,
            init_aux=args.init_aux,
            restore_optimizer=args.restore_optimizer,
            teacher=args.teacher,
            fix_bn=args.fix_bn,
            freeze_backbone=args.freeze_backbone,
        )

    @property
    def build_options(self) -> dict[str, Any]:
        """The keyword `options` of `network.build`."""
        return build_options(vars(self))


def build_options(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the keyword `options` of `network.build` that a run's settings contain.

    Options with the value None or False are left out: they are defaults.

    Args:
        settings: the flags of a run, or the `args` of its checkpoint.
    """
    return {name: settings[name] for name in BUILD_OPTIONS
            if settings.get(name) not in (None, False)}


@contextmanager
def flags_in_errors() -> Iterator[None]:
    """Replaces arguments by flags in the error messages that are raised within the context.

    The messages of this package write an argument as in a call, `reset_classifier=True`, for users
    who import the package. For users of a program, the context writes `--reset_classifier`.
    """
    try:
        yield
    except (ValueError, OSError) as error:
        if len(error.args) == 1 and isinstance(error.args[0], str):
            error.args = (with_flags(error.args[0]),)
        raise


def with_flags(message: str) -> str:
    """Returns the message with every argument of `ARGUMENT_FLAGS` replaced by its flag."""
    return _ARGUMENT.sub(_as_flag, message)


def _as_flag(argument: re.Match[str]) -> str:
    """Returns `--flag VALUE` for `name="VALUE"`; `--flag` or `--no_flag` for `name=True` or False.

    An argument that is not in `ARGUMENT_FLAGS` is returned unchanged.
    """
    name, value = argument.groups()
    if name not in ARGUMENT_FLAGS:
        return argument[0]
    flag = ARGUMENT_FLAGS[name]
    if value in ("True", "False"):
        return flag if value == "True" else f"--no_{flag.removeprefix('--')}"
    # a tuple of levels: (0, 1) -> 0,1
    if value.startswith("("):
        value = ",".join(re.findall(r"-?\d+", value)) or "none"
    return f"{flag} " + value.strip('"')


def _add_switch(group: argparse._ArgumentGroup, name: str, help: str) -> None:
    """Declares `--x`, off by default, and `--no_x`."""
    group.add_argument(f"--{name}", action="store_true", help=help)
    group.add_argument(f"--no_{name}", action="store_false", dest=name, default=False,
                       help=argparse.SUPPRESS)


def _check_choice(flag: str, value: object, choices: Any) -> None:
    if value not in choices:
        listed = ", ".join(str(choice) for choice in choices if choice is not None)
        raise ValueError(f"{flag} {value}: choose one of {listed}")


def _arch(text: str) -> str:
    try:
        return resolve_name(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _levels(text: str) -> tuple[int, ...]:
    if text == "none":
        return ()
    try:
        return tuple(int(level) for level in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a list of levels: give them as 0,1 or none") from None
