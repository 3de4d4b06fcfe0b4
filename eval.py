"""Scores a trained network on a split of a dataset, and shows what it sees. `python eval.py --help` lists the flags."""
from __future__ import annotations

import hashlib
import logging
import sys
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import nn

import datasets
from network import fuse_for_inference
from network.alignment import recorded_flows
from network.checkpoints import snapshot as snapshot_flags
from network.checkpoints.snapshot import Snapshot
from utils import distributed, files
from utils import precision as precision_flags
from utils.cli import FlagParser, add_switch, positive_int
from utils.evaluation import boundary, evaluator, scores, submission
from utils.evaluation import inference as inference_flags
from utils.evaluation.inference import Inference
from utils.evaluation.predictor import Predictor
from utils.evaluation.records import RESULT, Record, Records
from utils.logs import start_logging
from utils.precision import default_device, resolve_precision
from utils.report import page, results
from utils.report.gallery import Model
from utils.training.signals import Interrupted, Interrupts
from utils.visualization import label_maps

log = logging.getLogger("eval")

RETIRED = {
    "--dataset_dir": "--data_root", "--single_scale": "--scales 1.0", "--exp_name": "--ckpt_path",
    "--dataset_cls": "--dataset", "--trunk": "--arch", "--inference_type": "--inference_mode",
    "--local_rank": "torchrun, which tells each process its rank",
}


def build_parser() -> FlagParser:
    parser = FlagParser(prog="eval.py", description="Score a trained scene parsing network.", retired=RETIRED)
    datasets.add_flags(parser, training=False)
    snapshot_flags.add_flags(parser)
    inference_flags.add_flags(parser)
    precision_flags.add_flags(parser, training=False)
    boundary.add_flags(parser)
    add_switch(parser.add_argument_group("Network"), "--deployed", default=False,
               help="score the network as the demo, the app and exports run it: normalization folded into convolutions")
    add_share_flags(parser)
    output = parser.add_argument_group("Output")
    scores.add_flags(output)
    add_switch(output, "--dump_images", default=False, help="write color masks, overlays, label ids and panels; "
               "of a split without labels also a zip file for its benchmark's server")
    add_switch(output, "--report", default=False, help="write a page that shows scores and images, report/index.html "
               "in the run's folder (needs: pip install '.[report]')")
    output.add_argument("--ckpt_path", type=Path, metavar="FOLDER",
                        help="where everything is written (default: eval_DATASET_SPLIT beside the snapshot)")
    return parser


def add_share_flags(parser: ArgumentParser) -> None:
    group = parser.add_argument_group("Sharing and resuming")
    add_switch(group, "--resume", default=False, help="go on with what the output folder holds of this evaluation")
    group.add_argument("--split_count", type=positive_int, default=1, metavar="N",
                       help="score every N-th image only; `python -m tools.merge` puts the N shares together")
    group.add_argument("--split_index", type=int, default=0, help="which of the shares, from 0 on")


class LoadedModel(NamedTuple):
    """A trained network, ready to predict.

    Attributes:
        trained: the checkpoint file: its architecture, dataset and weights ("raw" or "ema").
        spec: the dataset whose classes the network predicts.
        net: the network as it was trained, in evaluation mode. With `fuse` the predictor runs a
            fused copy, and `net` stays on the CPU.
        predictor: turns images into label maps, probabilities or logits.
    """

    trained: Snapshot
    spec: datasets.DatasetSpec
    net: nn.Module
    predictor: Predictor


def load_predictor(
    snapshot: str | Path,
    *,
    arch: str | None = None,
    weights: str = "auto",
    dataset: str | Mapping[str, Any] | datasets.DatasetSpec | None = None,
    device: torch.device | str | None = None,
    precision: str | None = None,
    channels_last: bool = True,
    inference: Inference | None = None,
    fuse: bool = True,
    compile: bool = False,
) -> LoadedModel:
    """Loads a trained network and prepares it for prediction.

    Args:
        snapshot: checkpoint of a run, or a published one.
        arch: required if neither the file nor its keys tell the architecture.
        weights: "raw", "ema" (averaged), or "auto": averaged if the file has them.
        dataset: name, YAML file, description or spec of a dataset with the same classes; by default
            the one the network was trained on.
        device: by default a GPU if there is one.
        precision: "fp32", "bf16" or "fp16"; by default bf16 on devices that are fast at it.
        inference: windows, scales and flips; by default the whole image at its own size.
        fuse: fold batch normalization into convolutions and drop the auxiliary heads.
        compile: use `torch.compile`.

    Raises:
        FileNotFoundError: there is no such snapshot.
        ValueError: the snapshot is damaged, of unknown architecture or of other classes than the
            dataset, or the device does not support the precision or compilation.
    """
    device = torch.device(device) if device is not None else default_device()
    precision = resolve_precision(precision, device)
    trained = Snapshot(snapshot, arch, weights)
    spec = datasets.spec(dataset or trained.dataset)
    net = trained.network(spec.name, spec.names)
    predictor = Predictor(fuse_for_inference(net) if fuse else net, device, precision, spec.mean, spec.std,
                          channels_last, inference, compiled=compile)
    return LoadedModel(trained, spec, net, predictor)


