"""Pictures of semantic flow: the fields of a network's flow alignments, colored as optical flow."""
from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from torch import Tensor, nn

from utils.evaluation.predictor import Predictor
from utils.visualization import label_maps

# narrower flow fields are enlarged before they are colored, which keeps them smooth
MIN_FLOW_WIDTH = 256
MAX_FLOW_HEIGHT = 4 * MIN_FLOW_WIDTH
# flow units per cell of the grid: the grid spans -1 to 1, see `network.alignment.warp`
UNITS_PER_CELL = 2

# net -> context in which each forward pass fills a dict: name -> flow (N, 2 or 4, H, W)
RecordFlows = Callable[[nn.Module], AbstractContextManager[dict[str, Tensor]]]


@dataclass(frozen=True)
class ColoredFlow:
    """The picture of a flow field.

    Attributes:
        title: names the field and its stride.
        colors: (h, w, 3) uint8 RGB.
        pixels: length of full saturation, the rim of the color wheel, in pixels of the image.
        note: one sentence that explains the picture.
    """

    title: str
    colors: np.ndarray
    pixels: float
    note: str


def predict_flows(predictor: Predictor, record_flows: RecordFlows,
                  image: np.ndarray) -> dict[str, np.ndarray]:
    """Predicts a whole image; returns name -> semantic flow of that forward pass.

    Args:
        image: (H, W, 3) uint8 RGB.

    Returns:
        Flows (2, h, w), or (4, h, w) for the flows of a coarse and of a fine map.
    """
    with record_flows(predictor.net) as flows:
        predictor.run_network(torch.from_numpy(image).permute(2, 0, 1)[None])
    return {name: flow[0].cpu().numpy() for name, flow in flows.items()}


def color_flows(flows: Mapping[str, np.ndarray], width: int,
                max_lengths: list[float] | None = None) -> list[ColoredFlow]:
    """Colors the flow fields of a network.

    The length of full saturation is the 99th percentile of the lengths of a field.

    Args:
        flows: name -> (2, h, w), or (4, h, w) for the flows of a coarse and of a fine map.
        width: of the image in pixels.
        max_lengths: for the frames of a video: a list, empty at first, in which the length of full
            saturation of each field is kept. It only grows from frame to frame, so that the colors
            do not flicker.
    """
    pictures: list[ColoredFlow] = []
    for flow in flows.values():
        warped = [""] if len(flow) == 2 else [" of the coarse map", " of the fine map"]
        for field, of_map in zip(np.split(flow, len(warped)), warped, strict=True):
            height, stride = field.shape[1], width / field.shape[2]
            # not 0, by which the colors could not be computed
            max_length = max(1e-6, float(np.quantile(np.hypot(*field), 0.99)))
            if max_lengths is not None:
                max_length = _grow(max_lengths, len(pictures), max_length)
            pixels = max_length / UNITS_PER_CELL * stride
            note = (f"Semantic flow{of_map} onto the grid of stride {stride:.0f} ({height} × "
                    f"{field.shape[2]}); the rim of the wheel is {pixels:.1f} pixels of the image.")
            colors = label_maps.flow_colors(_enlarge(field), max_length)
            title = f"Flow {len(pictures) + 1}, stride {stride:.0f}"
            pictures.append(ColoredFlow(title, colors, pixels, note))
    return pictures


def _grow(max_lengths: list[float], index: int, length: float) -> float:
    """Raises an entry of the list to at least `length`; returns it."""
    if index == len(max_lengths):
        max_lengths.append(length)
    max_lengths[index] = max(max_lengths[index], length)
    return max_lengths[index]


def sheet(image: np.ndarray, flows: list[ColoredFlow]) -> np.ndarray:
    """Returns the image and its flow fields as panels, each field with the color wheel."""
    height, width = image.shape[:2]
    titled = [("Image", label_maps.widen(image, MIN_FLOW_WIDTH))]
    for flow in flows:
        colors = cv2.resize(flow.colors, (width, height), interpolation=cv2.INTER_LINEAR)
        title = f"{flow.title}: the rim is {flow.pixels:.1f} px"
        wide = label_maps.widen(label_maps.with_wheel(colors), MIN_FLOW_WIDTH)
        titled.append((title, wide))
    return label_maps.panels(titled, columns=3 if len(titled) == 3 else 2)


def _enlarge(flow: np.ndarray) -> np.ndarray:
    """Enlarges a narrow flow field (2, h, w), whose colors would otherwise be a few blocks.

    It does not become higher than `MAX_FLOW_HEIGHT`.
    """
    factor = min(MIN_FLOW_WIDTH / flow.shape[2], MAX_FLOW_HEIGHT / flow.shape[1])
    if factor <= 1:
        return flow
    enlarged = cv2.resize(flow.transpose(1, 2, 0), None, fx=factor, fy=factor,
                          interpolation=cv2.INTER_LINEAR)
    return enlarged.transpose(2, 0, 1)
