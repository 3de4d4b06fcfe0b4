"""`tools.weights card`: the model card of a model folder, and its picture of a drawn street.

The form is that of the Hugging Face hub: a head in YAML, which the hub indexes, and Markdown. Every
number comes from `scores.json`.
"""
from __future__ import annotations

import json
import shlex
from argparse import Namespace
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml

from eval import LoadedModel, load_predictor
from network.checkpoints.model_folder import CARD, MODEL, ModelConfig, model_file
from tools.make_streets import draw
from utils.cli import FlagParser
from utils.evaluation.inference import InferenceOptions
from utils.files import sha256, write_text
from utils.visualization import label_maps
from utils.visualization.rendering import Rendering

PICTURE = "street.jpg"
# the drawn scene of the picture: its seed and number, and its height and width
SCENE, SCENE_SIZE = (7, 3), (256, 512)
CODE = "https://arxiv.org/abs/2207.04415"
# terms of data that need no --data_license
DRAWN_HERE = {"streets": "drawn by this project, without terms"}


def add_card_flags(parser: FlagParser) -> None:
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="model folder of `pack`")
    parser.add_argument("--scores", type=Path, required=True, metavar="FILE",
                        help="scores.json of an evaluation of this network")
    parser.add_argument("--data_license", metavar="TEXT",
                        help="terms of the training data, such as 'CC BY-NC-SA 3.0'; required "
                             "unless the notes of the file state a license, or the network was "
                             "trained on drawn streets")


def card(args: Namespace) -> bool:
    """Writes `README.md` and the picture of a model folder.

    Returns:
        True.

    Raises:
        ValueError, OSError: the folder or the scores are invalid, the scores are those of another
            network, or the terms of the data are unknown.
    """
    if model_file(args.folder) is None:
        raise FileNotFoundError(f"{args.folder} is no model folder: write one with python -m "
                                "tools.weights pack")
    config = ModelConfig.read(args.folder)
    terms = (args.data_license or config.notes.get("license")
             or DRAWN_HERE.get(config.dataset or ""))
    if not terms:
        raise ValueError(f"the terms of {config.dataset}, on which the network was trained, are "
                         "not known here: state them with --data_license")
    scores = read_scores(args.scores, args.folder, config)
    model = load_predictor(args.folder, device="cpu", precision="fp32")
    label_maps.write(args.folder / PICTURE, street(model))
    write_text(args.folder / CARD, text(config, scores, terms, model.spec.title))
    print(f"{args.folder / CARD}: mIoU {_percent(scores['mIoU'])} % on {scores['images']} images "
          f"of {scores['settings']['split']}")
    return True


def read_scores(path: Path, folder: Path, config: ModelConfig) -> dict[str, Any]:
    """Returns the object of a `scores.json` that belongs to the network in a model folder.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is damaged, or of another network.
    """
    if not path.is_file():
        raise FileNotFoundError(f"--scores {path} is missing: evaluate the network first with "
                                f"python eval.py --snapshot {folder} --data_root DIR")
    try:
        scores = dict(json.loads(path.read_text(encoding="utf-8")))
        scored, settings = scores["snapshot_sha256"], scores["settings"]
        required = (scores["mIoU"], scores["per_class_IoU"], settings["split"], scores["images"])
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"--scores {path} is damaged or of another version ({error!r}): write it "
                         "again with eval.py") from error
    assert required
    origin = config.origin
    if scored not in (origin.get("checkpoint_sha256"), sha256(folder / MODEL)):
        raise ValueError(f"--scores {path} is of a network with SHA-256 {scored[:12]}..., and "
                         f"{folder} holds another one: evaluate it with python eval.py "
                         f"--snapshot {folder} --data_root DIR")
    if scored == origin.get("checkpoint_sha256") and settings.get("weights") != origin["weights"]:
        raise ValueError(f"--scores {path} is of the {settings.get('weights')} weights of the "
                         f"checkpoint, and {folder} holds the {origin['weights']} ones: evaluate "
                         f"it with python eval.py --snapshot {folder} --data_root DIR")
    return scores


