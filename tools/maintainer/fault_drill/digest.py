"""Prints what a run has computed, for comparison: python digest.py FOLDER. Uses no package.

The checksums cover the tensors of the last and the best checkpoint: weights, momentum, averages and
random generators. A checkpoint is a zip file with one entry for each tensor.
"""
from __future__ import annotations

import hashlib
import json
import sys
import zipfile
from pathlib import Path


def tensors_digest(path: Path) -> str:
    """Returns the SHA-256 of all tensors of a checkpoint."""
    digest = hashlib.sha256()
    with zipfile.ZipFile(path) as archive:
        for name in archive.namelist():
            if "/data/" in name:
                digest.update(name.encode())
                digest.update(archive.read(name))
    return digest.hexdigest()


def main(folder: Path) -> None:
    """Prints the checksums, and what was logged at which step."""
    for name in ("last.pth", "best.pth"):
        print(name, tensors_digest(folder / name))
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    print([(line["kind"], line["step"]) for line in map(json.loads, lines)])


if __name__ == "__main__":
    main(Path(sys.argv[1]))
