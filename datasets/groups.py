"""Groups of correlated images, such as the frames of one drive."""
from __future__ import annotations

import logging
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from datasets.listing import Sample
from datasets.spec import DatasetSpec

log = logging.getLogger(__name__)


def groups(spec: DatasetSpec, root: Path, samples: Sequence[Sample]) -> tuple[str, ...] | None:
    """Returns the name of each image's group, by `group` and `block` of the spec.

    Returns None if the spec has no `group`, and, with a warning, if all images are of one group,
    which shows nothing of how much groups vary, or if the pattern does not match an image's path.

    Args:
        root: folder of the dataset.
        samples: in the order of the split, in which a video's frames follow one another.
    """
    if not spec.group:
        return None
    names, seen = [], Counter[str]()
    for sample in samples:
        path = sample.image.relative_to(root).as_posix()
        match = re.search(spec.group, path)
        if match is None or match[1] is None:
            log.warning("%s: its pattern for groups of correlated images, %s, does not match %s: "
                        "intervals take the images as independent", spec.title, spec.group, path)
            return None
        name = match[1]
        if spec.block:
            names.append(f"{name}, block {seen[name] // spec.block}")
        else:
            names.append(name)
        seen[name] += 1
    if len(set(names)) < 2:
        log.warning("%s: all %d images are of one group of correlated images, %s: intervals take "
                    "the images as independent and are too narrow", spec.title, len(names),
                    *set(names))
        return None
    return tuple(names)
