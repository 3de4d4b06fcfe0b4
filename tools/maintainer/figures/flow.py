"""The semantic flow of a trained network on one image: input, prediction and flow fields.

`record` writes into `results/figures/flow/`: `image.png`, `prediction.png` (train ids), `flows.npz`
(float16, in the unit of `network.alignment.warp`) and `about.json`. The image is committed and
published, so it must be a drawn scene, never a frame of a dataset.
"""
from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import torch

import datasets
from eval import load_predictor
from network.alignment import recorded_flows
from tools.maintainer.figures import style
from tools.maintainer.figures.style import Theme
from tools.maintainer.results.studies import read_json
from utils.evaluation.records import read_arrays
from utils.files import sha256, write_text
from utils.training import run_folder
from utils.visualization import flow as flows
from utils.visualization import label_maps

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.transforms import Bbox

FOLDER = "flow"
REMEDY = "record it with `python -m tools.maintainer.figures --record SNAPSHOT --image FILE`"
# in a row, at most
ARROWS = 22
# the part at a class border is shown so many times as large
ZOOM = 3
# inches
LEGEND = 0.62


@dataclass(frozen=True)
class FlowRecord:
    """An image and the outputs of a network for it.

    Attributes:
        about: facts, and the classes with their names and colors.
        image: (H, W, 3) uint8 RGB.
        predictions: train ids, (H, W).
        flows: name -> (2 or 4, h, w), coarse first.
    """

    about: dict[str, Any]
    image: np.ndarray
    predictions: np.ndarray
    flows: dict[str, np.ndarray]

    @property
    def palette(self) -> np.ndarray:
        palette = np.zeros((256, 3), np.uint8)
        palette[:len(self.about["classes"])] = [entry["rgb"] for entry in self.about["classes"]]
        return palette

    @property
    def last_flow(self) -> np.ndarray:
        """The (2, h, w) flow of the finest alignment; of a gated one, that of the coarse map."""
        return [*self.flows.values()][-1][:2]


def record(snapshot: Path, picture: Path, sources: Path) -> str:
    """Predicts an image with a trained network and writes what the figure needs; returns a message.

    Raises:
        ValueError, OSError: the network has no flow alignment, or a file cannot be read or written.
    """
    model = load_predictor(snapshot, device="cpu", precision="fp32", channels_last=False)
    trained, spec, predictor = model.trained, model.spec, model.predictor
    image = datasets.read_image(picture)
    flow_by_name = flows.predict_flows(predictor, recorded_flows, image)
    if not flow_by_name:
        raise ValueError(
            f"{snapshot}: {trained.arch} has no flow alignment: give a snapshot of an SFNet"
        )
    predictions = predictor.labels(torch.from_numpy(image).permute(2, 0, 1)[None])[0].numpy()
    facts = run_folder.environment(predictor.device, "", [])
    about = {"arch": trained.arch, "dataset": spec.title, "image": picture.stem,
             "weights": trained.weights, "snapshot_sha256": sha256(snapshot),
             "commit": facts["commit"], "torch": facts["torch"],
             "classes": [{"name": name, "rgb": spec.palette[i].tolist()}
                         for i, name in enumerate(spec.names)]}
    folder = sources / FOLDER
    label_maps.write(folder / "image.png", image)
    label_maps.write(folder / "prediction.png", predictions.astype(np.uint8))
    halved: dict[str, Any] = {name: flow.astype(np.float16) for name, flow in flow_by_name.items()}
    np.savez_compressed(folder / "flows.npz", **halved)
    write_text(folder / "about.json", json.dumps(about, indent=1) + "\n")
    return f"the flow of {trained.arch} on {picture.stem} in {folder}"


def read(folder: Path) -> FlowRecord:
    """Raises FileNotFoundError or ValueError naming the file that is missing or damaged."""
    for name in ("image.png", "prediction.png", "flows.npz"):
        if not (folder / name).is_file():
            raise FileNotFoundError(f"{folder / name} is missing: {REMEDY}")
    flow_by_name = {name: flow.astype(np.float32)
             for name, flow in read_arrays(folder / "flows.npz", needed=(), remedy=REMEDY).items()}
    predictions = cv2.imread(str(folder / "prediction.png"), cv2.IMREAD_UNCHANGED)
    if predictions is None:
        raise ValueError(f"{folder / 'prediction.png'} is damaged: {REMEDY}")
    image = datasets.read_image(folder / "image.png")
    about = read_json(folder / "about.json", remedy=REMEDY)
    return FlowRecord(about, image, predictions, flow_by_name)


