"""The folder of pseudo-labels, which `--dataset` and `--extra_data` of train.py take by its YAML.

    OUT/dataset.yaml         classes and folders, written when all labels are complete
    OUT/images/train/...     links to the images, which stay where they are
    OUT/labels/train/...     PNG files of train ids, 255 where the network is not sure
    OUT/pseudo_labels.json, confidence.png, sheet.png

`run.json` and `parts/` make it resumable, as those of an evaluation. With `--keep_share`, the
classes and the codes of all images are in `unfinished/` until the thresholds are known.
"""
from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import cv2
import numpy as np
from torch.utils.data import Dataset

import datasets
from datasets.listing import Sample
from datasets.loader import load_items
from tools.import_labels.writing import YAML, describe
from tools.pseudo_label import selection
from tools.pseudo_label.selection import CODES, Selection
from utils import IGNORE_LABEL
from utils.evaluation.evaluator import Prediction
from utils.evaluation.records import PARTS, RUN, Record, Records
from utils.files import link_or_copy, write_text
from utils.logs import track
from utils.visualization import label_maps

SPLIT = "train"
UNFINISHED = "unfinished"
SUMMARY, PICTURE, SHEET = "pseudo_labels.json", "confidence.png", "sheet.png"
# counts of images that wait to be saved, in int32 128 MB
MAX_PENDING = 1 << 25


class PseudoLabels(Records):
    """The records of an output folder, with the files of the labels.

    The matrix of an image is (K, CODES + 1) while images are missing: its pixels by class and
    code, and in the last column those that were kept; 0 if that is not known yet. In the finished
    folder it is (K, 2): predicted and kept pixels.
    """

    KIND, FOLDER_FLAG = "set of pseudo-labels", "--out"
    DERIVED = (YAML, SUMMARY, PICTURE, SHEET)

    def prepare_folder(self, resume: bool, replace: bool) -> None:
        """Also refuses a folder that holds something else; see `Records.prepare_folder`."""
        if not (self.folder / RUN).is_file() and self._holds_other_files():
            raise ValueError(f"--out {self.folder} exists and holds no pseudo-labels: name a new "
                             "folder.")
        super().prepare_folder(resume, replace)

    def _holds_other_files(self) -> bool:
        if not self.folder.is_dir():
            return self.folder.exists()
        # another shard may be preparing the folder at this moment
        return any(path.name != PARTS and not path.name.startswith(RUN)
                   for path in self.folder.iterdir())

    def add_prediction(self, index: int, prediction: Prediction, chosen: Selection) -> None:
        """Writes the labels of an image, or what they are made of, and adds its counts."""
        labels, probability = prediction.predictions, prediction.probability
        assert probability is not None
        code = selection.codes(probability)
        histogram = selection.count(labels, code, len(self.run["classes"]))
        kept = np.zeros(len(histogram), np.int64)
        if chosen.needs_histogram:
            label_maps.write(self.unfinished("classes", prediction.name), labels.cpu().numpy())
            label_maps.write(self.unfinished("codes", prediction.name),
                             code.cpu().numpy().astype(np.uint16))
        else:
            label = chosen.select(labels, probability).cpu().numpy()
            label_maps.write(self.label(prediction.name), label)
            kept += np.bincount(label[label != IGNORE_LABEL], minlength=len(kept))
        self.add(Record(index, prediction.name,
                        np.column_stack([histogram, kept]).astype(np.int32)))
        if len(self.pending) * histogram.size >= MAX_PENDING:
            self.save()

    def totals(self) -> tuple[int, np.ndarray, np.ndarray]:
        """Returns the number of images, and their histogram (K, CODES) and kept pixels (K,)."""
        images, total = 0, np.zeros((len(self.run["classes"]), CODES + 1), np.int64)
        for record in self.stream():
            images += 1
            total += record.matrix
        return images, total[:, :-1], total[:, -1]

    def label(self, name: str) -> Path:
        return self.folder / "labels" / SPLIT / f"{name}.png"

    def unfinished(self, kind: str, name: str) -> Path:
        """Returns the file of the "classes" (uint8) or "codes" (uint16) of an image."""
        return self.folder / UNFINISHED / kind / f"{name}.png"

    def write_labels(self, smallest: np.ndarray, names: list[str], num_workers: int) -> None:
        """Writes the labels of all images from their unfinished files.

        Args:
            smallest: (K,) smallest code of each class that is kept.
        """
        written = load_items(_LabelWriter(self, smallest, names), num_workers, range(len(names)))
        for _ in track(written, len(names), "labels"):
            pass

    def write_dataset(self, spec: datasets.DatasetSpec, samples: list[Sample],
                      command: str) -> datasets.SegmentationDataset:
        """Links the images, writes the YAML file, and returns the dataset that it describes.

        Args:
            command: how the folder was made, for a comment.

        Raises:
            FileNotFoundError: a label is missing.
        """
        for sample in samples:
            suffix = sample.image.suffix
            _link(self.folder / "images" / SPLIT / f"{sample.name}{suffix}", sample.image)
        name = f"{spec.name}_{self.run['split']}_pseudo"
        text = describe(name, spec.classes, {SPLIT: None}, spec.crop_size, command)
        for key, values in (("mean", spec.mean), ("std", spec.std)):
            if values:
                text += f"{key}: {list(values)}\n"
        write_text(self.folder / YAML, text)
        return datasets.build(str(self.folder / YAML), None, SPLIT)

    def finish(self, smallest: np.ndarray | None) -> None:
        """Replaces the parts by the predicted and kept pixels of each image.

        Args:
            smallest: as for `write_labels`; None if the kept pixels are counted already.
        """
        records = sorted(self._reduced(smallest), key=lambda record: record.index)
        self.merge_parts(records)
        shutil.rmtree(self.folder / UNFINISHED, ignore_errors=True)

    def _reduced(self, smallest: np.ndarray | None) -> Iterator[Record]:
        for record in self.stream():
            histogram, kept = record.matrix[:, :-1], record.matrix[:, -1]
            if smallest is not None:
                kept = kept_pixels(histogram, smallest)
            yield Record(record.index, record.name,
                         np.column_stack([histogram.sum(1), kept]))


