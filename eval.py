"""Evaluates a trained network on a split of a dataset. `python eval.py --help` lists the flags."""
from __future__ import annotations

import logging
import shlex
import sys
import time
from argparse import Namespace
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch

import datasets
from datasets import EvalDataOptions, SegmentationDataset
from network import flags_in_errors, fuse_for_inference
from network.alignment import recorded_flows
from network.checkpoints import snapshot as snapshot_flags
from network.checkpoints.snapshot import Snapshot, SnapshotOptions
from network.model import SceneParser
from utils import distributed
from utils import precision as precision_flags
from utils.backends import runtimes
from utils.backends.exported import ExportedNetwork, backend_of, open_exported
from utils.backends.runtimes import TORCH, BackendOptions
from utils.cli import FlagParser, run_program
from utils.evaluation import boundary, corruptions, robustness, submission
from utils.evaluation import inference as inference_flags
from utils.evaluation import options as eval_flags
from utils.evaluation.boundary import BoundaryOptions
from utils.evaluation.corruptions import Corrupted, Corruption, CorruptionOptions
from utils.evaluation.evaluator import Prediction, load_batches, predict_batch
from utils.evaluation.identity import default_folder, run_identity, run_settings
from utils.evaluation.inference import InferenceOptions
from utils.evaluation.options import EvalOptions
from utils.evaluation.predictor import Predictor
from utils.evaluation.records import Record, Records
from utils.evaluation.scores import ScoreOptions, report_scores
from utils.precision import PrecisionOptions, default_device, resolve_precision, round_weights
from utils.report import page, results
from utils.report import robustness as robustness_page
from utils.report.gallery import ReportModel
from utils.training.signals import Interrupts
from utils.visualization.rendering import dump_images

log = logging.getLogger("eval")


def build_parser() -> FlagParser:
    parser = FlagParser(prog="eval.py", retired=eval_flags.RETIRED,
                        description="Evaluate a trained semantic segmentation network.")
    datasets.add_flags(parser, training=False)
    snapshot_flags.add_flags(parser)
    inference_flags.add_flags(parser)
    precision_flags.add_flags(parser, training=False)
    runtimes.add_flags(parser, automatic=False)
    boundary.add_flags(parser)
    corruptions.add_flags(parser)
    eval_flags.add_flags(parser)
    return parser


@dataclass(frozen=True)
class Options:
    """The options of each package.

    Args:
        flags: every flag with its value, for the record.
    """

    data: EvalDataOptions
    snapshot: SnapshotOptions
    inference: InferenceOptions
    precision: PrecisionOptions
    backend: BackendOptions
    boundary: BoundaryOptions
    corruption: CorruptionOptions
    scores: ScoreOptions
    evaluation: EvalOptions
    flags: Mapping[str, Any]

    @classmethod
    def from_args(cls, args: Namespace) -> Options:
        return cls(data=EvalDataOptions.from_args(args), snapshot=SnapshotOptions.from_args(args),
                   inference=InferenceOptions.from_args(args),
                   precision=PrecisionOptions.from_args(args),
                   backend=BackendOptions.from_args(args),
                   boundary=BoundaryOptions.from_args(args),
                   corruption=CorruptionOptions.from_args(args),
                   scores=ScoreOptions.from_args(args), evaluation=EvalOptions.from_args(args),
                   flags=vars(args))