def describe(args: Namespace, trained: Snapshot, data: datasets.SegmentationDataset, chosen: str) -> dict[str, Any]:
    """Returns what decides the numbers: two evaluations in which it differs do not mix in one folder."""
    names = [sample.name for sample in data.samples[:args.max_images]]
    return {
        "dataset": data.spec.name, "split": data.split, "images": len(names),
        "names_sha256": hashlib.sha256("\n".join(names).encode()).hexdigest(), "labelled": data.labelled,
        "classes": data.spec.names, "categories": [label.category for label in data.spec.classes],
        "arch": trained.arch, "snapshot_sha256": files.sha256(args.snapshot), "weights": trained.weights,
        "precision": chosen, **inference_flags.from_args(args).settings(), **({"deployed": True} if args.deployed else {}),
        "thresholds": args.eval_thresholds if args.evaluateF and data.labelled else None,
    }


def settings(args: Namespace, run: dict[str, Any], data: datasets.SegmentationDataset,
             device: torch.device) -> dict[str, Any]:
    """Returns how and where the scores were found, for people and for `tools.report`, in JSON types."""
    passed = {name: value for name, value in vars(args).items() if name not in ("json", "ckpt_path")}
    return {**passed, "snapshot": str(args.snapshot), "description": data.spec.description,
            "data_root": str(data.root), "device": str(device), "torch": torch.__version__,
            **{name: run[name] for name in ("dataset", "split", "precision", "arch", "weights")}}


def score(predictor: Predictor, data: datasets.SegmentationDataset, indices: Sequence[int], num_workers: int,
          records: Records, dump: bool, together: int, check: Callable[[], None]) -> None:
    """Parses images of the split, and keeps what is found of each; what was done is kept whatever happens.

    Args:
        indices: the images that this process takes.
        dump: whether the pictures of `visualize.dump` are written into the records' folder.
        together: images of one size that are parsed in one batch.
        check: called after each image.

    Raises:
        ValueError: a file of the dataset is damaged or does not fit its table.
    """
    spec, thresholds = data.spec, records.run["thresholds"]
    nothing = torch.zeros(spec.num_classes, spec.num_classes, dtype=torch.int32)
    loader = datasets.eval_loader(data, num_workers, indices)
    parsed = evaluator.parse(predictor, loader, spec.num_classes, total=len(indices), what=f"{spec.name} {data.split}",
                           together=together)
    try:
        for index, one in zip(indices, parsed, strict=True):
            labels, truth = one.labels.cpu().numpy(), None if one.truth is None else one.truth.numpy()
            if dump:
                image = one.image.permute(1, 2, 0).numpy()
                label_maps.dump(records.folder, one.name, image, labels, spec.palette, spec.names, spec.to_raw_ids,
                               truth)
            outlines = None
            if thresholds and truth is not None:
                outlines = boundary.boundary_f(labels, truth, spec.num_classes, thresholds)
            counts = nothing if one.counts is None else one.counts.cpu()
            records.add(Record(index, one.name, counts.numpy(), outlines))
            check()
    finally:
        records.save()