def street(model: LoadedModel) -> np.ndarray:
    """Returns a drawn street beside the classes that the network predicts for it."""
    image, _ = draw(*SCENE, SCENE_SIZE)
    batch = torch.from_numpy(image).permute(2, 0, 1)[None]
    predictions = model.predictor.labels(batch)[0].numpy()
    return Rendering(image, predictions, model.spec.palette, model.spec.names).side_by_side()


def text(config: ModelConfig, scores: Mapping[str, Any], terms: str, title: str) -> str:
    """Returns the card.

    Args:
        terms: of the training data.
        title: name of the dataset of the training.
    """
    settings = scores["settings"]
    inference = InferenceOptions.from_settings(settings)
    flags = ["--snapshot", "FOLDER", "--data_root", "DIR", "--split", settings["split"],
             *inference.flags()]
    training = f"```\n{config.origin['command']}\n```" if config.origin.get("command") else (
        "The command of the training is not recorded.")
    if config.origin.get("commit"):
        training += f"\n\nCommit `{config.origin['commit'][:7]}` of the code."
    calibrated = "" if config.temperature is None else (
        f" Its probabilities are calibrated by the temperature {config.temperature:.3f}.")
    return f"""---
{_head(config, scores)}---

# {config.arch} for {title}

A network of [SFSegNets]({CODE}) for semantic segmentation, trained on {title} with
{len(config.classes)} classes.{calibrated}

![A drawn street, and the classes that the network predicts]({PICTURE})

## Use

In a checkout of SFSegNets, for a copy of this folder:

```python
from eval import load_predictor

model = load_predictor("FOLDER")
# images: (N, 3, H, W) uint8 RGB; labels: (N, H, W) uint8, indices of the classes below
labels = model.predictor.labels(images)
```

## Scores

{_score_table(scores)}

On the {scores['images']} images of {settings['dataset']} {settings['split']}, {inference}, in
{settings.get('precision', 'fp32')}:

```
python eval.py {shlex.join(flags)}
```

{_class_table(config, scores)}

## Training

{training}

## Data

{title}: {terms}. The weights were computed from this data; use them under terms that allow it.
"""


def _head(config: ModelConfig, scores: Mapping[str, Any]) -> str:
    """Returns the YAML at the start of the card, which the hub indexes."""
    settings = scores["settings"]
    metrics = [{"type": "mean_iou", "name": "mIoU", "value": round(scores["mIoU"], 4)}]
    result = {"task": {"type": "image-segmentation"},
              "dataset": {"type": settings["dataset"], "name": settings["dataset"],
                          "split": settings["split"]},
              "metrics": metrics}
    head = {"library_name": "sfsegnets", "pipeline_tag": "image-segmentation", "license": "other",
            "tags": ["semantic-segmentation", config.arch],
            "model-index": [{"name": config.arch, "results": [result]}]}
    return yaml.safe_dump(head, sort_keys=False)


def _score_table(scores: Mapping[str, Any]) -> str:
    low, high = scores.get("mIoU_interval") or (None, None)
    interval = "" if low is None else f"{_percent(low)} to {_percent(high)}"
    rows = [("mIoU", scores["mIoU"], interval), ("pixel accuracy", scores["pixel_accuracy"], ""),
            ("mean accuracy", scores["mean_accuracy"], "")]
    groups = scores.get("mIoU_interval_groups")
    over = f"{groups} groups of correlated images" if groups else "the images"
    lines = [f"| score | % | 95 % bootstrap interval over {over} |", "|---|---|---|"]
    return "\n".join([*lines, *(f"| {name} | {_percent(value)} | {between} |"
                                for name, value, between in rows)])


def _class_table(config: ModelConfig, scores: Mapping[str, Any]) -> str:
    lines = ["| index | class | color | IoU, % |", "|---|---|---|---|"]
    rows = zip(config.classes, config.colors, strict=True)
    return "\n".join([*lines, *(
        f"| {index} | {name} | {', '.join(map(str, color))} | "
        f"{_percent(scores['per_class_IoU'].get(name))} |"
        for index, (name, color) in enumerate(rows))])


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.2f}"
