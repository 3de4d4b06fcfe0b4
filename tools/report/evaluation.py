"""The page of an evaluation: loads its snapshot and predicts the images that the page shows."""
from __future__ import annotations

import argparse
import logging
from dataclasses import dataclass
from pathlib import Path

import datasets
from eval import load_predictor
from network.alignment import recorded_flows
from utils.backends.runtimes import TORCH
from utils.cli import positive_int
from utils.evaluation.inference import InferenceOptions
from utils.files import make_folder, sha256
from utils.precision import default_device, resolve_precision
from utils.report import page, results
from utils.report.gallery import ReportModel
from utils.report.results import Results

log = logging.getLogger("report")


@dataclass(frozen=True)
class PageOptions:
    """Options of the pages of one and of two evaluations.

    Args:
        max_images: largest number of images in the gallery.
        data_root: folder of the data; None if it is where it was evaluated.
        out: file to write; None for the default one.
    """

    max_images: int = 50
    data_root: str | None = None
    out: Path | None = None

    @classmethod
    def from_args(cls, args: argparse.Namespace) -> PageOptions:
        """Reads the flags of `add_options`, and `--out`."""
        return cls(args.images, args.data_root, args.out)


def add_flags(kinds: argparse._ActionsContainer) -> None:
    """Declares the flag that asks for this report."""
    kinds.add_argument("folder", nargs="?", type=Path, metavar="FOLDER",
                       help="write the page of an evaluation, report/index.html in the run's "
                            "folder; FOLDER is that of the evaluation, or of a run, whose newest "
                            "evaluation is taken")


def add_options(parser: argparse.ArgumentParser) -> None:
    """Declares the flags of `PageOptions`."""
    group = parser.add_argument_group("Pages of evaluations")
    group.add_argument("--images", type=positive_int, default=50,
                       help="largest number of images in the gallery")
    group.add_argument("--data_root",
                       help="folder of the data (default: where it was when it was evaluated)")


def run(args: argparse.Namespace) -> str:
    """Writes the page of `folder`; returns a message. Raises ValueError or OSError."""
    options = PageOptions.from_args(args)
    evaluated = results.read(results.find(args.folder))
    data = load_data(evaluated, options.data_root)
    out = options.out or evaluated.report_folder / "index.html"
    make_folder(out.parent, "--out")
    page.write(out, load(evaluated, data), data, options.max_images)
    return f"report of {evaluated.folder} in {out}"


def load_data(evaluated: Results, root: str | None) -> datasets.SegmentationDataset:
    """Returns the images of an evaluation.

    Args:
        root: folder of the data; None if it is where it was evaluated.

    Raises:
        FileNotFoundError: the images are neither there nor where they were.
        ValueError: their folder is unknown, or the split has no labels.
    """
    settings = evaluated.settings
    # the description is of a dataset that a YAML file described
    dataset = settings.get("description") or settings["dataset"]
    try:
        data = datasets.build(dataset, root or settings.get("data_root"), settings["split"])
    except FileNotFoundError as error:
        raise FileNotFoundError(f"the images that {evaluated.folder} scored are gone, and the page "
                                f"shows some of them: name their folder with --data_root. {error}"
                                ) from error
    if not data.labeled:
        raise ValueError(f"{evaluated.folder}: {data.spec.title} {data.split} has no labels, so "
                         "nothing was scored")
    return data


def load(evaluated: Results, data: datasets.SegmentationDataset) -> ReportModel:
    """Returns the network that was evaluated, which predicts as it did then.

    Raises:
        FileNotFoundError: the snapshot is gone, or has changed.
        ValueError: the snapshot holds another network or other classes.
    """
    settings = evaluated.settings
    inference = InferenceOptions.from_settings(settings)
    snapshot = find_snapshot(evaluated)
    try:
        model = load_predictor(
            snapshot, arch=evaluated.scores["arch"],
            weights=settings.get("weights", "auto"), dataset=data.spec,
            precision=usable_precision(settings.get("precision")),
            channels_last=bool(settings.get("channels_last")), inference=inference,
            fuse=False, backend=settings.get("backend", TORCH).split()[0])
    except ValueError as error:
        raise ValueError(f"{evaluated.folder} cannot be predicted again here, and flags in this "
                         f"message are those of eval.py, which can score it again: {error}"
                         ) from error
    return ReportModel(evaluated, model.predictor, recorded_flows)


def usable_precision(precision: str | None) -> str | None:
    """Returns the precision of an evaluation, or fp32 where this device does not have it."""
    try:
        return resolve_precision(precision, default_device())
    except ValueError:
        log.warning("the images were scored in %s, which %s does not have: the page shows "
                    "predictions in fp32, where a few pixels may differ", precision,
                    default_device().type)
        return "fp32"


def find_snapshot(evaluated: Results) -> Path:
    """Returns the file that was evaluated: where it was, or beside the evaluation's folder.

    Raises:
        FileNotFoundError: no file there has its hash.
    """
    expected, beside = evaluated.scores["snapshot_sha256"], evaluated.folder.absolute().parent
    named = evaluated.settings.get("snapshot")
    candidates = [*([Path(named)] if named else []), *sorted(beside.glob("*.pth")),
                  *sorted(beside.glob("*.safetensors"))]
    for path in candidates:
        if path.is_file() and sha256(path) == expected:
            return path
    raise FileNotFoundError(f"{evaluated.folder} scored {named or 'a snapshot'} with SHA-256 "
                            f"{expected[:12]}..., but neither that file nor one in {beside} has it "
                            "now: score the snapshot again with eval.py")
