"""Parses one's own pictures and videos: `python -m tools.demo --snapshot FILE --input INPUT --out
FOLDER`.
"""
from __future__ import annotations

import logging
import re
import statistics
import sys
import time
from argparse import Namespace
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import nn

import datasets
from datasets.listing import IMAGE_SUFFIXES
from network import fuse_for_inference
from network.alignment import FlowAlignment, recorded_flows
from network.checkpoints import snapshot
from network.checkpoints.snapshot import Snapshot
from tools.demo import frames
from tools.demo.frames import VIDEO_SUFFIXES, Clip, Damaged, VideoFile
from utils import precision
from utils.cli import FlagParser, add_switch, positive_number, run_program, size
from utils.evaluation import inference
from utils.evaluation.predictor import Predictor
from utils.logs import start_logging, track
from utils.training.signals import Interrupts
from utils.visualization import flow, label_maps, rendering

log = logging.getLogger("demo")

PIPE, CAMERA = "-", re.compile(r"camera:(\d+)")
KINDS = ("overlays", "colour_masks", "label_ids", "side_by_side")
USUAL_KINDS = KINDS[:3]
# a file, or PIPE, or what CAMERA matches
Input = Path | str


def build_parser() -> FlagParser:
    parser = FlagParser(
        prog="python -m tools.demo",
        description="Parse pictures and videos of any size with a trained network.",
        epilog="Exit status: 0 all was parsed, 1 something was skipped, 2 a mistake, 130 "
        "interrupted.",
        retired={"--demo_folder": "--input", "--demo_floder": "--input", "--save_dir": "--out"},
    )
    group = parser.add_argument_group("Pictures")
    group.add_argument(
        "--input", nargs="+", required=True, metavar="INPUT",
        help=f"pictures ({' '.join(IMAGE_SUFFIXES)}), videos ({' '.join(VIDEO_SUFFIXES)}), "
        "folders of both (not their subfolders), camera:0, or - for PNG or JPEG files out of a "
        "pipe",
    )
    group.add_argument(
        "--out", type=Path, required=True, metavar="FOLDER",
        help="where a folder of each kind is made, with a .png of each picture and a .mp4 of "
        "each video",
    )
    group.add_argument(
        "--write", nargs="+", choices=KINDS, default=list(USUAL_KINDS), metavar="KIND",
        help=f"some of {', '.join(KINDS)}; label ids are pictures for videos too, one a frame",
    )
    add_switch(
        group, "--dump_flow", default=False,
        help="write what the flow alignments do as well, under flows/",
    )
    group.add_argument(
        "--stdin_size", type=size,
        help="HEIGHTxWIDTH of raw rgb24 frames out of the pipe, instead of PNG or JPEG files",
    )
    group.add_argument("--stdin_fps", type=positive_number, default=frames.USUAL_FPS,
                       help="frames a second of what comes out of the pipe")
    group.add_argument("--dataset", help=f"classes and colors; default: the snapshot's; one of: "
                                         f"{', '.join(datasets.names())}")
    snapshot.add_flags(parser)
    inference.add_flags(parser)
    precision.add_flags(parser, training=False)
    return parser


def find_inputs(names: Iterable[str]) -> dict[str, Input]:
    """Returns name -> input, in order; a file's name is its stem, lengthened where two are alike.

    Raises:
        FileNotFoundError: a path does not exist, or a folder holds neither picture nor video.
    """
    found: list[Input] = []
    for name in names:
        found += [name] if name == PIPE or CAMERA.fullmatch(name) else _files(Path(name))
    named: dict[str, Input] = {}
    for one in dict.fromkeys(found):
        name = (
            one.stem if isinstance(one, Path) else "stdin" if one == PIPE else one.replace(":", "")
        )
        while name in named:
            name += "_"
        named[name] = one
    return named


