"""Parameters, multiply-accumulates and activations of each network, counted on the meta device."""
from __future__ import annotations

import json
from argparse import Namespace
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

import network
from network.checkpoints.keys import published_parameters
from network.context import AdaptiveAveragePooling
from utils.cli import FlagParser, size
from utils.files import replace_between, write_text

# marks around the table in a document
BEGIN = "<!-- models: python -m tools.benchmark models --doc docs/reference.md -->"
END = "<!-- end of models -->"

# Cityscapes val mIoU in %, at one scale, as the papers' authors reported it with their own code
PUBLISHED = {
    "sfnet_resnet18": "78.4", "sfnet_resnet50": "80.4", "sfnet_resnet101": "81.2",
    "sfnet_dfnetv1": "72.2", "sfnet_dfnetv2": "75.8",
}


def add_flags(parser: FlagParser) -> None:
    parser.add_argument("--arch", nargs="+", default=network.names(), metavar="NAME",
                        help="networks to count")
    parser.add_argument("--size", type=size, default=(1024, 2048),
                        help="HEIGHTxWIDTH of the image in pixels")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the counts to this file")
    parser.add_argument("--doc", type=Path, metavar="FILE",
                        help="rewrite the table of networks in this document")


@dataclass(frozen=True)
class Options:
    """What is counted; the fields are the flags of the same name.

    Args:
        arch: names of architectures.
        size: (height, width) of the image.
        json: file for the counts, or None.
        doc: document whose table is rewritten, or None.
    """

    arch: Sequence[str]
    size: tuple[int, int]
    json: Path | None
    doc: Path | None

    @classmethod
    def from_args(cls, args: Namespace) -> Options:
        return cls(arch=args.arch, size=args.size, json=args.json, doc=args.doc)


@dataclass(frozen=True)
class Cost:
    """Counts of a network with 19 classes and without auxiliary heads, for one image.

    Attributes:
        parameters: of the network here.
        published_parameters: of a published checkpoint, which may hold unused tensors too.
        macs: multiply-accumulates of convolutions and matrix products; resizing, pooling and
            sampling are not counted.
        activations: output elements of convolutions and linear layers.
    """

    arch: str
    parameters: int
    published_parameters: int
    macs: int
    activations: int


def run(args: Namespace) -> None:
    """Counts, and prints a table.

    Raises:
        ValueError: a network is unknown, or the document has no marks for the table.
        OSError: a file cannot be read or written.
    """
    options = Options.from_args(args)
    height, width = options.size
    costs = [cost(arch, options.size) for arch in options.arch]
    print(table(costs))
    print(f"at {height}x{width}; a published file may hold unused parameters too")
    if options.json:
        result = {"size": [height, width], "models": [asdict(cost) for cost in costs]}
        write_text(options.json, json.dumps(result, indent=2) + "\n")
    if options.doc:
        write_text(options.doc, with_table(options.doc.read_text(encoding="utf-8"), costs))


def cost(arch: str, image_size: Sequence[int]) -> Cost:
    """Counts a network for an image of (height, width)."""
    with torch.device("meta"):
        net = network.build(arch, num_classes=19).eval()
        image = torch.empty(1, 3, *image_size)
    activations = 0

    def add(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        nonlocal activations
        activations += output.numel()

    for module in net.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            module.register_forward_hook(add)
    counter = FlopCounterMode(display=False)
    with torch.no_grad(), counter:
        net(image, upsample=False)
    return Cost(arch, sum(parameter.numel() for parameter in net.parameters()),
                published_parameters(net), count_macs(net, counter), activations)


def count_macs(net: nn.Module, counter: FlopCounterMode) -> int:
    """Returns multiply-accumulates from a counter, those of pooling not counted.

    `AdaptiveAveragePooling` is written as matrix products, so the counter counts it.
    """
    flops = counter.get_flop_counts()
    total = sum(flops["Global"].values())
    for path, module in net.named_modules():
        if isinstance(module, AdaptiveAveragePooling):
            total -= sum(flops.get(f"{type(net).__name__}.{path}", {}).values())
    # a multiply-accumulate is two operations
    return total // 2


def table(costs: Iterable[Cost]) -> str:
    """Returns a line for each network."""
    lines = [f"{'network':28} {'parameters':>12} {'in the file':>12} {'MACs':>18} "
             f"{'activations':>14}"]
    lines += [f"{cost.arch:28} {cost.parameters:12,} {cost.published_parameters:12,} "
              f"{cost.macs:18,} {cost.activations:14,}" for cost in costs]
    return "\n".join(lines)


def with_table(document: str, costs: Iterable[Cost]) -> str:
    """Returns the document with a new Markdown table of networks between `BEGIN` and `END`.

    Raises:
        ValueError: the document lacks the marks.
    """
    rows = ["| `--arch` | parameters | multiply-accumulates at 1024x2048 | Cityscapes val mIoU, "
            "**published** |",
            "|---|---|---|---|"]
    rows += [f"| `{cost.arch}` | {_millions(cost)} | {cost.macs / 1e9:.1f} G "
             f"| {PUBLISHED.get(cost.arch, '-')} |" for cost in costs]
    return replace_between(document, BEGIN, END, "\n".join(rows))


def _millions(cost: Cost) -> str:
    """Returns the parameters in millions, and those of a published file if they differ."""
    parameters = f"{cost.parameters / 1e6:.2f} M"
    published = f"{cost.published_parameters / 1e6:.2f} M"
    if parameters == published:
        return parameters
    return f"{parameters} ({published} in a published file)"
