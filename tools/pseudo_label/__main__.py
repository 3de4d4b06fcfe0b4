"""Labels images with a trained network: `python -m tools.pseudo_label --snapshot FILE --out DIR`.

The confident part of the predictions becomes a dataset, which `--extra_data` of train.py adds to
the labeled images.
"""
from __future__ import annotations

import json
import logging
import shlex
import sys
import time
from argparse import Namespace
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import datasets
from datasets import EvalDataOptions
from eval import LoadedModel, load_from_options, predict_split
from network.checkpoints import snapshot as snapshot_flags
from network.checkpoints.snapshot import SnapshotOptions
from tools.check_dataset.sheet import draw_sheet
from tools.import_labels.writing import YAML
from tools.pseudo_label import report, selection
from tools.pseudo_label.folder import PICTURE, SHEET, SPLIT, SUMMARY, PseudoLabels, kept_pixels
from tools.pseudo_label.selection import Selection, probability_of
from utils import distributed
from utils import precision as precision_flags
from utils.cli import FlagParser, int_from_0, positive_int, run_program
from utils.evaluation import inference as inference_flags
from utils.evaluation.identity import prediction_identity
from utils.evaluation.inference import InferenceOptions
from utils.evaluation.options import ShardOptions, add_shard_flags
from utils.evaluation.records import RESULT
from utils.files import write_text
from utils.precision import PrecisionOptions
from utils.training.signals import Interrupts
from utils.visualization import label_maps
from utils.visualization.reliability import require_matplotlib

log = logging.getLogger("pseudo_label")


def build_parser() -> FlagParser:
    parser = FlagParser(
        prog="python -m tools.pseudo_label",
        description="Label the images of a split with a trained network, where it is confident.",
        epilog="Exit status: 0 every predicted class has labels, 1 a class lost all of them, 2 an "
        "invalid flag or file.")
    snapshot_flags.add_flags(parser)
    datasets.add_flags(parser, training=False)
    selection.add_flags(parser)
    inference_flags.add_flags(parser)
    parser.add_argument("--bs_mult_val", type=positive_int, default=1,
                        help="images of the same size that are predicted together")
    precision_flags.add_flags(parser, training=False)
    add_shard_flags(parser, together="the run that completes the images writes the dataset")
    output = parser.add_argument_group("Output")
    output.add_argument("--out", type=Path, required=True, metavar="DIR",
                        help=f"gets the labels, {YAML} for --extra_data and --dataset of "
                             f"train.py, {SUMMARY}, {PICTURE} and {SHEET}")
    output.add_argument("--sheet_images", type=int_from_0, default=12,
                        help=f"number of images on {SHEET}; 0 writes none")
    return parser


@dataclass(frozen=True)
class Options:
    """What is labeled, by which network; fields are named after the flags or their package."""

    snapshot: SnapshotOptions
    data: EvalDataOptions
    selection: Selection
    inference: InferenceOptions
    bs_mult_val: int
    precision: PrecisionOptions
    shards: ShardOptions
    out: Path
    sheet_images: int

    @classmethod
    def from_args(cls, args: Namespace) -> Options:
        shards = ShardOptions(resume=args.resume, shard_index=args.split_index,
                              shard_count=args.split_count)
        return cls(snapshot=SnapshotOptions.from_args(args), data=EvalDataOptions.from_args(args),
                   selection=Selection.from_args(args),
                   inference=InferenceOptions.from_args(args), bs_mult_val=args.bs_mult_val,
                   precision=PrecisionOptions.from_args(args), shards=shards, out=args.out,
                   sheet_images=args.sheet_images)


def label_split(options: Options, interrupts: Interrupts) -> int:
    """Predicts the images of this process; the last process to end writes the dataset.

    Returns:
        The exit status.

    Raises:
        ValueError, OSError: an option, the snapshot or the data is invalid.
        Interrupted: a signal arrived; the results so far are saved.
    """
    [model] = load_from_options(options.snapshot, options.precision, options.inference,
                                dataset=options.data.dataset)
    # labels that exist are neither needed nor read
    data = options.data.build(model.spec.without_labels())
    check_names(data.samples)
    records = open_records(options, model, data)
    missing = records.start(options.shards.resume, replace=False)
    start = time.monotonic()
    predictions = predict_split(
        model, data, [missing[i] for i in distributed.shard(len(missing))],
        num_workers=options.data.num_workers, images_per_batch=options.bs_mult_val,
        with_probabilities=True)
    with records:
        for index, prediction in predictions:
            records.add_prediction(index, prediction, options.selection)
            interrupts.check()
    distributed.barrier()
    if not distributed.is_main():
        return 0
    seconds = time.monotonic() - start
    if missing:
        log.info("%d images in %.1f s, %.2f images/s", len(missing), seconds,
                 len(missing) / seconds)
    return complete(options, records, data)