def _files(path: Path) -> list[Path]:
    if not path.exists():
        raise FileNotFoundError(
            f"--input {path} does not exist: give a picture, a video, a folder of them, camera:0, "
            "or - for a pipe."
        )
    if not path.is_dir():
        return [path]
    files = sorted(path.iterdir())
    found = [
        file
        for file in files
        if file.is_file() and file.suffix.lower() in IMAGE_SUFFIXES + VIDEO_SUFFIXES
    ]
    if not found:
        folder = next((file for file in files if file.is_dir()), None)
        raise FileNotFoundError(
            f"--input {path} holds no picture ({' '.join(IMAGE_SUFFIXES)}) and no video "
            f"({' '.join(VIDEO_SUFFIXES)}). "
            + (
                f"Subfolders are not searched: name one, such as {folder}."
                if folder
                else "Name the folder that holds them."
            )
        )
    return found


def is_clip(one: Input) -> bool:
    return isinstance(one, str) or one.suffix.lower() in VIDEO_SUFFIXES


@dataclass
class Tally:
    """What has been done, and how long it took.

    Args:
        what: is counted.
        parsing: seconds from each frame in memory to its labels in memory.
    """

    what: str
    start: float = field(default_factory=time.monotonic)
    parsing: list[float] = field(default_factory=list)
    skipped: int = 0

    def skip(self, error: Exception) -> None:
        log.warning("skipped: %s", error)
        self.skipped += 1

    def report(self) -> None:
        done, seconds = len(self.parsing), time.monotonic() - self.start
        alone = f", {1 / statistics.median(self.parsing):.2f} without" if done else ""
        log.info(
            "%d of %d %s in %.1f s, %.2f images/s with reading and writing%s; %d skipped", done,
            done + self.skipped, self.what, seconds, done / seconds, alone, self.skipped,
        )


class Demo:
    """A network, and what is shown of what it sees.

    Args:
        kinds: some of `KINDS`.
        dump_flow: whether its flow fields are shown as well.

    Raises:
        ValueError: there are no flow fields to show.
    """

    def __init__(
        self, net: nn.Module, predictor: Predictor, spec: datasets.DatasetSpec,
        kinds: Sequence[str], dump_flow: bool,
    ) -> None:
        if dump_flow and not any(isinstance(module, FlowAlignment) for module in net.modules()):
            raise ValueError("this network has no flow alignment: leave --dump_flow out.")
        self.predictor, self.spec, self.kinds, self.dump_flow = predictor, spec, kinds, dump_flow

    def labels(self, image: np.ndarray, tally: Tally) -> np.ndarray:
        """Parses (H, W, 3) into train ids (H, W)."""
        start = time.monotonic()
        found = (
            self.predictor.labels(torch.from_numpy(image).permute(2, 0, 1)[None])[0].cpu().numpy()
        )
        tally.parsing.append(time.monotonic() - start)
        return found

    def pictures(self, image: np.ndarray, labels: np.ndarray,
                 reaches: list[float] | None = None) -> Iterator[tuple[str, np.ndarray]]:
        """Yields the kinds that are asked for, each a picture or (H, W) label ids.

        Args:
            reaches: see `flow.color_flows`; given for the frames of a video, whose pictures must be of
                one size.
        """
        look = rendering.Rendering(
            image, labels, self.spec.palette, self.spec.names, steady=reaches is not None
        )
        made: dict[str, Callable[[], np.ndarray]] = {
            "overlays": look.overlay, "side_by_side": look.side_by_side,
            "colour_masks": lambda: label_maps.color_mask(labels, self.spec.palette),
            "label_ids": lambda: self.spec.to_raw_ids[labels]}
        yield from ((kind, made[kind]()) for kind in self.kinds)
        if self.dump_flow:
            seen = flow.predict_flows(self.predictor, recorded_flows, image)
            yield "flows", flow.sheet(look.image, flow.color_flows(seen, image.shape[1], reaches))


def parse_pictures(
    demo: Demo, pictures: dict[str, Path], out: Path, interrupts: Interrupts
) -> Tally:
    """Parses pictures of any size. Raises Interrupted, or OSError where nothing can be written."""
    tally = Tally("pictures")
    for name, path in interrupts.during(
        track(pictures.items(), len(pictures), "pictures"), len(pictures)
    ):
        try:
            image = datasets.read_image(path, upright=True)
        except datasets.DatasetError as error:
            tally.skip(error)
            continue
        for kind, picture in demo.pictures(image, demo.labels(image, tally)):
            label_maps.write(out / kind / f"{name}.png", picture)
    return tally


