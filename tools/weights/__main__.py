"""Lists, checks, converts and packs weights: `python -m tools.weights list|verify|...`."""
from __future__ import annotations

import sys
import zipfile
import zlib
from argparse import ArgumentTypeError, Namespace
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch

import network
from network.checkpoints.files import read
from network.checkpoints.keys import class_count, guess_architecture, published_shapes
from network.checkpoints.paths import CHECKPOINTS, PRETRAINED
from network.checkpoints.snapshot import Snapshot, add_weights_flag, snapshot_path
from network.checkpoints.sources import EXTRA, PACKAGES, Source, backbone_of, sources
from network.checkpoints.weights import WeightsError, state_dict
from network.registry import timm_names
from tools.weights.card import add_card_flags, card
from tools.weights.converting import check_new, reduced, write
from tools.weights.hub import add_push_flags, push
from tools.weights.packing import add_pack_flags, pack
from utils.cli import Command, FlagParser, add_switch, run_program
from utils.files import make_folder, sha256, write_text
from utils.training.checkpoint import checksum_file

# in the format of the program sha256sum
MANIFEST = "SHA256SUMS"
SUFFIXES = (".pth", ".pt", ".tar", ".safetensors")
CHANGED = "CHANGED"


def add_list_flags(parser: FlagParser) -> None:
    parser.add_argument("--folder", type=Path, default=PRETRAINED,
                        help="folder of the ImageNet weights")


def list_files(args: Namespace) -> bool:
    """Prints the sources of the ImageNet weights of each backbone, and which are available.

    Returns:
        True.
    """
    print(f"{'backbone':22} {'source':8} {'size':>13}  {'name':36} used by")
    for backbone in dict.fromkeys(map(backbone_of, network.names())):
        users = [arch for arch in network.names() if backbone_of(arch) == backbone]
        _list_sources(backbone, users, args.folder)
    for model in PACKAGES:
        _list_sources(model, timm_names(model), args.folder, is_timm=True)
    print(f"Files are searched for in {args.folder}; {EXTRA} installs the packages.\n"
          "Other backbones of sfnet_timm:MODEL come from MODEL.pth there, or timm downloads them.")
    return True


def _list_sources(backbone: str, users: Sequence[str], folder: Path,
                  is_timm: bool = False) -> None:
    try:
        for source in sources(backbone, is_timm, folder):
            name = Path(source.name).name if source.kind == "file" else source.name
            print(f"{backbone:22} {source.kind:8} {_size(source):>13}  {name:36} "
                  f"{', '.join(users)}")
    # a package is installed without its file of weights
    except FileNotFoundError as error:
        print(f"{backbone:22} {'package':8} {'damaged':>13}  {error}")


def _size(source: Source) -> str:
    """Returns the size of a source's file in bytes, or why there is none."""
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
    """Reads each file and compares its SHA-256 with that in the manifest.

    Returns:
        Whether all files can be read and are as recorded.
    """
    manifest = _read_manifest(args.folder / MANIFEST)
    files, missing = args.files, []
    if not files:
        files = sorted(path for path in args.folder.glob("*") if path.suffix in SUFFIXES)
        missing = [name for name in manifest if not (args.folder / name).is_file()]
    is_valid = not missing
    for name in missing:
        print(f"{args.folder / name}: is in the manifest, but not there")
    for path in files:
        try:
            guess = guess_architecture(state_dict(read(path), False, str(path)))
        except (WeightsError, FileNotFoundError) as error:
            print(error)
            is_valid = False
            continue
        digest = sha256(path)
        if args.record:
            manifest[path.name] = digest
            state = "recorded"
        else:
            state = _compare(digest, manifest.get(path.name))
        damage = _damage(path, digest)
        if damage:
            print(f"{path} is damaged: {damage}")
            is_valid = False
        if state == CHANGED:
            is_valid = False
        print(f"{path}: {guess or 'not a network known here'}, {state}, {digest}")
    if args.record:
        lines = [f"{digest}  {name}\n" for name, digest in sorted(manifest.items())]
        write_text(args.folder / MANIFEST, "".join(lines))
    if not (files or missing):
        print(f"no file of weights ({' '.join(SUFFIXES)}) in {args.folder}")
    return is_valid


def _damage(path: Path, digest: str) -> str | None:
    """Returns how the content of a readable file was changed since it was written, if it was.

    A zip file holds a checksum of each tensor, which torch does not compare. A run writes one of
    each checkpoint beside it; `best.pth` and `last.pth` are other names of a checkpoint, or copies.
    """
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            try:
                entry = archive.testzip()
            except (zipfile.BadZipFile, zlib.error, OSError) as error:
                return str(error)
        if entry is not None:
            return f"the checksum of its entry {entry} differs"
    checksums = checksum_file(path)
    if path.name in CHECKPOINTS:
        step = read(path).get("step")
        checksums = checksum_file(path.parent / "checkpoints" / f"step_{step}.pth")
    if checksums.is_file() and digest not in checksums.read_text().split():
        return f"its checksum is not the one that its run wrote to {checksums}"
    return None


def _compare(digest: str, recorded: str | None) -> str:
    """Returns how a file's SHA-256 compares with that in the manifest, in words."""
    if recorded is None:
        return "not in the manifest"
    return "as recorded" if recorded == digest else CHANGED


def add_inspect_flags(parser: FlagParser) -> None:
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE", help="files of weights")


