"""Makes a packed copy of a split for `train.py --packed`: `python -m tools.pack_dataset --dataset D --out DIR`."""
from __future__ import annotations

import errno
import fcntl
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
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from torch.utils.data import Dataset

import datasets
from datasets.loader import label_loader
from datasets.packed import (
    JOURNAL,
    LOCK,
    MANIFEST,
    PAIRS,
    Entry,
    Pack,
    check_settings,
    origin,
    read_manifest,
    settings_of,
    write_manifest,
)
from utils.cli import FlagParser
from utils.files import write_text
from utils.logs import track

PROBES = 8                                                  # pairs that are read to foretell size and gain


def build_parser() -> FlagParser:
    parser = FlagParser(prog="python -m tools.pack_dataset", description=__doc__)
    parser.add_argument("--dataset", required=True,
                        help=f"one of: {', '.join(datasets.names())}; or a YAML file that describes one's own")
    parser.add_argument("--data_root", help="folder that holds the dataset, as DATASETs.md shows it")
    parser.add_argument("--split", default="train", help="split to pack; what --train_split will name")
    parser.add_argument("--out", type=Path, required=True, help="folder to write; an interrupted pack goes on in it")
    parser.add_argument("--num_workers", type=int, default=os.cpu_count() or 1,
                        help="processes that pack; 0 packs in this one")
    parser.add_argument("--dry_run", action="store_true", help="tell the size and the expected gain, write nothing")
    parser.add_argument("--verify", action="store_true", help="read a finished pack and compare every checksum")
    return parser


def run(args: Namespace) -> int:
    """Packs, or verifies a pack; returns the exit status.

    Raises:
        ValueError: the dataset or the pack is not what the flags say.
        OSError: nothing can be written there, or the disk is full.
    """
    dataset = datasets.build(args.dataset, args.data_root, args.split)
    if not dataset.labelled:
        raise ValueError(f"{dataset.spec.title} {args.split} has no labels, and a pack is for training: choose another "
                         "--split.")
    if args.verify:
        return verify(Pack(args.out, dataset))
    entries = finished(args.out, dataset)
    missing = [index for index in range(len(dataset)) if index not in entries]
    needed = foretell(dataset, missing, args.out)
    if args.dry_run:
        return 0
    if missing:
        free = shutil.disk_usage(existing(args.out)).free
        if needed > free:
            raise OSError(f"{args.out} has {amount(free)} free and the pack needs about {amount(needed)}: "
                          "free some space or give another --out.")
        pack(dataset, args.out, entries, missing, args.num_workers)
    Pack(args.out, dataset)                                 # as train.py will check it
    train = shlex.join(["python", "train.py", "--dataset", args.dataset, "--data_root", str(dataset.root),
                        "--train_split", args.split, "--packed", str(args.out)])
    print(f"{args.out} is whole: {len(dataset)} pairs. Train from it with: {train}")
    return 0


def finished(out: Path, dataset: datasets.SegmentationDataset) -> dict[int, Entry]:
    """Returns the pairs that an earlier run has packed and whose files are still as they were then.

    Raises:
        ValueError: the folder holds something else.
    """
    manifest = read_manifest(out)
    if manifest is not None:
        settings, lines = manifest["settings"], dict(enumerate(manifest["entries"]))
    elif (out / JOURNAL).is_file():
        settings, lines = read_journal(out / JOURNAL)
    elif out.exists() and (not out.is_dir() or {one.name for one in out.iterdir()} - {LOCK, PAIRS}):
        raise ValueError(f"{out} holds something else than a pack: give --out a new folder.")
    else:
        return {}
    check_settings(out, settings, dataset)
    entries = {index: Entry.from_json(fields) for index, fields in lines.items() if index < len(dataset)}
    return {index: entry for index, entry in entries.items() if entry.origin == origin(dataset, index)
            and (out / entry.file).is_file() and (out / entry.file).stat().st_size == 4 * entry.pixels}


def read_journal(path: Path) -> tuple[dict, dict[int, dict]]:
    """Returns the settings in the first line and the entries by index; a line that a crash cut short is left out."""
    found = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            found.append(json.loads(line))
        except ValueError:
            break
    return (found[0] if found else {}), {one["index"]: one["entry"] for one in found[1:]}


def foretell(dataset: datasets.SegmentationDataset, missing: Sequence[int], out: Path) -> float:
    """Says how large the pack will be and what it should gain, from a few pairs; returns the bytes still to write."""
    chosen = [missing[round(place)] for place in np.linspace(0, len(missing) - 1, min(PROBES, len(missing)))]
    if not chosen:
        return 0
    pixels, from_files, copied = [], [], []
    for index in chosen:
        start = time.perf_counter()
        image, label = dataset.read(index)
        middle = time.perf_counter()
        assert label is not None
        image.copy(), label.copy()
        from_files.append(middle - start)
        copied.append(time.perf_counter() - middle)
        pixels.append(label.size)
    needed = 4 * statistics.mean(pixels) * len(missing)
    files = sum(size for index in missing for _, size, _ in origin(dataset, index)[0])
    print(f"{len(missing)} of {len(dataset)} pairs to pack: about {amount(needed)} in {out} (their files have "
          f"{amount(files)}). Reading a pair takes {1e3 * statistics.median(from_files):.1f} ms from the files; "
          f"from the pack, in memory, at most {1e3 * statistics.median(copied):.2f} ms, and less for a crop.",
          flush=True)
    return needed


