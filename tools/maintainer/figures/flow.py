"""The semantic flow of a trained network on one picture: what it predicts there, and where its
alignments look.

The picture itself is not kept, only what the network made of it: `prediction.png` (train ids),
`flows.npz` (float16, in `network.alignment.warp`'s unit) and `about.json`, under
`results/figures/flow/`.
"""
from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import torch

import datasets
from network import fuse_for_inference
from network.alignment import recorded_flows
from network.checkpoints.snapshot import Snapshot
from tools.maintainer.figures import style
from tools.maintainer.figures.style import Theme
from tools.maintainer.results.studies import read_json
from utils.evaluation.predictor import Predictor
from utils.evaluation.records import read_arrays
from utils.files import sha256, write_text
from utils.training import run_folder
from utils.visualization import flow as flows
from utils.visualization import label_maps

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FOLDER = "flow"
HOW = "record it with `python -m tools.maintainer.figures --record SNAPSHOT --image FILE`"
# in a row, at most
ARROWS = 22
# inches
LEGEND = 0.62


@dataclass(frozen=True)
class Seen:
    """What a network made of a picture: train ids (H, W), and by name the flows (2 or 4, h, w),
    coarse first.
    """

    about: dict[str, Any]
    labels: np.ndarray
    flows: dict[str, np.ndarray]

    @property
    def palette(self) -> np.ndarray:
        palette = np.zeros((256, 3), np.uint8)
        palette[:len(self.about["classes"])] = [entry["rgb"] for entry in self.about["classes"]]
        return palette


def record(snapshot: Path, picture: Path, sources: Path) -> str:
    """Parses a picture with a trained network, keeps what the figure needs, and says where.

    Raises:
        ValueError, OSError: the network has no flow alignment, or a file cannot be read or written.
    """
    trained, device = Snapshot(snapshot), torch.device("cpu")
    spec = datasets.spec(trained.dataset)
    predictor = Predictor(
        fuse_for_inference(trained.network(spec.name, spec.names)), device, "fp32", spec.mean,
        spec.std,
    )
    image = datasets.read_image(picture)
    seen = flows.observe(predictor, recorded_flows, image)
    if not seen:
        raise ValueError(
            f"{snapshot}: {trained.arch} has no flow alignment: give a snapshot of an SFNet"
        )
    labels = predictor.labels(torch.from_numpy(image).permute(2, 0, 1)[None])[0].numpy()
    facts = run_folder.environment(device, "", [])
    about = {
        "arch": trained.arch, "dataset": spec.title, "image": picture.stem,
        "weights": trained.weights, "snapshot_sha256": sha256(snapshot), "commit": facts["commit"],
        "torch": facts["torch"],
        "classes": [
            {"name": name, "rgb": spec.palette[i].tolist()} for i, name in enumerate(spec.names)
        ],
    }
    folder = sources / FOLDER
    label_maps.write(folder / "prediction.png", labels.astype(np.uint8))
    halved: dict[str, Any] = {name: flow.astype(np.float16) for name, flow in seen.items()}
    np.savez_compressed(folder / "flows.npz", **halved)
    write_text(folder / "about.json", json.dumps(about, indent=1) + "\n")
    return f"the flow of {trained.arch} on {picture.stem} in {folder}"


def read(folder: Path) -> Seen:
    """Raises FileNotFoundError or ValueError naming the file that is missing or damaged."""
    for name in ("prediction.png", "flows.npz"):
        if not (folder / name).is_file():
            raise FileNotFoundError(f"{folder / name} is missing: {HOW}")
    found = {name: flow.astype(np.float32)
             for name, flow in read_arrays(folder / "flows.npz", needed=(), how=HOW).items()}
    labels = cv2.imread(str(folder / "prediction.png"), cv2.IMREAD_UNCHANGED)
    if labels is None:
        raise ValueError(f"{folder / 'prediction.png'} is damaged: {HOW}")
    return Seen(read_json(folder / "about.json", how=HOW), labels, found)


