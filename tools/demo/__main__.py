"""Predicts images and videos: `python -m tools.demo --input INPUT --out FOLDER`."""
from __future__ import annotations

import logging
import statistics
import sys
import time
from argparse import Namespace
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import nn

import datasets
from eval import LoadedModel, load_from_options
from network.alignment import FlowAlignment, recorded_flows
from network.checkpoints import snapshot as snapshot_flags
from network.checkpoints.snapshot import DEFAULT_SNAPSHOT, SnapshotOptions
from tools.demo import frames
from tools.demo.frames import DEFAULT_FPS, VIDEO_SUFFIXES, Clip, DamagedVideo, VideoFile
from tools.demo.inputs import PICTURE_SUFFIXES, PIPE, Input, find_inputs, is_clip
from utils import precision as precision_flags
from utils.backends import runtimes
from utils.backends.runtimes import BackendOptions
from utils.cli import FlagParser, add_switch, positive_number, run_program, size
from utils.evaluation import inference as inference_flags
from utils.evaluation.inference import InferenceOptions
from utils.evaluation.predictor import Predictor
from utils.files import make_folder, remove_if_empty
from utils.logs import track
from utils.precision import PrecisionOptions
from utils.training.signals import Interrupts
from utils.visualization import confidence as confidence_pictures
from utils.visualization import flow, label_maps
from utils.visualization.rendering import Rendering

log = logging.getLogger("demo")

KINDS = ("overlays", "colour_masks", "label_ids", "side_by_side")
DEFAULT_KINDS = KINDS[:3]


def build_parser() -> FlagParser:
    parser = FlagParser(
        prog="python -m tools.demo",
        description="Predict images and videos of any size with a trained network; without "
        "--snapshot, with the shipped one, for research (pretrained_models/LICENSE-WEIGHTS).",
        epilog="Exit status: 0 everything was predicted, 1 an input was skipped, 2 an invalid flag "
        "or file, 130 interrupted.",
        retired={"--demo_folder": "--input", "--demo_floder": "--input", "--save_dir": "--out"},
    )
    group = parser.add_argument_group("Images")
    group.add_argument(
        "--input", nargs="+", required=True, metavar="INPUT",
        help=f"images ({' '.join(PICTURE_SUFFIXES)}), videos ({' '.join(VIDEO_SUFFIXES)}), folders "
        "of both (without their subfolders), camera:0, or - for PNG or JPEG files from a pipe",
    )
    group.add_argument(
        "--out", type=Path, required=True, metavar="FOLDER",
        help="gets one folder per kind, with a .png of each image and a .mp4 of each video",
    )
    group.add_argument(
        "--write", nargs="+", choices=KINDS, default=list(DEFAULT_KINDS), metavar="KIND",
        help=f"any of {', '.join(KINDS)}; the label ids of a video are one image per frame",
    )
    add_switch(group, "--dump_flow", default=False, help="write the semantic flow too, to flows/")
    add_switch(group, "--confidence", default=False,
               help="write maps of the probability of the chosen class and of its margin to the "
                    "second class too, to confidence/")
    group.add_argument(
        "--stdin_size", type=size,
        help="HEIGHTxWIDTH of raw rgb24 frames from the pipe, in place of PNG or JPEG files",
    )
    group.add_argument("--stdin_fps", type=positive_number, default=DEFAULT_FPS,
                       help="frames per second of the pipe")
    group.add_argument("--dataset",
                       help="classes and colors; default: the snapshot's; one of: "
                            f"{', '.join(datasets.names())}")
    snapshot_flags.add_flags(parser, default=DEFAULT_SNAPSHOT)
    inference_flags.add_flags(parser)
    precision_flags.add_flags(parser, training=False)
    runtimes.add_flags(parser, automatic=True)
    return parser


@dataclass(frozen=True)
class Options:
    """What is predicted and written; the fields are the flags of the same name.

    Args:
        stdin_size: (height, width) of raw frames from the pipe; None for PNG or JPEG files.
        stdin_fps: frames per second of the pipe.
        dataset: of the classes and colors; None for the snapshot's.
    """

    input: Sequence[str]
    out: Path
    write: Sequence[str]
    dump_flow: bool
    confidence: bool
    stdin_size: tuple[int, int] | None
    stdin_fps: float
    dataset: str | None
    snapshot: SnapshotOptions
    inference: InferenceOptions
    precision: PrecisionOptions
    backend: BackendOptions

    @classmethod
    def from_args(cls, args: Namespace) -> Options:
        return cls(input=args.input, out=args.out, write=args.write, dump_flow=args.dump_flow,
                   confidence=args.confidence, stdin_size=args.stdin_size,
                   stdin_fps=args.stdin_fps, dataset=args.dataset,
                   snapshot=SnapshotOptions.from_args(args),
                   inference=InferenceOptions.from_args(args),
                   precision=PrecisionOptions.from_args(args),
                   backend=BackendOptions.from_args(args))