class LoadedModel(NamedTuple):
    """A trained network, ready to predict.

    Attributes:
        trained: the checkpoint file: its architecture, dataset and weights ("raw" or "ema"). For a
            file of `tools.export`, an `ExportedFile`.
        spec: the dataset whose classes the network predicts.
        net: the network as it was trained, in evaluation mode. With `fuse` the predictor runs a
            fused copy, and `net` stays on the CPU. An exported file has no such network.
        predictor: turns images into label maps, probabilities or logits.
    """

    trained: Snapshot
    spec: datasets.DatasetSpec
    net: SceneParser
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
    inference: InferenceOptions | None = None,
    fuse: bool = True,
    compile: bool = False,
    backend: str | None = None,
    graphs: bool = True,
) -> LoadedModel:
    """Loads a trained network and prepares it for prediction.

    Args:
        snapshot: checkpoint of a run, or a published one; or a file of `tools.export`.
        arch: required if neither the file nor its keys tell the architecture.
        weights: "raw", "ema" (averaged), or "auto": averaged if the file has them and its run
            validated them.
        dataset: name, YAML file, description or spec of a dataset with the same classes; by default
            the one the network was trained on.
        device: by default a GPU if there is one.
        precision: "fp32", "bf16" or "fp16"; by default bf16 on devices that are fast at it.
        inference: windows, scales and flips; by default the whole image at its own size.
        fuse: fold batch normalization into convolutions and drop the auxiliary heads. An exported
            file was folded when it was made, and is the same either way.
        compile: use `torch.compile`, which exported files refuse.
        backend: what runs the network: a name of `utils.backends.runtimes.BACKENDS`, or "auto";
            by default torch, which exported files refuse.
        graphs: on a GPU, run torch's network as a CUDA graph for each shape of images that comes
            again; not with `compile`.

    Raises:
        FileNotFoundError: there is no such snapshot.
        ValueError: the snapshot is damaged, of unknown architecture or of other classes than the
            dataset, or the device does not support the precision, compilation or the backend.
    """
    device = torch.device(device) if device is not None else default_device()
    precision = resolve_precision(precision, device)
    needed = backend_of(Path(snapshot))
    if needed is not None:
        if backend is None:
            raise ValueError(f"{snapshot} is an exported file: give the checkpoint it was made "
                             f'from, or in Python backend="{needed}"')
        if compile:
            raise ValueError(f"{snapshot} is an exported file, which torch.compile cannot compile: "
                             "leave --compile out, or give the checkpoint it was made from")
        return load_exported(Path(snapshot), dataset, device, precision, inference, backend,
                             arch=arch, weights=weights)
    backend = backend or TORCH
    # The programs that call this function declare its arguments as flags.
    with flags_in_errors():
        trained = Snapshot(snapshot, arch, weights)
        spec = datasets.spec(dataset or trained.dataset)
        net = trained.network(spec.name, spec.names, mean=spec.mean, std=spec.std)
    if trained.license:
        log.info("%s: %s", trained.path, trained.license)
    mean, std = net.normalization
    fused = fuse_for_inference(net) if fuse or backend != TORCH else net
    runtime = runtimes.build(backend, fused, mean, std, arch=trained.arch, device=device,
                             precision=precision)
    on_gpu = device.type == "cuda" and runtime is None
    if fuse and on_gpu:
        round_weights(fused, precision)
    predictor = Predictor(fused if fuse else net, device, precision, mean, std, channels_last,
                          inference, temperature=trained.temperature, compiled=compile,
                          graphs=graphs and on_gpu and not compile, runtime=runtime)
    return LoadedModel(trained, spec, net, predictor)


def load_exported(path: Path, dataset: Any, device: torch.device, precision: str,
                  inference: InferenceOptions | None, backend: str, *, arch: str | None = None,
                  weights: str = "auto") -> LoadedModel:
    """Loads a file of `tools.export` as `load_predictor` loads a checkpoint."""
    # with the attributes of a Snapshot and of a SceneParser that prediction reads
    file: Any = open_exported(path, backend, device, precision)
    file.require(arch, weights)
    with flags_in_errors():
        spec = datasets.spec(dataset or file.dataset)
        file.require_classes(spec.name, spec.names)
    if file.license:
        log.info("%s: %s", path, file.license)
    net: Any = ExportedNetwork(file.runtime.run)
    predictor = Predictor(net, device, precision, file.facts["mean"], file.facts["std"], False,
                          inference, temperature=file.temperature, runtime=file.runtime)
    return LoadedModel(file, spec, net, predictor)


def load_from_options(
    snapshot: SnapshotOptions,
    precision: PrecisionOptions,
    inference: InferenceOptions,
    *,
    dataset: str | None = None,
    fuse: bool = True,
    compare: Path | None = None,
    backend: BackendOptions | None = None,
) -> list[LoadedModel]:
    """Loads the network that the flags of a program name, and the one to compare it with.

    Args:
        dataset, fuse: as in `load_predictor`.
        compare: a second snapshot, of the same classes; None for one network.
        backend: what runs them; `--exact` and `--compile` are torch's. None for a program without
            this choice.

    Raises:
        ValueError, OSError: a snapshot or a flag is invalid, or the two have different classes.
    """
    device = default_device()
    backend_name = (backend or BackendOptions()).resolve(precision)
    precision = runtimes.suited(precision, backend_of(snapshot.path) or backend_name)
    settings: dict[str, Any] = {
        "weights": snapshot.weights, "device": device,
        "precision": precision.apply(device, one_size=False),
        "channels_last": precision.channels_last, "inference": inference, "fuse": fuse,
        "compile": precision.compile, "graphs": precision.cuda_graphs,
        "backend": backend_name if backend else None}
    models = [load_predictor(snapshot.path, arch=snapshot.arch, dataset=dataset, **settings)]
    if compare:
        models.append(load_predictor(compare, dataset=models[0].spec, **settings))
    return models


