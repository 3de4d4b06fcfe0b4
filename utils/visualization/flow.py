"""Semantic flow to look at: fields recorded while a network parses an image, in the colors of optical flow."""
from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from torch import Tensor, nn

from utils.evaluation.predictor import Predictor
from utils.visualization import label_maps

FLOW_WIDTH = 256                                            # smaller flow fields are enlarged, which keeps them smooth
UNITS_PER_CELL = 2                                          # of `network.alignment.warp`

# net -> context in which each forward pass fills a dict: name -> flow (N, 2 or 4, H, W)
RecordFlows = Callable[[nn.Module], AbstractContextManager[dict[str, Tensor]]]


@dataclass(frozen=True)
class Field:
    """A flow field to look at: which one it is, its colors (h, w, 3), and what they mean.

    Args:
        pixels: of the image, the length at which the color is full: the rim of the wheel.
    """

    title: str
    colors: np.ndarray
    pixels: float
    note: str


def observe(predictor: Predictor, record_flows: RecordFlows, image: np.ndarray) -> dict[str, np.ndarray]:
    """Returns by name the semantic flows (2 or 4, h, w) that parsing the whole (H, W, 3) image at once takes."""
    with record_flows(predictor.net) as flows:
        predictor.logits(torch.from_numpy(image).permute(2, 0, 1)[None])
    return {name: flow[0].cpu().numpy() for name, flow in flows.items()}


def fields(flows: dict[str, np.ndarray], width: int, reaches: list[float] | None = None) -> list[Field]:
    """Returns each flow (2 or 4, h, w) of a network in colors, as far as the longest hundredth of its vectors.

    Args:
        width: of the image in pixels.
        reaches: keeps the reach of each field from frame to frame and only ever grows, so that the colors of a video
            do not flicker; empty at first.
    """
    found: list[Field] = []
    for flow in flows.values():
        moved = ("",) if len(flow) == 2 else (" of the coarse map", " of the fine map")
        for part, of in zip(np.split(flow, len(moved)), moved, strict=True):
            stride = width / part.shape[2]
            reach = max(1e-6, float(np.quantile(np.hypot(*part), 0.99)))
            if reaches is not None:
                reaches += [reach] * (len(found) >= len(reaches))
                reach = reaches[len(found)] = max(reach, reaches[len(found)])
            pixels = reach / UNITS_PER_CELL * stride
            note = (f"Semantic flow{of} onto the grid of stride {stride:.0f} ({part.shape[1]} × {part.shape[2]}); "
                    f"the rim of the wheel is {pixels:.1f} pixels of the image.")
            colors = label_maps.flow_colors(_smooth(part), reach)
            found.append(Field(f"Flow {len(found) + 1}, stride {stride:.0f}", colors, pixels, note))
    return found


def sheet(image: np.ndarray, found: list[Field]) -> np.ndarray:
    """Returns the image and its flow fields side by side, each field with the wheel in its corner and the wheel's reach
    in its title."""
    height, width = image.shape[:2]
    titled = [("Image", image)]
    for field in found:
        colors = cv2.resize(field.colors, (width, height), interpolation=cv2.INTER_LINEAR)
        titled.append((f"{field.title}: the rim is {field.pixels:.1f} px", label_maps.with_wheel(colors)))
    return label_maps.panels(titled, columns=3 if len(titled) == 3 else 2)


def _smooth(flow: np.ndarray) -> np.ndarray:
    """Enlarges a small flow (2, h, w), whose colors would otherwise be few blocks."""
    factor = FLOW_WIDTH / flow.shape[2]
    if factor <= 1:
        return flow
    enlarged = cv2.resize(flow.transpose(1, 2, 0), None, fx=factor, fy=factor, interpolation=cv2.INTER_LINEAR)
    return enlarged.transpose(2, 0, 1)
