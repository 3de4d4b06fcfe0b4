"""Scores a trained network on a split of a dataset, and shows what it sees. `python eval.py --help` lists the flags."""
from __future__ import annotations

import json
import logging
import sys
import time
from argparse import Namespace
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import datasets
from network import snapshot
from network.snapshot import Snapshot
from utils import checkpoint, distributed, inference, precision, scoring, visualize
from utils.flags import FlagParser, add_switch
from utils.logs import start_logging
from utils.metrics import ConfusionMatrix
from utils.predictor import Predictor
from utils.scoring import share

log = logging.getLogger("eval")

RETIRED = {
    "--dataset_dir": "--data_root", "--single_scale": "--scales 1.0", "--exp_name": "--ckpt_path",
    "--dataset_cls": "--dataset", "--trunk": "--arch", "--inference_type": "--inference_mode",
    "--local_rank": "torchrun, which tells each process its rank",
}


def build_parser() -> FlagParser:
    parser = FlagParser(prog="eval.py", description="Score a trained scene parsing network.", retired=RETIRED)
    datasets.add_flags(parser, training=False)
    snapshot.add_flags(parser)
    inference.add_flags(parser)
    precision.add_flags(parser)
    output = parser.add_argument_group("Output")
    output.add_argument("--json", type=Path, metavar="FILE", help="write the scores to this file")
    add_switch(output, "--dump_images", default=False, help="write colour masks, overlays, label ids and panels")
    output.add_argument("--ckpt_path", type=Path, metavar="FOLDER",
                        help="where --dump_images writes (default: eval_DATASET_SPLIT beside the snapshot)")
    return parser


@dataclass
class Score:
    """What one or several processes found: `matrix` counts pixels only where there is a truth."""

    matrix: ConfusionMatrix
    images: int
    seconds: float


def score(predictor: Predictor, data: datasets.SegmentationDataset, num_workers: int, max_images: int | None = None,
          folder: Path | None = None) -> Score:
    """Parses every image of the split once, shared among the processes, and adds up their counts.

    Args:
        folder: where the pictures of `visualize.dump` go; none are written when None.

    Raises:
        ValueError: a file of the dataset is damaged or does not fit its table.
    """
    def dump(batch: dict[str, Any], labels: Tensor) -> None:
        assert folder is not None
        image, truth = batch["image"][0].permute(1, 2, 0).numpy(), batch.get("label")
        visualize.dump(folder, batch["name"][0], image, labels[0].cpu().numpy(), data.spec.palette, data.spec.names,
                       data.spec.to_raw_ids, None if truth is None else truth[0].numpy())

    total = min(len(data), max_images or len(data))
    mine, start = share(total), time.monotonic()
    matrix = scoring.score(predictor, datasets.eval_loader(data, num_workers, mine), data.spec.num_classes,
                           total=len(mine), what=f"{data.spec.name} {data.split}", each=dump if folder else None)
    return Score(matrix, total, time.monotonic() - start)


def table(matrix: ConfusionMatrix, names: Sequence[str]) -> str:
    """Returns a line a class: IoU, the share of the class that is found, and its share of the counted pixels, in %."""
    width = max(map(len, (*names, "class")))
    shares = matrix.matrix.sum(1).double().cpu() / max(1, matrix.pixels)
    lines = [f"{'class':{width}}      IoU  accuracy   pixels"]
    for name, *values in zip(names, matrix.iou(), matrix.accuracy(), shares, strict=True):
        iou, accuracy, share = (f"{100 * value:.2f}" if value == value else "-" for value in values)
        lines.append(f"{name:{width}}  {iou:>7}  {accuracy:>8}  {share:>7}")
    return "\n".join(lines)


def report(found: Score, data: datasets.SegmentationDataset, args: Namespace, settings: dict[str, Any]) -> None:
    """Prints the scores, and writes them to `--json`."""
    speed = f"{found.images} images in {found.seconds:.1f} s, {found.images / found.seconds:.2f} images/s"
    if not data.labelled:
        log.info("%s\n%s %s has no labels: nothing is scored.", speed, data.spec.title, data.split)
        return
    summary = found.matrix.summary(data.spec.names)
    log.info("\n%s\n", table(found.matrix, data.spec.names))
    for name, title in (("mIoU", "mIoU"), ("pixel_accuracy", "pixel accuracy"), ("mean_accuracy", "mean accuracy"),
                        ("fwIoU", "frequency-weighted IoU")):
        log.info("%-22s  %s", title, "-" if summary[name] is None else f"{100 * summary[name]:.2f} %")
    log.info("%s", speed)
    if args.json:
        args.json.parent.mkdir(parents=True, exist_ok=True)
        checkpoint.write_text(args.json, json.dumps({
            **summary, "images": found.images, "arch": settings["arch"],
            "snapshot_sha256": checkpoint.sha256(args.snapshot), "settings": settings}, indent=2) + "\n")
        log.info("scores in %s", args.json)


def evaluate(args: Namespace) -> None:
    """Builds, scores and reports. Raises ValueError or OSError, which say what is wrong and what to do."""
    device = precision.default_device()
    chosen = precision.resolve_precision(args.precision, device)
    how = inference.from_args(args)
    trained = Snapshot(args.snapshot, args.arch, args.weights)
    spec = datasets.spec(args.dataset or trained.dataset)
    net = trained.network(spec.name, spec.names)
    data = datasets.build(spec.name, args.data_root, args.split)
    if args.compile:
        net.compile()
    folder = (args.ckpt_path or args.snapshot.parent / f"eval_{spec.name}_{args.split}") if args.dump_images else None
    if distributed.is_main():
        log.info("%s: %s, %s weights", args.snapshot, trained.arch, trained.weights)
        log.info("%s %s: %d images, %s, in %s on %s", spec.title, args.split, len(data), how, chosen, device)
    predictor = Predictor(net, device, chosen, spec.mean, spec.std, args.channels_last, how)
    found = score(predictor, data, args.num_workers, args.max_images, folder)
    if distributed.is_main():
        settings = {name: value for name, value in vars(args).items() if name not in ("json", "ckpt_path")}
        settings |= {"arch": trained.arch, "snapshot": str(args.snapshot), "dataset": spec.name, "precision": chosen,
                     "weights": trained.weights, "device": str(device), "torch": torch.__version__}
        report(found, data, args, settings)
        if folder:
            log.info("pictures in %s", folder)


def main(argv: Sequence[str] | None = None) -> int:
    args = build_parser().parse_args(argv)
    start_logging(None)
    distributed.start()
    try:
        evaluate(args)
    except (ValueError, OSError) as error:
        log.error("eval.py: error: %s", error)
        return 2
    except KeyboardInterrupt:
        log.error("eval.py: interrupted: nothing was scored")
        return 130
    finally:
        distributed.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())