def draw(sources: Path, theme: Theme) -> Figure:
    """Draws the image, the prediction, each flow field in colors, and the last one in arrows.

    The last panel enlarges the arrows at a class border.
    """
    record = read(sources / FOLDER)
    height, width = record.predictions.shape
    fields = flows.color_flows(record.flows, width)
    figure, axes, box = new_panels(4 + len(fields), height / width)
    cells = zip(axes, "abcdefgh", strict=False)
    axis, letter = next(cells)
    axis.imshow(record.image, extent=(0, width, height, 0), interpolation="antialiased")
    style.letter(axis, letter, f"Image: {record.about['dataset']}")
    axis, letter = next(cells)
    show(axis, label_maps.color_mask(record.predictions, record.palette), record, (1, 1, 1, 0.75))
    style.letter(axis, letter, f"Prediction of {record.about['arch']}")
    for field in fields:
        axis, letter = next(cells)
        colors = cv2.resize(field.colors, (width, height), interpolation=cv2.INTER_LINEAR)
        show(axis, colors, record, (0, 0, 0, 0.4))
        title = field.title.replace("Flow ", "FAM ")
        style.letter(axis, letter, f"{title}: the wheel's rim is {field.pixels:.0f} px")
    axis, letter = next(cells)
    longer = show_arrows(axis, record, theme)
    lengthened = f"{longer:g} times as long" if longer > 1 else "in true length"
    style.letter(axis, letter, f"FAM {len(fields)}, arrows {lengthened}")
    axis, letter = next(cells)
    show_border(axis, record, theme)
    style.letter(axis, letter, f"FAM {len(fields)}, {ZOOM} times as large, arrows of half length")
    draw_legend(figure, record, theme, box)
    return figure


def new_panels(count: int, ratio: float) -> tuple[Figure, list[Axes], Bbox]:
    """Returns a figure with `count` panels in two columns, the panels, and the box of the legend.

    The legend takes the cell that an odd number of panels leaves free, or else a row below.

    Args:
        ratio: height over width of a panel.
    """
    from matplotlib.transforms import Bbox

    rows = math.ceil(count / 2)
    free_cell = count % 2 == 1
    side = (style.WIDTH - 0.3) / 2
    bottom = 0.05 if free_cell else LEGEND
    total = rows * (side * ratio + 0.34) + bottom
    figure, axes = style.new_figure(total, nrows=rows, ncols=2, squeeze=False, gridspec_kw={
        "left": 0.1 / style.WIDTH, "right": 1 - 0.1 / style.WIDTH, "top": 1 - 0.3 / total,
        "bottom": bottom / total, "wspace": 0.1 / side, "hspace": 0.34 / (side * ratio)})
    for axis in axes.flat:
        axis.set_axis_off()
    if free_cell:
        box = axes.flat[-1].get_position()
    else:
        box = Bbox.from_extents(0, 0, 1, LEGEND / total)
    return figure, list(axes.flat)[:count], box


def show(axis: Axes, picture: np.ndarray, record: FlowRecord,
         edge: tuple[float, float, float, float]) -> None:
    """Shows a picture with the borders of the predicted classes over it."""
    height, width = record.predictions.shape
    axis.imshow(picture, extent=(0, width, height, 0), interpolation="antialiased")
    lines = np.zeros((height, width, 4))
    lines[label_maps.contours(record.predictions)] = edge
    axis.imshow(lines, extent=(0, width, height, 0), interpolation="antialiased")