def kept_pixels(histogram: np.ndarray, smallest: np.ndarray) -> np.ndarray:
    """Returns the pixels (K,) of a histogram (K, CODES) from the smallest code of each class on."""
    is_kept = np.arange(CODES) >= smallest[:, None]
    return np.where(is_kept, histogram, 0).sum(1)


class _LabelWriter(Dataset[None]):
    """Writes the label of an image from its unfinished files; an item is None."""

    def __init__(self, records: PseudoLabels, smallest: np.ndarray, names: list[str]) -> None:
        self.records = records
        self.names = names
        # an entry for each value of a file of classes
        self.smallest = np.append(smallest, np.zeros(256 - len(smallest), np.int64))

    def __getitem__(self, index: int) -> None:
        name = self.names[index]
        classes = self._read("classes", name, np.uint8)
        code = self._read("codes", name, np.uint16)
        labels = np.where(code >= self.smallest[classes], classes, np.uint8(IGNORE_LABEL))
        try:
            label_maps.write(self.records.label(name), labels)
        # in a worker process it would reach the user below two stack traces
        except OSError as error:
            raise datasets.DatasetError(str(error)) from error

    def _read(self, kind: str, name: str, dtype: type) -> np.ndarray:
        path = self.records.unfinished(kind, name)
        values = cv2.imread(str(path), cv2.IMREAD_UNCHANGED) if path.is_file() else None
        if values is None or values.dtype != dtype or values.ndim != 2:
            raise datasets.DatasetError(
                f"{path} is missing or damaged: remove {self.records.folder} and predict the "
                "images again.")
        return values


def _link(link: Path, image: Path) -> None:
    """Makes a symbolic link to an image; a hard link or a copy where that is not possible."""
    target = image.resolve()
    if link.is_symlink() and link.readlink() == target:
        return
    link.parent.mkdir(parents=True, exist_ok=True)
    with suppress(FileNotFoundError):
        link.unlink()
    try:
        link.symlink_to(target)
    except OSError:
        link_or_copy(link, target)