@dataclass
class Tally:
    """What was done, and how long it took.

    Attributes:
        noun: the things that are counted.
        seconds: for each prediction, from the frame in memory to its prediction in memory.
        skipped: number of images or frames that could not be read.
    """

    noun: str
    start: float = field(default_factory=time.monotonic)
    seconds: list[float] = field(default_factory=list)
    skipped: int = 0

    def skip(self, error: Exception) -> None:
        log.warning("skipped: %s", error)
        self.skipped += 1

    def report(self) -> None:
        done, elapsed = len(self.seconds), time.monotonic() - self.start
        prediction = f", {1 / statistics.median(self.seconds):.2f} without" if done else ""
        log.info("%d of %d %s in %.1f s, %.2f images/s with reading and writing%s; %d skipped",
                 done, done + self.skipped, self.noun, elapsed, done / elapsed, prediction,
                 self.skipped)


class Predicted(NamedTuple):
    """The prediction of an image.

    Attributes:
        labels: (H, W) uint8 train ids.
        maps: measure of confidence -> (H, W) float32 in [0, 1]; empty if not asked for.
    """

    labels: np.ndarray
    maps: dict[str, np.ndarray]


class Demo:
    """Predicts frames and draws the predictions.

    Args:
        net: the network, which is asked whether it has flow alignment.
        kinds: any of `KINDS`.
        dump_flow: whether the flow fields are drawn too.
        confidence: whether maps of the confidence are drawn too.

    Raises:
        ValueError: `dump_flow` for a network without flow alignment, or `confidence` for a file
            that returns labels.
    """

    def __init__(self, net: nn.Module, predictor: Predictor, spec: datasets.DatasetSpec, *,
                 kinds: Sequence[str], dump_flow: bool = False, confidence: bool = False) -> None:
        has_flow = any(isinstance(module, FlowAlignment) for module in net.modules())
        if dump_flow and not has_flow:
            raise ValueError("this network has no flow alignment: leave --dump_flow out; an "
                             "exported file shows no flow, its checkpoint does.")
        if confidence:
            predictor.require_logits("--confidence")
        self.predictor = predictor
        self.spec = spec
        self.kinds = kinds
        self.dump_flow = dump_flow
        self.measures = tuple(confidence_pictures.TITLES) if confidence else ()

    def predict(self, image: np.ndarray, tally: Tally) -> Predicted:
        """Predicts an image (H, W, 3)."""
        start = time.monotonic()
        batch = torch.from_numpy(image).permute(2, 0, 1)[None]
        if self.measures:
            labels, maps = self.predictor.confidence(batch, self.measures)
        else:
            labels, maps = self.predictor.labels(batch), {}
        predicted = Predicted(labels[0].cpu().numpy(),
                              {name: values[0].cpu().numpy() for name, values in maps.items()})
        tally.seconds.append(time.monotonic() - start)
        return predicted

    def draw(self, image: np.ndarray, predicted: Predicted,
             max_lengths: list[float] | None = None) -> Iterator[tuple[str, np.ndarray]]:
        """Yields each kind and its picture, (h, w, 3), or (H, W) for label ids.

        Args:
            max_lengths: see `flow.color_flows`; given for the frames of a video, whose pictures
                must all have the same size.
        """
        predictions = predicted.labels
        rendering = Rendering(image, predictions, self.spec.palette, self.spec.names,
                              steady=max_lengths is not None)
        draw_kind: dict[str, Callable[[], np.ndarray]] = {
            "overlays": rendering.overlay,
            "side_by_side": rendering.side_by_side,
            "colour_masks": lambda: label_maps.color_mask(predictions, self.spec.palette),
            "label_ids": lambda: self.spec.to_raw_ids[predictions],
        }
        for kind in self.kinds:
            yield kind, draw_kind[kind]()
        if self.dump_flow:
            flows = flow.predict_flows(self.predictor, recorded_flows, image)
            fields = flow.color_flows(flows, image.shape[1], max_lengths)
            yield "flows", flow.sheet(rendering.image, fields)
        if predicted.maps:
            yield "confidence", confidence_pictures.sheet(rendering.image, predicted.maps)


def predict_images(demo: Demo, images: dict[str, Path], out: Path, interrupts: Interrupts) -> Tally:
    """Predicts images of any size. Raises Interrupted, or OSError if a file cannot be written."""
    tally = Tally("images")
    items = track(images.items(), len(images), "images")
    for name, path in interrupts.during(items, len(images)):
        try:
            image = datasets.read_image(path, upright=True)
        except datasets.DatasetError as error:
            tally.skip(error)
            continue
        for kind, picture in demo.draw(image, demo.predict(image, tally)):
            label_maps.write(out / kind / f"{name}.png", picture)
    tally.report()
    return tally


