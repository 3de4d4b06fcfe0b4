"""Packs a split for `train.py --packed`: `python -m tools.pack_dataset --dataset D --out DIR`."""
from __future__ import annotations

import errno
import json
import os
import shlex
import shutil
import statistics
import sys
import time
import zlib
from argparse import Namespace
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from torch.utils.data import Dataset

import datasets
from datasets.loader import load_items
from datasets.packed import (
    BYTES_PER_PIXEL,
    JOURNAL,
    LOCK,
    MANIFEST,
    PAIRS,
    Entry,
    Pack,
    check_settings,
    manifest_text,
    origin,
    pack_settings,
    read_manifest,
)
from utils.cli import FlagParser, run_program
from utils.files import make_folder, replacing, write_text
from utils.locks import locked
from utils.logs import track

NUM_PROBES = 8              # pairs that are read to estimate size and gain


def build_parser() -> FlagParser:
    parser = FlagParser(prog="python -m tools.pack_dataset", description=__doc__)
    parser.add_argument("--dataset", required=True, help=datasets.help_text())
    parser.add_argument(
        "--data_root", help="folder that holds the dataset, laid out as in DATASETs.md")
    parser.add_argument("--split", default="train", help="split to pack, as for --train_split")
    parser.add_argument("--out", type=Path, required=True,
                        help="folder to write; a pack that was interrupted is continued")
    parser.add_argument("--num_workers", type=int, default=os.cpu_count() or 1,
                        help="processes that pack; 0 packs in this one")
    parser.add_argument("--dry_run", action="store_true",
                        help="print the size and the expected gain, write nothing")
    parser.add_argument(
        "--verify", action="store_true", help="read a finished pack and compare every checksum")
    return parser


def run(args: Namespace) -> int:
    """Packs a split, or verifies a pack; returns the exit code.

    Raises:
        ValueError: the dataset or the pack does not fit the flags.
        OSError: the folder is not writable, or the disk is full.
    """
    dataset = datasets.build(args.dataset, args.data_root, args.split)
    if not dataset.labeled:
        raise ValueError(f"{dataset.spec.title} {args.split} has no labels, but a pack is for "
                         "training: choose another --split.")
    if args.verify:
        return verify(Pack(args.out, dataset))
    entries = finished_entries(args.out, dataset)
    missing = [index for index in range(len(dataset)) if index not in entries]
    needed = estimate(dataset, missing, args.out)
    if args.dry_run:
        return 0
    if missing:
        free = shutil.disk_usage(existing_parent(args.out)).free
        if needed > free:
            raise OSError(f"{args.out} has {format_bytes(free)} free and the pack needs about "
                          f"{format_bytes(needed)}: free some space or give another --out.")
        pack(dataset, args.out, entries, missing, args.num_workers)
    # the checks of train.py
    Pack(args.out, dataset)
    train = shlex.join(["python", "train.py", "--dataset", args.dataset, "--data_root",
                        str(dataset.root), "--train_split", args.split, "--packed", str(args.out)])
    print(f"{args.out} is complete: {len(dataset)} pairs. Train from it with: {train}")
    return 0


def finished_entries(out: Path, dataset: datasets.SegmentationDataset) -> dict[int, Entry]:
    """Returns index -> entry of the pairs that are already packed and still valid.

    Raises:
        ValueError: the folder holds something other than a pack of this dataset.
    """
    manifest = read_manifest(out)
    if manifest is not None:
        settings, fields = manifest["settings"], dict(enumerate(manifest["entries"]))
    elif (out / JOURNAL).is_file():
        settings, fields = read_journal(out / JOURNAL)
    elif out.exists() and not is_empty(out):
        raise ValueError(f"{out} does not hold a pack but other files: give --out a new folder.")
    else:
        return {}
    check_settings(out, settings, dataset)
    entries = {}
    for index, entry_fields in fields.items():
        if index >= len(dataset):
            continue
        entry = Entry.from_json(entry_fields)
        path = out / entry.file
        has_size = path.is_file() and path.stat().st_size == entry.num_bytes
        if has_size and entry.origin == origin(dataset, index):
            entries[index] = entry
    return entries


def is_empty(out: Path) -> bool:
    """Returns whether a folder is empty, but for the files of a pack that was just started."""
    return out.is_dir() and {path.name for path in out.iterdir()} <= {LOCK, PAIRS}


def read_journal(path: Path) -> tuple[dict[str, Any], dict[int, dict[str, Any]]]:
    """Returns the settings from the first line and index -> entry from the others.

    A crash may have truncated the last line, which is dropped.
    """
    lines: list[dict[str, Any]] = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            lines.append(json.loads(line))
        except ValueError:
            break
    settings = lines[0] if lines else {}
    return settings, {line["index"]: line["entry"] for line in lines[1:]}