def inspect(args: Namespace) -> bool:
    """Prints what each file holds, by its keys alone.

    Returns:
        Whether the architecture of every file was recognized.
    """
    all_recognized = True
    for path in args.files:
        try:
            payload = read(path)
            tensors = state_dict(payload, False, str(path))
        except (WeightsError, FileNotFoundError) as error:
            print(error)
            all_recognized = False
            continue
        guess, classes = guess_architecture(tensors), class_count(tensors)
        if guess is None:
            all_recognized = False
        count = sum(value.numel() for value in tensors.values())
        parts = [guess or "no network known here",
                 f"{classes} classes" if classes else "no segmentation classifier",
                 f"{len(tensors)} tensors of {count:,} numbers"]
        parts += [f"says {name} {payload[name]}"
                  for name in ("arch", "dataset", "epoch", "step", "mean_iu")
                  if payload.get(name) is not None]
        if payload.get("ema"):
            parts.append("with averaged weights")
        parts += [f"{name}: {text}" for name, text in payload.get("notes", {}).items()]
        print(f"{path}: {'; '.join(parts)}")
    return all_recognized


def add_convert_flags(parser: FlagParser) -> None:
    parser.add_argument("--snapshot", type=snapshot_path, required=True, metavar="FILE",
                        help="checkpoint to convert, or the folder of a run")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE",
                        help="new file: .pth or .safetensors")
    parser.add_argument("--arch", help="architecture, if neither the file nor its keys tell it")
    add_weights_flag(parser)
    add_switch(parser, "--half", default=False,
               help="store matrices and kernels as float16, which halves the file; vectors, such "
                    "as the statistics of batch normalization, stay float32")
    parser.add_argument("--note", nargs="+", action="extend", type=_note, default=[],
                        metavar="NAME=TEXT",
                        help="kept in the file and shown by inspect, such as score=..., "
                             "training=COMMAND; license=... is logged when the file is loaded")


def convert(args: Namespace) -> bool:
    """Reduces a checkpoint to what inference needs, with the keys of the published checkpoints.

    Returns:
        True.

    Raises:
        ValueError, OSError, ImportError: the checkpoint cannot be loaded, or the new file cannot be
            written.
    """
    check_new(args.out)
    with network.flags_in_errors():
        trained = Snapshot(args.snapshot, args.arch, args.weights)
        net = trained.build_network()
    payload = reduced(trained, net)
    if args.note:
        payload["notes"] = {**payload.get("notes", {}), **dict(args.note)}
    if args.half:
        payload["state_dict"] = half(payload["state_dict"])
    write(payload, args.out)
    print(f"{args.out}: {trained.arch}, {trained.weights} weights, "
          f"{args.out.stat().st_size:,} bytes (from {args.snapshot.stat().st_size:,})")
    return True


def half(tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Returns the tensors with matrices and kernels as float16; loading makes them float32 again.

    Raises:
        ValueError: a number is beyond the range of float16, which ends at 65504.
    """
    result = {}
    for key, value in tensors.items():
        is_kernel = value.is_floating_point() and value.ndim > 1
        result[key] = value.half() if is_kernel else value
        if (torch.isfinite(result[key]) != torch.isfinite(value)).any():
            raise ValueError(f"{key} has numbers that float16 cannot hold: leave out --half")
    return result


def add_stand_in_flags(parser: FlagParser) -> None:
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER",
                        help="folder for the files")
    parser.add_argument("--arch", nargs="+", default=network.names(), metavar="NAME",
                        help="architectures")


def stand_ins(args: Namespace) -> bool:
    """Writes files in the format of the published checkpoints, with random weights, and loads them.

    Their keys begin with `module.`, they hold tensors that no layer uses and a score as a NumPy
    number, and they have the legacy format of `torch.save`.

    Returns:
        True.
    """
    make_folder(args.out, "--out")
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
    "list": Command("list the sources of ImageNet weights", add_list_flags, list_files),
    "verify": Command(f"read files, and compare their SHA-256 with {MANIFEST}", add_verify_flags,
                      verify),
    "inspect": Command("print what a file holds, by its keys alone", add_inspect_flags, inspect),
    "convert": Command("reduce a checkpoint to what inference needs", add_convert_flags, convert),
    "stand_ins": Command("write files in the format of the published checkpoints, and load them",
                         add_stand_in_flags, stand_ins),
    "pack": Command("write a checkpoint as a folder without a pickle: config.json and "
                    "model.safetensors", add_pack_flags, pack),
    "card": Command("write the model card of such a folder, from the scores of an evaluation",
                    add_card_flags, card),
    "push": Command("upload such a folder to the Hugging Face hub", add_push_flags, push),
}


def build_parser() -> FlagParser:
    parser = FlagParser(prog="python -m tools.weights",
                        description="List, check, recognize, convert and pack weights.")
    parser.add_commands(COMMANDS)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    args = build_parser().parse_args(argv)
    return run_program("tools.weights", lambda: 0 if COMMANDS[args.command].run(args) else 1)


def _note(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not (name and equals and value):
        raise ArgumentTypeError(f"{text!r} is not NAME=TEXT")
    return name, value


def _read_manifest(path: Path) -> dict[str, str]:
    """Returns file name -> SHA-256 of a manifest; empty if there is none."""
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    # each line is "DIGEST  NAME"
    parts = [line.partition("  ") for line in lines]
    return {name: digest for digest, _, name in parts}


def _random(key: str, shape: torch.Size) -> torch.Tensor:
    """Returns a random tensor that the layer of the key accepts; variances are positive."""
    if key.endswith("num_batches_tracked"):
        return torch.zeros(shape, dtype=torch.int64)
    if key.endswith("running_var"):
        return torch.rand(shape) + 0.5
    return 0.1 * torch.randn(shape)


if __name__ == "__main__":
    sys.exit(main())