def check_names(samples: Sequence[datasets.Sample]) -> None:
    """Raises ValueError if two images have the same name, and so the same label file."""
    name, uses = Counter(sample.name for sample in samples).most_common(1)[0]
    if uses > 1:
        first, second, *_ = (sample.image for sample in samples if sample.name == name)
        raise ValueError(f"{first} and {second} are both called {name}, so they would have the "
                         "same label file: label the folders one by one, or rename one of them.")


def open_records(options: Options, model: LoadedModel,
                 data: datasets.SegmentationDataset) -> PseudoLabels:
    """Returns the records of the output folder; logs what is labeled."""
    identity = {**prediction_identity(options, model, data),
                "temperature": model.predictor.temperature,
                "threshold": options.selection.threshold,
                "keep_share": options.selection.keep_share}
    if distributed.is_main():
        log.info("%s %s: %d images, by %s (%s weights), %s, %s, in %s on %s", data.spec.title,
                 data.split, identity["images"], options.snapshot.path, model.trained.weights,
                 options.selection, options.inference, identity["precision"],
                 model.predictor.device)
    settings = {"snapshot": str(options.snapshot.path), "data_root": str(data.root)}
    return PseudoLabels(options.out, identity, options.shards.shard, settings)


def complete(options: Options, records: PseudoLabels, data: datasets.SegmentationDataset) -> int:
    """Writes the dataset if all images are predicted; returns the exit status."""
    total = records.run["images"]
    if not (records.folder / RESULT).is_file():
        done, histogram, kept = records.totals()
        if done < total:
            log.info("%d of %d images are done in %s. The run that predicts the last one writes "
                     "the dataset.", done, total, records.folder)
            return 0
        try:
            write_all(options, records, data, histogram, kept)
        # another shard may have completed the folder at this moment, and removed what is read here
        except (FileNotFoundError, datasets.DatasetError):
            if not (records.folder / RESULT).is_file():
                raise
    return tell(records)


def write_all(options: Options, records: PseudoLabels, data: datasets.SegmentationDataset,
              histogram: np.ndarray, kept: np.ndarray) -> None:
    """Writes the labels that need the thresholds, the YAML file, the summary and the pictures.

    Args:
        histogram, kept: as `PseudoLabels.totals` returns them.
    """
    chosen, samples = options.selection, [*data.samples[:records.run["images"]]]
    thresholds, smallest = [chosen.threshold or 0.0] * len(kept), None
    if chosen.needs_histogram:
        smallest = chosen.smallest_codes(histogram)
        records.write_labels(smallest, [sample.name for sample in samples],
                             options.data.num_workers)
        kept, thresholds = kept_pixels(histogram, smallest), probability_of(smallest).tolist()
    made_by = (f"tools.pseudo_label: {data.spec.name} {data.split}, {records.run['arch']} "
               f"{records.run['snapshot_sha256'][:12]}, {chosen}")
    labeled = records.write_dataset(data.spec, samples, made_by)
    summary = {**records.run,
               **report.summarize(data.spec.names, histogram, kept, thresholds)}
    write_text(records.folder / SUMMARY, json.dumps(summary, indent=1) + "\n")
    if options.sheet_images:
        sheet = draw_sheet(labeled.spec, {SPLIT: labeled.samples}, options.sheet_images)
        label_maps.write(records.folder / SHEET, sheet)
    write_picture(records.folder / PICTURE, summary)
    records.finish(smallest)


def write_picture(path: Path, summary: dict[str, Any]) -> None:
    """Draws the confidence, or logs what is missing for it."""
    try:
        require_matplotlib(path.name)
    except ValueError as error:
        log.warning("no %s: %s", path, error)
    else:
        report.write_picture(path, summary)


def tell(records: PseudoLabels) -> int:
    """Logs the table of a finished folder and what to do next; returns the exit status."""
    summary = json.loads((records.folder / SUMMARY).read_text())
    log.info("\n%s\n", report.format_table(summary))
    never = [name for name, row in summary["classes"].items() if not row["pixels"]]
    if never:
        log.info("never predicted: %s", ", ".join(never))
    log.info("%d images in %s; train with --extra_data %s", records.run["images"], records.folder,
             shlex.quote(str(records.folder / YAML)))
    emptied = report.emptied_classes(summary)
    if not emptied:
        return 0
    log.warning("threshold %g leaves no pixel of %s: give a lower --threshold, or --keep_share, "
                "which has a threshold for each class", records.run["threshold"],
                "; ".join(emptied))
    return 1


def run(args: Namespace) -> int:
    options = Options.from_args(args)
    distributed.start()
    with Interrupts() as interrupts:
        return label_split(options, interrupts)


def main(argv: Sequence[str] | None = None) -> int:
    args = build_parser().parse_args(argv)
    return run_program("tools.pseudo_label", lambda: run(args),
                       less_memory=inference_flags.LESS_MEMORY,
                       resume="the results so far are saved; go on with the same command and "
                              "--resume")


if __name__ == "__main__":
    sys.exit(main())