def estimate(dataset: datasets.SegmentationDataset, missing: Sequence[int], out: Path) -> float:
    """Prints the size of the pack and its expected gain; returns the bytes still to be written."""
    if not missing:
        return 0
    positions = np.linspace(0, len(missing) - 1, min(NUM_PROBES, len(missing)))
    num_pixels, read_seconds, copy_seconds = [], [], []
    for position in positions:
        start = time.perf_counter()
        image, label = dataset.read(missing[round(position)])
        middle = time.perf_counter()
        assert label is not None
        image.copy()
        label.copy()
        read_seconds.append(middle - start)
        copy_seconds.append(time.perf_counter() - middle)
        num_pixels.append(label.size)
    needed = BYTES_PER_PIXEL * statistics.mean(num_pixels) * len(missing)
    sources = [source for index in missing for source in origin(dataset, index)[0]]
    size_of_files = sum(size for _, size, _ in sources)
    print(f"{len(missing)} of {len(dataset)} pairs to pack: about {format_bytes(needed)} in {out} "
          f"(their files have {format_bytes(size_of_files)}). Reading a pair takes "
          f"{1e3 * statistics.median(read_seconds):.1f} ms from the files; from the pack, in "
          f"memory, at most {1e3 * statistics.median(copy_seconds):.2f} ms, and less for a crop.",
          flush=True)
    return needed


def pack(dataset: datasets.SegmentationDataset, out: Path, entries: dict[int, Entry],
         missing: Sequence[int], num_workers: int) -> None:
    """Writes the missing pairs and then pack.json. If it is stopped, a later run continues it.

    Raises:
        OSError: the disk is full or not writable, or another process is packing into the folder.
        ValueError: a pair cannot be read.
    """
    make_folder(out / PAIRS, "--out")
    try:
        with locked(out / LOCK, f"another tools.pack_dataset is writing {out}: wait until it has "
                                "ended, or give another --out."):
            write_pairs(dataset, out, entries, missing, num_workers)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise OSError(f"the disk is full at {out}, after {len(entries)} of {len(dataset)} "
                          "pairs: free some space and run the same command again, which continues "
                          "where it stopped.") from error
        raise


def write_pairs(dataset: datasets.SegmentationDataset, out: Path, entries: dict[int, Entry],
                missing: Sequence[int], num_workers: int) -> None:
    """Adds the missing pairs to `entries` and to the folder.

    The journal lists the finished pairs while the pack is incomplete; then the manifest replaces
    it.
    """
    settings = pack_settings(dataset)
    lines = [settings, *(journal_line(index, entry) for index, entry in sorted(entries.items()))]
    write_text(out / JOURNAL, "".join(json.dumps(line) + "\n" for line in lines))
    # from here on, the pack is not finished
    (out / MANIFEST).unlink(missing_ok=True)
    with (out / JOURNAL).open("a", encoding="utf-8") as journal:
        for index, entry in packed_entries(dataset, out, missing, num_workers):
            entries[index] = entry
            journal.write(json.dumps(journal_line(index, entry)) + "\n")
            journal.flush()
    write_text(out / MANIFEST, manifest_text(settings, [entries[i] for i in range(len(dataset))]))
    (out / JOURNAL).unlink()
    # a crash or an earlier, larger split may have left other files
    names = {Path(entry.file).name for entry in entries.values()}
    for path in (out / PAIRS).iterdir():
        if path.name not in names:
            path.unlink()


def journal_line(index: int, entry: Entry) -> dict[str, Any]:
    return {"index": index, "entry": asdict(entry)}


def packed_entries(dataset: datasets.SegmentationDataset, out: Path, indices: Sequence[int],
                   num_workers: int) -> Iterator[tuple[int, Entry]]:
    """Packs pairs in worker processes; yields each index with its entry when done, in order."""
    results = load_items(PairWriter(dataset, out), num_workers, indices)
    for index, result in zip(indices, track(results, len(indices), "packing"), strict=True):
        if isinstance(result, OSError):
            raise result
        yield index, result


class PairWriter(Dataset[Entry | OSError]):
    """Packs the pair of an index and returns its entry.

    An error of the disk is returned, too: raised in a worker process, it would reach the user below
    two stack traces.
    """

    def __init__(self, dataset: datasets.SegmentationDataset, out: Path) -> None:
        self.dataset = dataset
        self.out = out

    def __getitem__(self, index: int) -> Entry | OSError:
        try:
            return self.write(index)
        except OSError as error:
            return error

    def write(self, index: int) -> Entry:
        """Writes a pair, completely or not at all."""
        sources, mapping = origin(self.dataset, index)
        image, label = self.dataset.read(index)
        assert label is not None
        height, width = label.shape
        name = f"{PAIRS}/{index:06d}.raw"
        crc32 = 0
        with replacing(self.out / name, self.out / f"{name}.part") as file:
            for pixels in (image, label):
                data = np.ascontiguousarray(pixels).data
                file.write(data)
                crc32 = zlib.crc32(data, crc32)
        return Entry(name, height, width, crc32, sources, mapping)


def verify(pack: Pack) -> int:
    """Compares every checksum and prints the differences; returns the exit code."""
    messages = [message for message in track(pack.verify(), len(pack.entries), "verifying")
                if message]
    if messages:
        print("\n".join(messages))
        return 1
    print(f"{pack.folder}: all {len(pack.entries)} pairs are unchanged.")
    return 0


def format_bytes(size: float) -> str:
    """Returns bytes as text in MB or GB."""
    return f"{size / 1e9:.2f} GB" if size >= 1e9 else f"{size / 1e6:.2f} MB"


def existing_parent(path: Path) -> Path:
    """Returns the path if it exists, or else the nearest existing folder above it."""
    path = path.absolute()
    return next(folder for folder in (path, *path.parents) if folder.exists())


def main(argv: Sequence[str] | None = None) -> int:
    args = build_parser().parse_args(argv)
    return run_program("tools.pack_dataset", partial(run, args),
                       resume="run the same command again, which continues where it stopped")


if __name__ == "__main__":
    sys.exit(main())