def draw(sources: Path, look: Theme) -> Figure:
    """Draws the prediction, each flow field in colors, and the last one in arrows."""
    seen = read(sources / FOLDER)
    height, width = seen.labels.shape
    fields = flows.fields(seen.flows, width)
    panels = 2 + len(fields)
    rows = -(-panels // 2)
    side = (style.WIDTH - 0.3) / 2
    total = rows * (side * height / width + 0.34) + LEGEND
    figure, axes = style.new_figure(
        total, nrows=rows, ncols=2, squeeze=False,
        gridspec_kw={
            "left": 0.1 / style.WIDTH, "right": 1 - 0.1 / style.WIDTH, "top": 1 - 0.3 / total,
            "bottom": LEGEND / total, "wspace": 0.1 / side,
            "hspace": 0.34 / (side * height / width),
        },
    )
    for axis in axes.flat:
        axis.set_axis_off()
    places = zip(axes.flat, "abcdefgh", strict=False)
    axis, letter = next(places)
    show(axis, label_maps.color_mask(seen.labels, seen.palette), seen, (1, 1, 1, 0.75))
    style.letter(axis, letter, f"Prediction of {seen.about['arch']}")
    for field in fields:
        axis, letter = next(places)
        show(
            axis, cv2.resize(field.colors, (width, height), interpolation=cv2.INTER_LINEAR), seen,
            (0, 0, 0, 0.4),
        )
        style.letter(
            axis, letter,
            f"{field.title.replace('Flow ', 'FAM ')}: the wheel's rim is {field.pixels:.0f} px",
        )
    axis, letter = next(places)
    longer = show_arrows(axis, seen, look)
    lengthened = f"{longer:g} times as long" if longer > 1 else "in true length"
    style.letter(axis, letter, f"FAM {len(fields)}, arrows {lengthened}")
    draw_legend(figure, seen, look, total)
    return figure


def show(
    axis: Axes, picture: np.ndarray, seen: Seen, edge: tuple[float, float, float, float]
) -> None:
    """Shows a picture with the borders of the predicted classes over it."""
    height, width = seen.labels.shape
    axis.imshow(picture, extent=(0, width, height, 0), interpolation="antialiased")
    lines = np.zeros((height, width, 4))
    lines[label_maps.contours(seen.labels)] = edge
    axis.imshow(lines, extent=(0, width, height, 0), interpolation="antialiased")


def show_arrows(axis: Axes, seen: Seen, look: Theme) -> float:
    """Shows the last flow as arrows over the faint prediction; returns how many times as long as
    the flow they are.

    An arrow leads from a place of the fine grid to where its value is fetched from the coarse map.
    """
    flow = [*seen.flows.values()][-1][:2]
    stride = seen.labels.shape[1] / flow.shape[2]
    step = -(-flow.shape[2] // ARROWS)
    ys, xs = np.mgrid[step // 2:flow.shape[1]:step, step // 2:flow.shape[2]:step]
    # pixels of the image
    moves = flow[:, ys, xs] / flows.UNITS_PER_CELL * stride
    longer = float(
        np.clip(np.floor(1.5 * step * stride / np.quantile(np.hypot(*moves), 0.95)), 1, 8)
    )
    page = np.array([int(look.page[i:i + 2], 16) for i in (1, 3, 5)])
    pale = (0.4 * label_maps.color_mask(seen.labels, seen.palette) + 0.6 * page).astype(np.uint8)
    show(axis, pale, seen, (0.5, 0.5, 0.5, 1))
    axis.quiver(
        (xs + 0.5) * stride, (ys + 0.5) * stride, *moves, color=look.ink, angles="xy",
        scale_units="xy", scale=1 / longer, width=0.0032, headwidth=4, headlength=4.5,
        headaxislength=4,
    )
    return longer


def draw_legend(figure: Figure, seen: Seen, look: Theme, height: float) -> None:
    """The classes that are there, and the wheel."""
    from matplotlib.patches import Patch

    side, middle = LEGEND - 0.1, 0.5 * LEGEND / height
    wheel = figure.add_axes(
        (1 - (side + 0.1) / style.WIDTH, 0.05 / height, side / style.WIDTH, side / height)
    )
    ys, xs = np.mgrid[-1:1:200j, -1:1:200j]
    disc = np.dstack(
        [label_maps.color_wheel(200), np.where(np.hypot(ys, xs) <= 1, 255, 0).astype(np.uint8)]
    )
    wheel.imshow(disc)
    wheel.set_axis_off()
    figure.text(
        1 - (side + 0.17) / style.WIDTH, middle, "where to, how far;\nwhite: nowhere", ha="right",
        va="center", fontsize=style.SMALL, color=look.faint,
    )
    found = [entry for i, entry in enumerate(seen.about["classes"]) if (seen.labels == i).any()]
    swatches = [
        Patch(facecolor=np.array(entry["rgb"]) / 255, edgecolor=look.faint, linewidth=0.5)
        for entry in found
    ]
    figure.legend(
        swatches, [entry["name"] for entry in found], loc="center left", ncols=6,
        bbox_to_anchor=(0, middle), handlelength=1.2, handleheight=1.0, columnspacing=1.2,
    )