def evaluate(args: Namespace, interrupts: Interrupts) -> bool:
    """Builds, scores and reports; returns whether the score is the expected one.

    Raises:
        ValueError, OSError: with what is wrong and what to do.
        Interrupted: a signal came; what was done is kept.
    """
    device = default_device()
    chosen = precision_flags.start(args, device)
    how = inference_flags.from_args(args)
    trained, spec, _, predictor = load_predictor(
        args.snapshot, arch=args.arch, weights=args.weights, dataset=args.dataset, device=device, precision=chosen,
        channels_last=args.channels_last, inference=how, fuse=args.deployed, compile=args.compile)
    data = datasets.EvalDataOptions.from_args(args).build(spec)
    refuse_clashes(args, data)
    folder = args.ckpt_path or args.snapshot.parent / f"eval_{spec.name}_{data.split}"
    run = describe(args, trained, data, chosen)
    records = Records(folder, run, (args.split_index, args.split_count), settings(args, run, data, device))
    if distributed.is_main():
        log.info("%s: %s, %s weights", args.snapshot, trained.arch, trained.weights)
        log.info("%s %s: %d images, %s, in %s on %s", spec.title, data.split, records.run["images"], how, chosen,
                 device)
        records.claim(args.resume, replace=args.ckpt_path is None)
    distributed.barrier()
    done = records.read() if args.resume else {}
    distributed.barrier()                                   # all have read before one writes
    missing = [i for i in range(args.split_index, records.run["images"], args.split_count) if i not in done]
    if done and distributed.is_main():
        log.info("%s: %d images are there already, %d are left to do", folder, len(done), len(missing))
    start = time.monotonic()
    score(predictor, data, [missing[i] for i in evaluator.share(len(missing))], args.num_workers, records,
          args.dump_images, args.batch_size if how.mode == "pooling" else 1, interrupts.check)
    distributed.barrier()
    seconds = time.monotonic() - start
    if not distributed.is_main():
        return True
    log.info("%d images in %.1f s, %.2f images/s", len(missing), seconds, len(missing) / seconds)
    expected = report(records, data, args)
    if args.report and (folder / RESULT).is_file():         # all shares are done
        found = results.read(folder)
        out = found.report_folder / "index.html"
        page.write(out, Model(found, predictor, recorded_flows), data)
        log.info("report in %s", out)
    return expected


def refuse_clashes(args: Namespace, data: datasets.SegmentationDataset) -> None:
    """Raises ValueError for flags that cannot go together."""
    if not 0 <= args.split_index < args.split_count:
        raise ValueError(f"--split_index {args.split_index}: the shares of --split_count {args.split_count} are "
                         f"numbered from 0 to {args.split_count - 1}.")
    if args.expect is not None and args.split_count > 1:
        raise ValueError("--expect needs all images: give it to `python -m tools.merge` when every share is done.")
    if args.expect is not None and not data.labelled:
        raise ValueError(f"--expect: {data.spec.title} {data.split} has no labels, so there is nothing to score.")
    if args.report:
        page.read_template()                                # says what is not installed before any work is done
        if not data.labelled:
            raise ValueError(f"--report: {data.spec.title} {data.split} has no labels, so there is nothing to report.")


def report(records: Records, data: datasets.SegmentationDataset, args: Namespace) -> bool:
    """Puts the parts together if they are all there, prints and writes the scores; returns whether they are expected.
    """
    found, total, folder = records.read(), records.run["images"], records.folder
    if args.dump_images:
        log.info("pictures in %s", folder)
    if len(found) < total:
        log.info("%d of %d images are done in %s. When the other shares are: python -m tools.merge %s%s", len(found),
                 total, folder, folder, f" && python -m tools.report {folder}" if args.report else "")
        return True
    records.finish(found.values())
    if not data.labelled:
        log.info("%s %s has no labels: nothing is scored.", data.spec.title, data.split)
        if args.dump_images:
            archive, ids = folder / "submission.zip", data.spec.to_raw_ids[:data.spec.num_classes]
            images = {sample.name: sample.image for sample in data.samples[:total]}
            count = submission.pack(images, folder / "label_ids", archive, ids, datasets.read_image)
            log.info("%s: %d files of label ids, their names, sizes and ids checked", archive, count)
        return True
    return scores.report_scores(records, [*found.values()], args.json, args.expect, args.tolerance)


def main(argv: Sequence[str] | None = None) -> int:
    args = build_parser().parse_args(argv)
    start_logging(None)
    distributed.start()
    try:
        with Interrupts() as interrupts:
            return 0 if evaluate(args, interrupts) else 1
    except Interrupted as stopped:
        log.error("eval.py: %s: what was done is kept; go on with the same command and --resume", stopped)
        return stopped.exit_code
    except (ValueError, OSError) as error:
        log.error("eval.py: error: %s", error)
        return 2
    except KeyboardInterrupt:
        log.error("eval.py: stopped at once; --resume goes on from what was saved")
        return 130
    finally:
        distributed.stop()


if __name__ == "__main__":
    sys.exit(main())
