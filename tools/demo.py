"""Parses one's own pictures: `python -m tools.demo --snapshot FILE --input FOLDER --out FOLDER`."""
from __future__ import annotations

import logging
import sys
import time
from argparse import Namespace
from collections.abc import Iterable, Sequence
from pathlib import Path

import torch

import datasets
from datasets.finding import IMAGE_SUFFIXES
from network import deployed, snapshot
from network.snapshot import Snapshot
from utils import inference, precision, visualize
from utils.flags import FlagParser
from utils.logs import start_logging
from utils.predictor import Predictor
from utils.progress import track

log = logging.getLogger("demo")


def build_parser() -> FlagParser:
    parser = FlagParser(prog="python -m tools.demo", description="Parse pictures of any size with a trained network.",
                        retired={"--demo_folder": "--input", "--demo_floder": "--input", "--save_dir": "--out"})
    pictures = parser.add_argument_group("Pictures")
    pictures.add_argument("--input", type=Path, nargs="+", required=True, metavar="PATH",
                          help=f"pictures ({' '.join(IMAGE_SUFFIXES)}), or folders of pictures (not their subfolders)")
    pictures.add_argument("--out", type=Path, required=True, metavar="FOLDER",
                          help="where overlays/, colour_masks/ and label_ids/ are written")
    pictures.add_argument("--dataset", help=f"classes and colours; default: the snapshot's; one of: "
                                            f"{', '.join(datasets.names())}")
    snapshot.add_flags(parser)
    inference.add_flags(parser)
    precision.add_flags(parser)
    return parser


def find_pictures(paths: Iterable[Path]) -> dict[str, Path]:
    """Returns name -> file for each picture, in order; the name is the file's stem, lengthened where two are alike.

    Raises:
        FileNotFoundError: a path does not exist, or a folder holds no picture.
    """
    found: list[Path] = []
    for path in paths:
        if not path.exists():
            raise FileNotFoundError(f"--input {path} does not exist: give a picture or a folder of pictures.")
        files = sorted(path.iterdir()) if path.is_dir() else [path]
        pictures = [file for file in files
                    if file == path or (file.is_file() and file.suffix.lower() in IMAGE_SUFFIXES)]
        if not pictures:
            folder = next((file for file in files if file.is_dir()), None)
            raise FileNotFoundError(f"--input {path} holds no picture ({' '.join(IMAGE_SUFFIXES)}). "
                                    + (f"Subfolders are not searched: name one, such as {folder}." if folder else
                                       "Name the folder that holds them."))
        found += pictures
    named: dict[str, Path] = {}
    for file in dict.fromkeys(found):
        name = file.stem
        while name in named:
            name += "_"
        named[name] = file
    return named


def demonstrate(args: Namespace) -> int:
    """Parses every picture; returns 0, or 1 when not one could be read.

    Raises:
        ValueError, OSError: the snapshot, the input or a flag is wrong; the message says how.
    """
    device = precision.default_device()
    chosen = precision.resolve_precision(args.precision, device)
    how = inference.from_args(args)
    pictures = find_pictures(args.input)
    trained = Snapshot(args.snapshot, args.arch, args.weights)
    spec = datasets.spec(args.dataset or trained.dataset)
    net = trained.network(spec.name, spec.names)
    predictor = Predictor(deployed(net), device, chosen, spec.mean, spec.std, args.channels_last, how,
                          compiled=args.compile)
    log.info("%s: %s, %s weights, classes of %s", args.snapshot, trained.arch, trained.weights, spec.title)
    log.info("%d pictures, %s, in %s on %s", len(pictures), how, chosen, device)

    done, start = 0, time.monotonic()
    for name, path in track(pictures.items(), len(pictures), "pictures"):
        try:
            image = datasets.read_image(path, upright=True)
        except datasets.DatasetError as error:
            log.warning("skipped: %s", error)
            continue
        labels = predictor.labels(torch.from_numpy(image).permute(2, 0, 1)[None])[0].cpu().numpy()
        visualize.dump(args.out, name, image, labels, spec.palette, spec.names, spec.to_raw_ids)
        done += 1
    seconds = time.monotonic() - start
    log.info("%d of %d pictures in %.1f s, %.2f images/s with reading and writing; %d skipped", done, len(pictures),
             seconds, done / seconds, len(pictures) - done)
    if done:
        log.info("look at %s", args.out / "overlays")
    return 0 if done else 1


def main(argv: Sequence[str] | None = None) -> int:
    args = build_parser().parse_args(argv)
    start_logging(None)
    try:
        return demonstrate(args)
    except (ValueError, OSError) as error:
        log.error("tools.demo: error: %s", error)
        return 2
    except KeyboardInterrupt:
        log.error("tools.demo: interrupted; what is done is in %s", args.out)
        return 130


if __name__ == "__main__":
    sys.exit(main())