def evaluate(options: Options, interrupts: Interrupts) -> bool:
    """Loads, predicts, scores and reports.

    Returns:
        Whether the mean IoU is the expected one, if one is expected.

    Raises:
        ValueError, OSError: an option, the snapshot or the data is invalid.
        Interrupted: a signal arrived; the results so far are saved.
    """
    [model] = load_from_options(options.snapshot, options.precision, options.inference,
                                dataset=options.data.dataset, fuse=options.evaluation.fuse,
                                backend=options.backend)
    if options.evaluation.calibration:
        model.predictor.require_logits("--calibration")
    data = options.data.build(model.spec)
    check_options(options, data)
    as_expected = True
    for corruption in options.corruption.plan():
        as_expected &= evaluate_split(model, data, corruption, options, interrupts)
    if options.corruption.kinds and distributed.is_main():
        folder = options.evaluation.folder or default_folder(options, data)
        robustness_page.report(results.read(folder), with_page=options.evaluation.report)
    return as_expected


def evaluate_split(model: LoadedModel, data: SegmentationDataset, corruption: Corruption | None,
                   options: Options, interrupts: Interrupts) -> bool:
    """Predicts and scores the images, as they are or corrupted; see `evaluate`."""
    records = open_records(options, model, data, corruption)
    if robustness.can_skip(records, options.corruption, options.scores):
        return True
    missing = records.start(options.evaluation.resume, replace=options.evaluation.folder is None)

    start = time.monotonic()
    indices = [missing[i] for i in distributed.shard(len(missing))]
    images = Corrupted(data, corruption) if corruption else data
    predict_images(model, images, indices, records, options, interrupts.check)
    distributed.barrier()
    if not distributed.is_main():
        return True
    seconds = time.monotonic() - start
    log.info("%d images in %.1f s, %.2f images/s", len(missing), seconds, len(missing) / seconds)
    if corruption:
        robustness.score(records)
        return True
    return report(model, data, records, options)


def predict_images(model: LoadedModel, data: SegmentationDataset | Corrupted,
                   indices: Sequence[int], records: Records, options: Options,
                   check_signals: Callable[[], None]) -> None:
    """Predicts images of the split and records their confusion matrices and boundary scores.

    Args:
        indices: images that this process predicts.
        records: saves the results so far, whatever happens.
        check_signals: called after each image.

    Raises:
        ValueError: a file of the dataset is damaged or does not fit its spec.
    """
    num_classes, thresholds = data.spec.num_classes, records.run["thresholds"] or ()
    pooling = options.inference.mode == "pooling"
    predictions = predict_split(
        model, data, indices, num_workers=options.data.num_workers,
        images_per_batch=options.inference.windows_per_batch if pooling else 1,
        with_probabilities=options.evaluation.calibration)
    with records:
        for index, prediction in predictions:
            if options.evaluation.dump_images:
                dump_images(records.folder, prediction, data.spec)
            records.add(Record(
                index, prediction.name,
                matrix=prediction.counts(num_classes).numpy(),
                boundary=prediction.boundary_f(num_classes, thresholds),
                calibration=prediction.calibration(),
                border=prediction.border_counts(num_classes, options.evaluation.trimap)))
            check_signals()


def predict_split(model: LoadedModel, data: SegmentationDataset | Corrupted,
                  indices: Sequence[int], *, num_workers: int, images_per_batch: int,
                  with_probabilities: bool) -> Iterator[tuple[int, Prediction]]:
    """Yields images of a split one by one, with their index and their prediction.

    Args:
        indices: images to predict, in this order.
        num_workers: processes that load them.
        images_per_batch: largest number of images of one size in a forward pass.
        with_probabilities: also compute the probabilities of the predicted classes.

    Raises:
        ValueError: a file of the dataset is damaged or does not fit its spec.
    """
    batches = load_batches(
        datasets.eval_loader(data, num_workers, indices), total=len(indices),
        description=f"{data.spec.name} {data.split}", images_per_batch=images_per_batch)
    next_index = iter(indices)
    for batch in batches:
        for prediction in predict_batch(model.predictor, batch, with_probabilities):
            yield next(next_index), prediction


