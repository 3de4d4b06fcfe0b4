"""Fits a temperature on a labeled split: `python -m tools.calibrate --snapshot FILE`.

The temperature makes probabilities fit the share of right pixels and changes no label. It is
written into a copy of the checkpoint, or into the config of a model folder, and used by the demo,
the app, the report, `eval.py --calibration` and exports.
"""
from __future__ import annotations

import logging
import sys
from argparse import Namespace
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

import datasets
from datasets import EvalDataOptions
from eval import LoadedModel, load_from_options
from network.checkpoints import snapshot as snapshot_flags
from network.checkpoints.model_folder import CONFIG, MODEL, ModelConfig
from network.checkpoints.snapshot import SnapshotOptions
from tools.weights.converting import check_new, reduced, write
from utils import precision as precision_flags
from utils.cli import FlagParser, positive_int, run_program
from utils.evaluation import inference as inference_flags
from utils.evaluation import temperature
from utils.evaluation.evaluator import load_batches
from utils.evaluation.inference import InferenceOptions
from utils.files import write_text
from utils.precision import PrecisionOptions

log = logging.getLogger("calibrate")

# pixels of all images that are kept, with a number for each class: 15 MB for 19 classes
PIXELS = 200_000
SEED = 0


def build_parser() -> FlagParser:
    parser = FlagParser(
        prog="python -m tools.calibrate",
        description="Fit the temperature of a trained network on a labeled split, by default val.")
    snapshot_flags.add_flags(parser)
    datasets.add_flags(parser, training=False)
    group = parser.add_argument_group("Calibration")
    group.add_argument("--pixels", type=positive_int, default=PIXELS,
                       help="labeled pixels to fit on, the same number from every image")
    group.add_argument("--out", type=Path, metavar="FILE",
                       help="new checkpoint, .pth or .safetensors (default: NAME_calibrated beside "
                            "the snapshot); a model folder gets the temperature in its config.json")
    inference_flags.add_flags(parser)
    precision_flags.add_flags(parser, training=False)
    return parser


@dataclass(frozen=True)
class Options:
    """What is calibrated, and on which pixels; the fields are the flags of the same name.

    Args:
        out: file to write; None for a file beside the snapshot, or the config of a model folder.
    """

    snapshot: SnapshotOptions
    data: EvalDataOptions
    pixels: int
    out: Path | None
    inference: InferenceOptions
    precision: PrecisionOptions

    @classmethod
    def from_args(cls, args: Namespace) -> Options:
        return cls(snapshot=SnapshotOptions.from_args(args), data=EvalDataOptions.from_args(args),
                   pixels=args.pixels, out=args.out, inference=InferenceOptions.from_args(args),
                   precision=PrecisionOptions.from_args(args))

    @property
    def is_folder(self) -> bool:
        """Whether the temperature is written into the config of a model folder."""
        path = self.snapshot.path
        return self.out is None and path.name == MODEL and (path.parent / CONFIG).is_file()

    @property
    def file(self) -> Path:
        """The new checkpoint."""
        path = self.snapshot.path
        return self.out or path.with_name(f"{path.stem}_calibrated{path.suffix}")


def fit(model: LoadedModel, data: datasets.SegmentationDataset, options: Options
        ) -> temperature.Fit:
    """Predicts the split, draws pixels of every image and fits the temperature on them.

    Raises:
        ValueError: see `temperature.fit`; or a file of the dataset is damaged.
    """
    total = min(len(data.samples), options.data.max_images or len(data.samples))
    batches = load_batches(datasets.eval_loader(data, options.data.num_workers, range(total)),
                           total=total, description=f"{data.spec.name} {data.split}")
    # each image is drawn from with the same generator, in the order of the split
    rng, most = np.random.default_rng(SEED), max(1, options.pixels // total)
    drawn = []
    for batch in batches:
        probabilities = model.predictor.probabilities(batch["image"])
        drawn.append(temperature.draw_pixels(probabilities[0], batch["label"][0], most, rng))
    scores, labels = (np.concatenate(parts) for parts in zip(*drawn, strict=True))
    return temperature.fit(scores, labels)


def warn_of_trained_images(model: LoadedModel, split: str) -> None:
    """Warns if the network was trained on the split, on which it is surer and more often right."""
    args = model.trained.payload.get("args") or {}
    trained = model.spec.splits.get(args.get("train_split") or "", ())
    if any(part in trained for part in model.spec.splits[split]):
        log.warning("the network was trained on %s, which contains %s: its probabilities there say "
                    "little about other images. Give a --split that it was not trained on",
                    args["train_split"], split)


def save(model: LoadedModel, value: float, options: Options) -> Path:
    """Writes the temperature; returns the file that holds it."""
    if options.is_folder:
        folder = options.snapshot.path.parent
        config = replace(ModelConfig.read(folder), temperature=value)
        write_text(folder / CONFIG, config.text())
        return folder / CONFIG
    write({**reduced(model.trained, model.net), "temperature": value}, options.file)
    return options.file


def run(args: Namespace) -> None:
    """Fits, reports and saves.

    Raises:
        ValueError, OSError: a flag, the snapshot or the data is invalid, no temperature fits, or
            the file cannot be written.
    """
    options = Options.from_args(args)
    [model] = load_from_options(options.snapshot, options.precision, options.inference,
                                dataset=options.data.dataset, fuse=False)
    if not options.is_folder:
        check_new(options.file)
    # an earlier temperature is replaced, not refined
    model.predictor.temperature = 1.0
    data = options.data.build(model.spec)
    if not data.labeled:
        raise ValueError(f"{data.spec.title} {data.split} has no labels: choose another --split")
    warn_of_trained_images(model, data.split)
    result = fit(model, data, options)
    log.info("temperature %.4f, fitted on %s %s", result.temperature, data.spec.title, data.split)
    log.info("on the pixels of the fit: negative log likelihood %.4f -> %.4f, expected calibration "
             "error %.2f %% -> %.2f %%", result.nll_before, result.nll_after,
             100 * result.ece_before, 100 * result.ece_after)
    log.info("written into %s", save(model, result.temperature, options))


def main(argv: Sequence[str] | None = None) -> int:
    args = build_parser().parse_args(argv)
    return run_program("tools.calibrate", lambda: run(args),
                       less_memory=inference_flags.LESS_MEMORY)


if __name__ == "__main__":
    sys.exit(main())
