"""The page of an evaluation, or of two: loads their snapshots again and parses the images that the page shows."""
from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import datasets
from eval import load_predictor
from network.alignment import recorded_flows
from utils.cli import positive_int
from utils.evaluation.inference import InferenceOptions
from utils.files import sha256
from utils.report import page, results
from utils.report.gallery import ReportModel
from utils.report.results import Results


def add_flags(kinds: argparse._ActionsContainer) -> None:
    kinds.add_argument("folder", nargs="?", type=Path, metavar="FOLDER",
                       help="write the page of an evaluation, report/index.html in the run's folder: the folder of a "
                            "run, whose newest evaluation is taken, or of an evaluation")


def add_options(parser: argparse.ArgumentParser) -> None:
    """Declares what the pages of one and of two evaluations share."""
    group = parser.add_argument_group("Pages of evaluations")
    group.add_argument("--images", type=positive_int, default=50, help="how many the gallery shows, at most")
    group.add_argument("--data_root", help="where the data is now; default: where it was when it was scored")


def run(args: argparse.Namespace) -> str:
    """Writes the page of `folder`, and says where. Raises ValueError or OSError."""
    found = results.read(results.find(args.folder))
    data = load_data(found, args.data_root)
    out = args.out or found.report_folder / "index.html"
    page.write(out, load(found, data), data, args.images)
    return f"report of {found.folder} in {out}"


def load_data(found: Results, root: str | None) -> datasets.SegmentationDataset:
    """Returns the images that an evaluation scored.

    Raises:
        FileNotFoundError: they are not where they were, nor under `root`.
        ValueError: nobody says where they are, or the split has no labels.
    """
    root = root or found.settings.get("data_root")
    try:
        described = found.settings.get("description")        # of a dataset that a YAML file described
        data = datasets.build(described or found.settings["dataset"], root, found.settings["split"])
    except FileNotFoundError as error:
        raise FileNotFoundError(f"the images that {found.folder} scored are gone, and the page shows some of them: "
                                f"name their folder with --data_root. {error}") from error
    if not data.labeled:
        raise ValueError(f"{found.folder}: {data.spec.title} {data.split} has no labels, so nothing was scored")
    return data


def load(found: Results, data: datasets.SegmentationDataset) -> ReportModel:
    """Returns the network that was scored, ready to parse images as it did then.

    Raises:
        FileNotFoundError: the snapshot is gone, or another one now.
        ValueError: it holds another network or other classes.
    """
    settings: dict[str, Any] = found.settings
    inference = InferenceOptions(settings["inference_mode"], tuple(settings.get("crop_size", InferenceOptions.crop)),
                          settings.get("sliding_overlap", InferenceOptions.overlap), scales=tuple(settings["scales"]),
                          flip=settings["flip"], average=settings.get("average", InferenceOptions.average))
    predictor = load_predictor(
        find_snapshot(found), arch=found.scores["arch"], weights=settings.get("weights", "auto"), dataset=data.spec,
        precision=settings.get("precision"), channels_last=bool(settings.get("channels_last")), inference=inference,
        fuse=False).predictor
    return ReportModel(found, predictor, recorded_flows)


def find_snapshot(found: Results) -> Path:
    """Returns the file that was scored: where it was, or beside the evaluation's folder.

    Raises:
        FileNotFoundError: it is gone, or has been written anew since.
    """
    wanted, beside = found.scores["snapshot_sha256"], found.folder.absolute().parent
    named = found.settings.get("snapshot")
    candidates = [*([Path(named)] if named else []), *sorted(beside.glob("*.pth"))]
    for path in candidates:
        if path.is_file() and sha256(path) == wanted:
            return path
    raise FileNotFoundError(f"{found.folder} scored {named or 'a snapshot'} with SHA-256 {wanted[:12]}..., but neither "
                            f"that file nor one in {beside} has it now: score the snapshot again with eval.py")
