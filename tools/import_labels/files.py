"""Reads the files of annotation tools, with an error that says what is wrong with a file."""
from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from datasets.spec import DatasetError


def read_text(path: Path) -> str:
    """Returns a text file in UTF-8. Raises DatasetError if it cannot be read."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise DatasetError(f"{path} cannot be read ({error.strerror}): check the path and the "
                           "disk.") from error
    except UnicodeDecodeError as error:
        raise DatasetError(f"{path} is not text in UTF-8: is it the labels' file?") from error


def read_json(path: Path) -> dict[str, Any]:
    """Returns the object of a JSON file. Raises DatasetError if the file holds none."""
    try:
        content = json.loads(read_text(path))
    except (json.JSONDecodeError, RecursionError) as error:
        raise DatasetError(f"{path} is not JSON, or truncated ({error}): copy or export it "
                           "again.") from error
    if not isinstance(content, dict):
        raise DatasetError(f"{path} holds no JSON object, but a {type(content).__name__}: is it "
                           "the labels' file?")
    return content


def read_xml(path: Path) -> ElementTree.Element:
    """Returns the root of an XML file. Raises DatasetError if it is not XML."""
    try:
        return ElementTree.fromstring(read_text(path))
    except ElementTree.ParseError as error:
        raise DatasetError(f"{path} is not XML, or truncated ({error}): copy or export it "
                           "again.") from error


def files_in(folder: Path, suffix: str) -> list[Path]:
    """Returns the files of a suffix below a folder, in order, without hidden ones.

    Raises:
        DatasetError: there is none.
    """
    paths = [path for path in sorted(folder.rglob(f"*{suffix}"))
             if not any(part.startswith(".") for part in path.relative_to(folder).parts)]
    if not paths:
        raise DatasetError(f"{folder} holds no {suffix} file: name the folder of the labels.")
    return paths


def only_file(source: Path, suffixes: tuple[str, ...], description: str) -> Path:
    """Returns SOURCE, or the only file with one of the suffixes if SOURCE is a folder.

    Raises:
        DatasetError: there is none, or there are several.
    """
    if not source.is_dir():
        return source
    paths = [path for path in sorted(source.iterdir()) if path.suffix.lower() in suffixes]
    if len(paths) == 1:
        return paths[0]
    names = ", ".join(path.name for path in paths[:5]) or "none"
    raise DatasetError(f"{source} is a folder: name {description} (found: {names}).")
