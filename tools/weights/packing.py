"""`tools.weights pack`: a checkpoint as a model folder, without a pickle."""
from __future__ import annotations

import shlex
from argparse import Namespace
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import datasets
import network
from eval import load_predictor
from network.checkpoints.model_folder import CONFIG, MODEL, ModelConfig
from network.checkpoints.snapshot import Snapshot, add_weights_flag, snapshot_path
from utils.cli import FlagParser
from utils.files import make_folder, read_record, sha256


def add_pack_flags(parser: FlagParser) -> None:
    parser.add_argument("--snapshot", type=snapshot_path, required=True, metavar="FILE",
                        help="checkpoint to pack, or the folder of a run")
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="new folder")
    parser.add_argument("--arch", help="architecture, if neither the file nor its keys tell it")
    parser.add_argument("--dataset", help="classes and colors, if the file does not tell them")
    add_weights_flag(parser)


def pack(args: Namespace) -> bool:
    """Writes `config.json` and `model.safetensors` of a checkpoint.

    Returns:
        True.

    Raises:
        ValueError, OSError, ImportError: the checkpoint or its dataset is invalid, the folder
            holds a network already or cannot be written, or safetensors is not installed.
    """
    for name in (CONFIG, MODEL):
        if (args.out / name).exists():
            raise ValueError(f"--out {args.out} holds a {name} already: choose another folder, or "
                             "remove that file")
    model = load_predictor(args.snapshot, arch=args.arch, weights=args.weights,
                           dataset=args.dataset, device="cpu", fuse=False)
    trained, spec = model.trained, model.spec
    make_folder(args.out, "--out")
    network.save_pretrained(model.net, args.out, config_of(trained, spec))
    print(f"{args.out}: {trained.arch}, {trained.weights} weights, {len(spec.names)} classes of "
          f"{spec.title}, {(args.out / MODEL).stat().st_size:,} bytes. Its card: python -m "
          f"tools.weights card {shlex.quote(str(args.out))} --scores EVALUATION/scores.json")
    return True


def config_of(trained: Snapshot, spec: datasets.DatasetSpec) -> ModelConfig:
    """Returns the config of a trained network, without the names of this machine's folders."""
    description = dict(spec.description) if spec.description else None
    if description is not None:
        description.pop("root", None)
    crop = (trained.payload.get("args") or {}).get("crop_size")
    height_and_width = (crop, crop) if isinstance(crop, int) else crop
    return ModelConfig(
        arch=trained.arch,
        classes=tuple(spec.names),
        colors=tuple(info.rgb for info in spec.classes),
        options=trained.options,
        dataset=spec.name,
        description=description,
        temperature=trained.payload.get("temperature"),
        crop_size=tuple(height_and_width) if height_and_width else None,
        origin=origin_of(trained),
        notes=trained.payload.get("notes") or {})


def origin_of(trained: Snapshot) -> dict[str, Any]:
    """Returns where the weights come from: file, command and commit of the training."""
    path = trained.path
    environment: Mapping[str, Any] = {}
    for folder in (path.parent, path.parent.parent):
        if (folder / "env.json").is_file():
            environment = read_record(folder / "env.json")
            break
    origin = {"checkpoint_sha256": sha256(path), "weights": trained.weights,
              "command": _command(environment), "commit": environment.get("commit")}
    return {name: value for name, value in origin.items() if value is not None}


def _command(environment: Mapping[str, Any]) -> str | None:
    """Returns the command of a training, with the last part of each absolute path."""
    if not environment.get("command"):
        return None
    processes = environment.get("processes", 1)
    start = ["torchrun", "--nproc_per_node", str(processes)] if processes > 1 else ["python"]
    program, *flags = environment["command"][1:]
    return shlex.join([*start, Path(program).name, *map(_without_folders, flags)])


def _without_folders(word: str) -> str:
    """Returns a word of a command, such as `DIR` or `--data_root=DIR`; see `_command`."""
    flag, equals, value = word.rpartition("=")
    return f"{flag}{equals}{Path(value).name}" if Path(value).is_absolute() else word
