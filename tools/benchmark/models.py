"""What each network costs, counted without computing anything: on torch's meta device."""
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

BEGIN, END = ("<!-- models: python -m tools.benchmark models --doc docs/reference.md -->",
              "<!-- end of models -->")

# Cityscapes val mIoU in %, at one scale, as the papers' authors reported it with their own code
PUBLISHED = {
    "sfnet_resnet18": "78.4", "sfnet_resnet50": "80.4", "sfnet_resnet101": "81.2",
    "sfnet_dfnetv1": "72.2", "sfnet_dfnetv2": "75.8",
}


@dataclass(frozen=True)
class Cost:
    """Counts of one network with 19 classes and without auxiliary heads, for one image.

    Attributes:
        parameters: of the network here.
        published_parameters: in a published file, which may hold parts that nothing computes with.
        macs: multiply-accumulates of its convolutions and matrix products; resizing, pooling and
            sampling not counted.
        activations: elements that its convolutions and linear layers give.
    """

    arch: str
    parameters: int
    published_parameters: int
    macs: int
    activations: int


def add_flags(parser: FlagParser) -> None:
    parser.add_argument("--arch", nargs="+", default=network.names(), metavar="NAME",
                        help="networks to count")
    parser.add_argument("--size", type=size, default=(1024, 2048), help="HEIGHTxWIDTH of the image")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the counts to this file")
    parser.add_argument("--doc", type=Path, metavar="FILE",
                        help="rewrite the table of networks in this document")


def run(args: Namespace) -> None:
    """Counts, and prints a table. Raises ValueError for an unknown network, or a document without
    the table's place.
    """
    costs = [cost(name, args.size) for name in args.arch]
    print(table(costs))
    print(f"at {args.size[0]}x{args.size[1]}; the file's parameters where a published file holds "
          "unused ones besides")
    if args.json:
        result = {"size": list(args.size), "models": [asdict(cost) for cost in costs]}
        write_text(args.json, json.dumps(result, indent=2) + "\n")
    if args.doc:
        write_text(args.doc, with_table(args.doc.read_text(encoding="utf-8"), costs))


def cost(name: str, image_size: Sequence[int]) -> Cost:
    """Counts one network for an image of (height, width)."""
    with torch.device("meta"):
        net = network.build(name, num_classes=19).eval()
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
    counts = counter.get_flop_counts()
    pooling = [f"{type(net).__name__}.{path}" for path, module in net.named_modules()
               if isinstance(module, AdaptiveAveragePooling)]
    flops = sum(counts["Global"].values()) - sum(sum(counts[path].values())
                                                 for path in pooling if path in counts)
    return Cost(name, sum(parameter.numel() for parameter in net.parameters()),
                published_parameters(net), flops // 2, activations)


def table(costs: Iterable[Cost]) -> str:
    """Returns a line a network: millions of parameters, of those in the file, billions of MACs,
    millions activated.
    """
    lines = [
        f"{'network':28} {'parameters':>12} {'in the file':>12} {'MACs':>18} {'activations':>14}"
    ]
    lines += [
        f"{cost.arch:28} {cost.parameters:12,} {cost.published_parameters:12,} {cost.macs:18,} "
        f"{cost.activations:14,}"
        for cost in costs
    ]
    return "\n".join(lines)


def with_table(document: str, costs: Iterable[Cost]) -> str:
    """Returns the document with the Markdown table of networks between its two marks renewed.

    Raises:
        ValueError: the marks are not there.
    """
    rows = ["| `--arch` | parameters | multiply-accumulates at 1024x2048 | Cityscapes val mIoU, "
            "**published** |",
            "|---|---|---|---|"]
    rows += [f"| `{cost.arch}` | {_millions(cost)} | {cost.macs / 1e9:.1f} G "
             f"| {PUBLISHED.get(cost.arch, '-')} |" for cost in costs]
    return replace_between(document, BEGIN, END, "\n".join(rows))


def _millions(cost: Cost) -> str:
    here, file = (f"{count / 1e6:.2f} M" for count in (cost.parameters, cost.published_parameters))
    return here if here == file else f"{here} ({file} in a published file)"