def report(model: LoadedModel, data: SegmentationDataset, records: Records,
           options: Options) -> bool:
    """Merges the results if all images have one, prints and writes the scores.

    Returns:
        Whether the mean IoU is the expected one, if one is expected.
    """
    image_results, total = list(records.read().values()), records.run["images"]
    folder, evaluation = records.folder, options.evaluation
    if evaluation.dump_images:
        log.info("pictures in %s", folder)
    if len(image_results) < total:
        quoted = shlex.quote(str(folder))
        log.info("%d of %d images are done in %s. After the other shards: python -m tools.merge "
                 "%s%s", len(image_results), total, folder, quoted,
                 f" && python -m tools.report {quoted}" if evaluation.report else "")
        return True
    records.merge_parts(image_results)
    if not data.labeled:
        log.info("%s %s has no labels, so there are no scores.", data.spec.title, data.split)
        if evaluation.dump_images:
            write_submission(data, folder / "label_ids", folder / "submission.zip", total)
        return True
    as_expected = report_scores(records, image_results, options.scores)
    if evaluation.report:
        evaluated = results.read(folder)
        path = evaluated.report_folder / "index.html"
        page.write(path, ReportModel(evaluated, model.predictor, recorded_flows), data)
        log.info("report in %s", path)
    return as_expected


def write_submission(data: SegmentationDataset, label_ids: Path, out: Path,
                     max_images: int | None = None) -> None:
    """Writes a zip file for a benchmark's server; see `submission.write_zip`.

    Args:
        label_ids: folder that `--dump_images` wrote.
        max_images: number of images, from the first on; all when None.
    """
    images = {sample.name: sample.image for sample in data.samples[:max_images]}
    valid_ids = data.spec.to_raw_ids[:data.spec.num_classes]
    count = submission.write_zip(images, label_ids, out, valid_ids, datasets.read_image)
    log.info("%s: %d files of label ids, their names, sizes and ids checked against %s %s", out,
             count, data.spec.title, data.split)


def check_options(options: Options, data: SegmentationDataset) -> None:
    """Raises ValueError for options of several packages that do not fit together."""
    if options.evaluation.fuse and backend_of(options.snapshot.path):
        raise ValueError(f"--deployed: {options.snapshot.path} is an exported file, in which "
                         "normalization is folded already: leave it out, or give the checkpoint it "
                         "was made from")
    expect, title = options.scores.expect, f"{data.spec.title} {data.split}"
    options.corruption.check(data.labeled, title, options.evaluation.shard_count)
    if expect is not None and options.evaluation.shard_count > 1:
        raise ValueError("--expect needs all images: give it to `python -m tools.merge` when every "
                         "shard is done.")
    if expect is not None and not data.labeled:
        raise ValueError(f"--expect: {title} has no labels, so there is nothing to score.")
    if options.evaluation.report:
        # raises now, before any work is done, if jinja2 is not installed
        page.read_template()
        if not data.labeled:
            raise ValueError(f"--report: {title} has no labels, so there is nothing to report.")


def open_records(options: Options, model: LoadedModel, data: SegmentationDataset,
                 corruption: Corruption | None) -> Records:
    """Returns the records of the output folder; logs what is evaluated."""
    folder = options.evaluation.folder or default_folder(options, data)
    identity = run_identity(options, model, data, corruption)
    settings = run_settings(options, identity, model, data)
    if distributed.is_main() and corruption:
        log.info("%s, severity %d of 5:", corruption.kind, corruption.severity)
    elif distributed.is_main():
        log.info("%s: %s, %s weights", options.snapshot.path, model.trained.arch,
                 model.trained.weights)
        log.info("%s %s: %d images, %s, in %s on %s by %s", data.spec.title, data.split,
                 identity["images"], options.inference, identity["precision"],
                 model.predictor.device, model.predictor.backend)
    return Records(robustness.folder_of(folder, corruption), identity, options.evaluation.shard,
                   settings)


def run(args: Namespace) -> int:
    """Evaluates; returns 0, or 1 if the mean IoU is not the expected one."""
    options = Options.from_args(args)
    distributed.start()
    with Interrupts() as interrupts:
        return 0 if evaluate(options, interrupts) else 1


def main(argv: Sequence[str] | None = None) -> int:
    args = build_parser().parse_args(argv)
    return run_program("eval.py", lambda: run(args), less_memory=inference_flags.LESS_MEMORY,
                       resume="the results so far are saved; go on with the same command and "
                              "--resume")


if __name__ == "__main__":
    sys.exit(main())