def predict_clip(demo: Demo, clip: Clip, out: Path, interrupts: Interrupts) -> Tally:
    """Predicts a video. Its files are closed, and can be played, even if it raises Interrupted.

    A live frame is repeated for as long as its prediction took, so that the video plays at the
    right speed.
    """
    tally = Tally(f"frames of {clip.name}")
    frames_written = 0
    max_lengths: list[float] = []
    with ExitStack() as files:
        videos: dict[str, VideoFile] = {}
        try:
            for frame in interrupts.during(track(clip.frames, clip.count, clip.name), 0):
                if isinstance(frame, DamagedVideo):
                    tally.skip(frame)
                    continue
                elapsed_frames = round((time.monotonic() - tally.start) * clip.fps)
                times = max(1, elapsed_frames - frames_written) if clip.live else 1
                for kind, picture in demo.draw(frame, demo.predict(frame, tally), max_lengths):
                    if picture.ndim == 2:
                        name = f"{len(tally.seconds) - 1:06}.png"
                        label_maps.write(out / kind / clip.name / name, picture)
                        continue
                    if kind not in videos:
                        video = VideoFile(out / kind / f"{clip.name}.mp4", clip.fps)
                        videos[kind] = files.enter_context(video)
                    videos[kind].write(picture, times)
                frames_written += times
        finally:
            tally.report()
    if not tally.seconds and not tally.skipped:
        log.warning("%s has no frames", clip.name)
    return tally


def open_clip(source: Input, name: str, options: Options) -> Clip:
    """Raises DamagedVideo for a file that is no video, OSError for a camera that is missing."""
    if isinstance(source, Path):
        return frames.video(source, name)
    if source == PIPE:
        return frames.pipe(sys.stdin.buffer, name, options.stdin_fps, options.stdin_size)
    return frames.camera(int(source.partition(":")[2]), name)


def predict_all(demo: Demo, inputs: dict[str, Input], options: Options,
                interrupts: Interrupts) -> list[Tally]:
    """Predicts the images, then each video.

    Raises:
        OSError: a camera is missing, or a video cannot be written; the other inputs are predicted.
    """
    images: dict[str, Path] = {}
    clips: dict[str, Input] = {}
    for name, source in inputs.items():
        if isinstance(source, Path) and not is_clip(source):
            images[name] = source
        else:
            clips[name] = source
    tallies = [predict_images(demo, images, options.out, interrupts)] if images else []
    failures: list[OSError] = []
    for name, source in clips.items():
        try:
            clip = open_clip(source, name, options)
            tallies.append(predict_clip(demo, clip, options.out, interrupts))
        except DamagedVideo as error:
            tallies.append(Tally(name))
            tallies[-1].skip(error)
        except OSError as error:
            if len(clips) > 1:
                log.error("%s", error)
            failures.append(error)
    if failures:
        raise failures[0]
    return tallies


def load(options: Options) -> LoadedModel:
    """Returns the network that the flags name. Raises ValueError or OSError if it is invalid."""
    [model] = load_from_options(options.snapshot, options.precision, options.inference,
                                dataset=options.dataset, backend=options.backend)
    return model


def run(args: Namespace) -> int:
    """Predicts every input; returns 0, or 1 if an input was skipped.

    Raises:
        ValueError, OSError: the snapshot, an input or a flag is invalid.
        Interrupted: a signal came; the files written so far are complete.
    """
    options = Options.from_args(args)
    inputs = find_inputs(options.input)
    model = load(options)
    predictor, spec = model.predictor, model.spec
    demo = Demo(model.net, predictor, spec, kinds=options.write, dump_flow=options.dump_flow,
                confidence=options.confidence)
    is_new = not options.out.exists()
    make_folder(options.out, "--out")
    log.info("%s: %s, %s weights, classes of %s", options.snapshot.path, model.trained.arch,
             model.trained.weights, spec.title)
    log.info("%d input%s, %s, in %s on %s by %s", len(inputs), "s" if len(inputs) > 1 else "",
             predictor.inference, predictor.precision, predictor.device, predictor.backend)
    try:
        with Interrupts() as interrupts:
            tallies = predict_all(demo, inputs, options, interrupts)
    finally:
        if is_new:
            remove_if_empty(options.out)
    skipped = sum(tally.skipped for tally in tallies)
    done = sum(len(tally.seconds) for tally in tallies)
    if done:
        log.info("look at %s", options.out / options.write[0])
    return 1 if skipped or not done else 0


def main(argv: Sequence[str] | None = None) -> int:
    args = build_parser().parse_args(argv)
    return run_program("tools.demo", lambda: run(args), less_memory=inference_flags.LESS_MEMORY,
                       resume=f"finished files are in {args.out}")


if __name__ == "__main__":
    sys.exit(main())
