"""Splits read as one, the one after the other."""
from __future__ import annotations

from dataclasses import replace
from typing import Any

from torch.utils.data import Dataset

from datasets.reader import SegmentationDataset
from datasets.sampling import SampleDraw


class JoinedDataset(Dataset[dict[str, Any]]):
    """Two splits under one numbering: the images of the second follow those of the first."""

    def __init__(self, first: SegmentationDataset, second: SegmentationDataset) -> None:
        self.first, self.second = first, second
        self.spec = first.spec
        self.samples = (*first.samples, *second.samples)

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, key: int | SampleDraw) -> dict[str, Any]:
        draw = key if isinstance(key, SampleDraw) else SampleDraw(index=key, position=key)
        if draw.index < len(self.first):
            return self.first[draw]
        return self.second[replace(draw, index=draw.index - len(self.first))]