def parse_clip(demo: Demo, clip: Clip, out: Path, interrupts: Interrupts) -> Tally:
    """Parses a video, whose files are closed and play even when it raises Interrupted.

    A frame that comes live is repeated for as long as parsing it took, so that the video plays at
    the right speed.
    """
    tally, shown = Tally(f"frames of {clip.name}"), 0
    reaches: list[float] = []
    with ExitStack() as files:
        videos: dict[str, VideoFile] = {}
        try:
            for frame in interrupts.during(track(clip.frames, clip.count, clip.name), 0):
                if isinstance(frame, Damaged):
                    tally.skip(frame)
                    continue
                due = round((time.monotonic() - tally.start) * clip.fps) if clip.live else 0
                times = max(1, due - shown)
                for kind, picture in demo.pictures(frame, demo.labels(frame, tally), reaches):
                    if picture.ndim == 2:
                        label_maps.write(
                            out / kind / clip.name / f"{len(tally.parsing) - 1:06}.png", picture
                        )
                        continue
                    if kind not in videos:
                        videos[kind] = files.enter_context(
                            VideoFile(out / kind / f"{clip.name}.mp4", clip.fps)
                        )
                    videos[kind].write(picture, times)
                shown += times
        finally:
            tally.report()
    return tally


def open_clip(one: Input, name: str, args: Namespace) -> Clip:
    """Raises Damaged for a file that is no video, OSError for a camera that is not there."""
    if isinstance(one, Path):
        return frames.video(one, name)
    if one == PIPE:
        return frames.pipe(sys.stdin.buffer, name, args.stdin_fps, args.stdin_size)
    return frames.camera(int(one.partition(":")[2]), name)


def demonstrate(args: Namespace) -> int:
    """Parses every input; returns 0, or 1 when something was skipped.

    Raises:
        ValueError, OSError: the snapshot, the input or a flag is wrong; the message says how.
        Interrupted: a signal came; what was written is whole.
    """
    device = precision.default_device()
    chosen = precision.start(args, device)
    how = inference.from_args(args)
    inputs = find_inputs(args.input)
    trained = Snapshot(args.snapshot, args.arch, args.weights)
    spec = datasets.spec(args.dataset or trained.dataset)
    net = trained.network(spec.name, spec.names)
    predictor = Predictor(
        fuse_for_inference(net), device, chosen, spec.mean, spec.std, args.channels_last, how,
        compiled=args.compile,
    )
    demo = Demo(net, predictor, spec, args.write, args.dump_flow)
    try:
        args.out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OSError(
            f"--out {args.out} cannot be made ({error.strerror}): name another folder"
        ) from error
    pictures = {
        name: one for name, one in inputs.items() if isinstance(one, Path) and not is_clip(one)
    }
    clips = {name: one for name, one in inputs.items() if name not in pictures}
    log.info(
        "%s: %s, %s weights, classes of %s", args.snapshot, trained.arch, trained.weights,
        spec.title,
    )
    log.info(
        "%d pictures and %d videos, %s, in %s on %s", len(pictures), len(clips), how, chosen, device
    )

    tallies: list[Tally] = []
    with Interrupts() as interrupts:
        if pictures:
            tallies.append(parse_pictures(demo, pictures, args.out, interrupts))
            tallies[-1].report()
        for name, one in clips.items():
            try:
                clip = open_clip(one, name, args)
            except Damaged as error:
                tallies.append(Tally(name))
                tallies[-1].skip(error)
                continue
            tallies.append(parse_clip(demo, clip, args.out, interrupts))
    skipped, done = (
        sum(tally.skipped for tally in tallies), sum(len(tally.parsing) for tally in tallies),
    )
    if done:
        log.info("look at %s", args.out / (args.write[0]))
    return 1 if skipped or not done else 0


def main(argv: Sequence[str] | None = None) -> int:
    args = build_parser().parse_args(argv)
    start_logging()
    return run_program(
        "tools.demo", lambda: demonstrate(args), resume=f"finished files are in {args.out}"
    )


if __name__ == "__main__":
    sys.exit(main())