def show_arrows(axis: Axes, record: FlowRecord, theme: Theme) -> float:
    """Shows the last flow as arrows over the prediction; returns the scale of the arrows.

    An arrow leads from a place of the fine grid to where its value is fetched from the coarse map.
    """
    flow = record.last_flow
    stride = record.predictions.shape[1] / flow.shape[2]
    step = math.ceil(flow.shape[2] / ARROWS)
    ys, xs = np.mgrid[step // 2:flow.shape[1]:step, step // 2:flow.shape[2]:step]
    # pixels of the image
    moves = flow[:, ys, xs] / flows.UNITS_PER_CELL * stride
    longer = float(np.clip(np.floor(1.5 * step * stride / np.quantile(np.hypot(*moves), 0.95)), 1,
                           8))
    show_pale(axis, record, theme)
    axis.quiver((xs + 0.5) * stride, (ys + 0.5) * stride, *moves, color=theme.ink, angles="xy",
                scale_units="xy", scale=1 / longer, width=0.0032, headwidth=4, headlength=4.5,
                headaxislength=4)
    return longer


def show_pale(axis: Axes, record: FlowRecord, theme: Theme) -> None:
    """Shows the prediction in pale colors, as the ground of arrows."""
    page = np.array([int(theme.page[i:i + 2], 16) for i in (1, 3, 5)])
    pale = (0.4 * label_maps.color_mask(record.predictions,
                                        record.palette) + 0.6 * page).astype(np.uint8)
    show(axis, pale, record, (0.5, 0.5, 0.5, 1))


def show_border(axis: Axes, record: FlowRecord, theme: Theme) -> None:
    """Shows every arrow of the last flow, in half its length, in the window of `border_window`."""
    flow = record.last_flow
    height, width = record.predictions.shape
    stride = width / flow.shape[2]
    top, left = border_window(record)
    ys, xs = np.mgrid[:flow.shape[1], :flow.shape[2]]
    show_pale(axis, record, theme)
    axis.quiver((xs + 0.5) * stride, (ys + 0.5) * stride, *flow / flows.UNITS_PER_CELL * stride,
                color=theme.ink, angles="xy", scale_units="xy", scale=2, width=0.0045, headwidth=4,
                headlength=4.5, headaxislength=4)
    axis.set_xlim(left * stride, left * stride + width / ZOOM)
    axis.set_ylim(top * stride + height / ZOOM, top * stride)


def border_window(record: FlowRecord) -> tuple[int, int]:
    """Returns the top row and the left column of a window in cells of the last flow.

    It has a `ZOOM`-th of the height and of the width, and the most flow in cells that a border of
    the predicted classes crosses.
    """
    flow = record.last_flow
    height, width = flow.shape[1:]
    contours = label_maps.contours(record.predictions).astype(np.float32)
    crossed = cv2.resize(contours, (width, height), interpolation=cv2.INTER_AREA) > 0
    strength = np.hypot(*flow) * crossed
    windows = np.lib.stride_tricks.sliding_window_view(strength, (height // ZOOM, width // ZOOM))
    totals = windows.sum((2, 3))
    top, left = np.unravel_index(totals.argmax(), totals.shape)
    return int(top), int(left)


def draw_legend(figure: Figure, record: FlowRecord, theme: Theme, box: Bbox) -> None:
    """Draws the predicted classes at the left of a box of the figure, the wheel at its right."""
    from matplotlib.patches import Patch

    middle = (box.y0 + box.y1) / 2
    side = min(LEGEND - 0.1, box.height * figure.get_figheight())
    height = side / figure.get_figheight()
    wheel = figure.add_axes((box.x1 - (side + 0.1) / style.WIDTH, middle - height / 2,
                             side / style.WIDTH, height))
    ys, xs = np.mgrid[-1:1:200j, -1:1:200j]
    alpha = np.where(np.hypot(ys, xs) <= 1, 255, 0).astype(np.uint8)
    wheel.imshow(np.dstack([label_maps.color_wheel(200), alpha]))
    wheel.set_axis_off()
    figure.text(box.x1 - (side + 0.17) / style.WIDTH, middle, "direction,\nlength;\nwhite: zero",
                ha="right", va="center", fontsize=style.SMALL, color=theme.faint)
    shown = [entry for i, entry in enumerate(record.about["classes"])
             if (record.predictions == i).any()]
    swatches = [Patch(facecolor=np.array(entry["rgb"]) / 255, edgecolor=theme.faint, linewidth=0.5)
                for entry in shown]
    figure.legend(swatches, [entry["name"] for entry in shown], loc="center left",
                  ncols=6 if box.width == 1 else 3, bbox_to_anchor=(box.x0, middle),
                  handlelength=1.2, handleheight=1.0, columnspacing=1.2)