def pack(dataset: datasets.SegmentationDataset, out: Path, entries: dict[int, Entry], missing: Sequence[int],
         num_workers: int) -> None:
    """Writes the missing pairs and then pack.json; whatever stops it, a later run goes on from what was finished.

    Raises:
        OSError: the disk is full or not writable.
        ValueError: a pair cannot be read, or another run is packing into the folder.
    """
    try:
        (out / PAIRS).mkdir(parents=True, exist_ok=True)
        with alone(out):
            write_pairs(dataset, out, entries, missing, num_workers)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise OSError(f"the disk is full at {out}, after {len(entries)} of {len(dataset)} pairs: free some space "
                          "and run the same command again; it goes on where it stopped.") from error
        raise


@contextmanager
def alone(out: Path) -> Iterator[None]:
    """Keeps other runs out of a folder; the system lets go of the lock however a run ends.

    Raises:
        ValueError: another run holds the folder.
    """
    with (out / LOCK).open("ab") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
                raise ValueError(f"another tools.pack_dataset is writing {out}: wait until it has ended, or give "
                                 "another --out.") from error
            if error.errno not in (errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP):      # some network disks know no locks
                raise
        yield


def write_pairs(dataset: datasets.SegmentationDataset, out: Path, entries: dict[int, Entry], missing: Sequence[int],
                num_workers: int) -> None:
    """Adds the missing pairs to `entries` and to the folder, its journal first and its manifest last."""
    settings = settings_of(dataset)
    lines = [settings, *(journal_line(index, entry) for index, entry in sorted(entries.items()))]
    write_text(out / JOURNAL, "".join(json.dumps(line) + "\n" for line in lines))
    (out / MANIFEST).unlink(missing_ok=True)                # from here on the pack is not finished
    with (out / JOURNAL).open("a", encoding="utf-8") as journal:
        for index, entry in track(packed(dataset, out, missing, num_workers), len(missing), "packing"):
            entries[index] = entry
            journal.write(json.dumps(journal_line(index, entry)) + "\n")
            journal.flush()
    write_text(out / MANIFEST, write_manifest(settings, [entries[index] for index in range(len(dataset))]))
    (out / JOURNAL).unlink()
    kept = {Path(entry.file).name for entry in entries.values()}
    for path in (out / PAIRS).iterdir():                    # what a crash or an earlier, larger split left
        if path.name not in kept:
            path.unlink()


def journal_line(index: int, entry: Entry) -> dict[str, Any]:
    return {"index": index, "entry": asdict(entry)}


def packed(dataset: datasets.SegmentationDataset, out: Path, indices: Sequence[int],
           num_workers: int) -> Iterator[tuple[int, Entry]]:
    """Packs pairs in worker processes; yields each index with its entry as it is done, in order."""
    loader = label_loader(PairWriter(dataset, out), num_workers, indices)
    for index, done in zip(indices, loader, strict=True):
        if isinstance(done, OSError):
            raise done
        yield index, done


class PairWriter(Dataset[Entry | OSError]):
    """Packs the pair of an index; returns its entry, or the disk's error, which a worker would bury in stack traces."""

    def __init__(self, dataset: datasets.SegmentationDataset, out: Path) -> None:
        self.dataset = dataset
        self.out = out

    def __getitem__(self, index: int) -> Entry | OSError:
        try:
            return self.write(index)
        except OSError as error:
            return error

    def write(self, index: int) -> Entry:
        """Writes beside, syncs and renames, so that a file with its final name is always whole."""
        sources, mapping = origin(self.dataset, index)
        image, label = self.dataset.read(index)
        assert label is not None
        height, width = label.shape
        name = f"{PAIRS}/{index:06d}.raw"
        beside = self.out / f"{name}.part"
        crc32 = 0
        try:
            with beside.open("wb") as file:
                for pixels in (image, label):
                    data = np.ascontiguousarray(pixels).data
                    file.write(data)
                    crc32 = zlib.crc32(data, crc32)
                file.flush()
                os.fsync(file.fileno())
            beside.replace(self.out / name)
        except OSError:
            beside.unlink(missing_ok=True)                  # gives a full disk room for the journal's last line
            raise
        return Entry(name, height, width, crc32, sources, mapping)


def verify(pack: Pack) -> int:
    """Compares every checksum and says what differs; returns the exit status."""
    wrong = [line for line in track(pack.verify(), len(pack.entries), "verifying") if line]
    print("\n".join(wrong) or f"{pack.folder}: all {len(pack.entries)} pairs are as they were written.")
    return 1 if wrong else 0


def amount(size: float) -> str:
    """Returns bytes as text."""
    return f"{size / 1e9:.2f} GB" if size >= 1e9 else f"{size / 1e6:.2f} MB"


def existing(path: Path) -> Path:
    """Returns the path or the nearest folder above it that exists."""
    return next(one for one in (path.absolute(), *path.absolute().parents) if one.exists())


def main(argv: Sequence[str] | None = None) -> int:
    args = build_parser().parse_args(argv)
    try:
        return run(args)
    except (ValueError, OSError, RuntimeError) as error:
        print(f"tools.pack_dataset: error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("tools.pack_dataset: interrupted; run the same command again and it goes on where it stopped.",
              file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
