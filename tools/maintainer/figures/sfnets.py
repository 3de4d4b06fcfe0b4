"""Drawings of SFNet with its flow alignment, and SFNet-Lite with its gated dual alignment."""
from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np

import datasets
from tools.maintainer.figures import style
from tools.maintainer.figures.diagram import Diagram, Point
from tools.maintainer.figures.style import Theme
from utils.visualization import label_maps

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# of the drawing, in hundredths of an inch
HEIGHT = 812
STRIDES = ("1/4", "1/8", "1/16", "1/32")
# width, height, depth of the maps above
SLABS = ((70, 35, 6), (52, 26, 9), (38, 19, 13), (26, 13, 18))
# height and width of the scene that goes in
SCENE = (120, 240)
# class -> color in the image; the prediction has Cityscapes' colors
PAINT = {
    "sky": (186, 210, 232), "building": (164, 148, 138), "vegetation": (112, 138, 96),
    "road": (110, 112, 118), "sidewalk": (182, 176, 170), "car": (62, 88, 132),
    "pole": (84, 84, 90),
}


def draw(sources: Path, theme: Theme) -> Figure:
    """Draws both networks; reads nothing."""
    figure, axis = style.new_figure(HEIGHT / 100)
    axis.set_position((0, 0, 1, 1))
    drawing = Diagram(axis, theme, 900, HEIGHT)
    image, prediction = scene()
    draw_sfnet(drawing, image, prediction)
    draw_alignment(drawing)
    draw_lite(drawing, image, prediction)
    draw_gated_alignment(drawing)
    return figure


def scene() -> tuple[np.ndarray, np.ndarray]:
    """Returns a street as a picture and as its classes' colors, both (h, w, 3)."""
    spec = datasets.spec("cityscapes")
    shapes = {
        "sky": [(0, 0), (240, 0), (240, 120), (0, 120)],
        "building": [(0, 14), (62, 26), (62, 34), (92, 38), (92, 78), (0, 92)],
        "vegetation": [
            (132, 62), (146, 44), (168, 34), (192, 16), (224, 10), (240, 14), (240, 92), (140, 80),
        ],
        "sidewalk": [(0, 84), (104, 66), (134, 66), (240, 86), (240, 120), (0, 120)],
        "road": [(112, 65), (128, 65), (228, 120), (14, 120)],
        "car": [(70, 84), (76, 72), (98, 72), (104, 84), (104, 96), (70, 96)],
        "pole": [(204, 26), (208, 26), (208, 100), (204, 100)],
    }
    labels = np.zeros(SCENE, np.uint8)
    for name, corners in shapes.items():
        cv2.fillPoly(labels, [np.array(corners, np.int32)], spec.names.index(name))
    paint = np.zeros((256, 3))
    for name, color in PAINT.items():
        paint[spec.names.index(name)] = color
    light = np.linspace(0.86, 1.08, SCENE[0])[:, None, None]
    return np.clip(paint[labels] * light, 0,
                   255).astype(np.uint8), label_maps.color_mask(labels, spec.palette)


def flow_tile(towards: Point, turn: float) -> np.ndarray:
    """Returns an invented flow field in colors: vectors that point away from a curve."""
    ys, xs = np.mgrid[-1:1:150j, -2:2:300j]
    bend = ys - 0.55 * np.sin(1.3 * xs + towards[0]) - towards[1]
    strength = np.exp(-(1.7 * bend) ** 2)
    angle = np.where(bend > 0, 1.35, -1.75) + turn * xs
    return label_maps.flow_colors(strength * np.stack([np.cos(angle), np.sin(angle)]), 1.0)


def draw_backbone(drawing: Diagram, image: np.ndarray, x: float, rows: tuple[float, ...],
                  picture: float, unused: tuple[int, ...] = ()) -> None:
    """Draws the feature maps of a backbone from the image upwards, with their strides.

    Args:
        rows: vertical positions of the maps, from fine to coarse.
    """
    theme = drawing.theme
    drawing.picture((x, picture), 80, 40, image)
    drawing.text((x + 46, picture), "image", ha="left", color=theme.faint)
    below = picture - 21
    for level, (y, (width, height, depth)) in enumerate(zip(rows, SLABS, strict=True)):
        drawing.arrow([(x, below), (x, y + height / 2 + 1)])
        drawing.features((x, y), width, height, depth,
                         theme.faint if level in unused else theme.blue)
        drawing.text((x - 40, y), STRIDES[level], ha="right", color=theme.faint)
        below = y - height / 2 - 0.6 * depth


def draw_sfnet(drawing: Diagram, image: np.ndarray, prediction: np.ndarray) -> None:
    theme = drawing.theme
    drawing.panel(6, 6, 534, 404, "a", "SFNet, here on the four maps of a ResNet")
    rows = (318.0, 236.0, 154.0, 72.0)
    backbone, conv, total, level_x, smooth, bar, last = 78, 166, 250, 312, 378, 440, 494
    draw_backbone(drawing, image, backbone, rows, 380)
    drawing.text((backbone + 6, 47), "backbone", color=theme.faint)

    drawing.arrow([(backbone + 32, rows[3]), (conv - 22, rows[3])])
    drawing.box((conv, rows[3]), "PPM", theme.purple)
    drawing.arrow([(conv + 22, rows[3]), (level_x - 15, rows[3])])
    drawing.arrow([(level_x + 24, rows[3]), (bar - 11, rows[3])])
    for level in (2, 1, 0):
        y, (width, height, depth) = rows[level], SLABS[level]
        above, above_height = rows[level + 1], SLABS[level + 1][1]
        between = y - 41
        drawing.arrow([(backbone + width / 2 + depth + 1, y), (conv - 22, y)])
        drawing.box((conv, y), "1×1", theme.blue)
        drawing.arrow([(conv + 22, y), (total - 9, y)])
        drawing.arrow([(204, y), (204, between), (total - 27, between)])
        drawing.arrow(
            [(level_x, above + above_height / 2), (level_x, between), (total + 27, between)]
        )
        drawing.box((total, between), "FAM", theme.orange, width=52)
        drawing.arrow([(total, between + 12), (total, y - 9)])
        drawing.node((total, y), "+")
        drawing.arrow([(total + 9, y), (level_x - 0.36 * width - 1, y)])
        drawing.arrow([(level_x + 0.36 * width + depth, y), (smooth - 22, y)])
        drawing.box((smooth, y), "3×3", theme.green)
        drawing.arrow([(smooth + 22, y), (bar - 11, y)])
    for level, y in enumerate(rows):
        width, height, depth = SLABS[level]
        drawing.features((level_x, y), 0.72 * width, 0.72 * height, 0.72 * depth, theme.orange)
        if level:
            drawing.text((bar - 27, y - 9), f"↑{2 ** level}", color=theme.faint)
    drawing.text((level_x + 6, 47), "aligned pyramid", color=theme.faint)
    drawing.box((bar, (rows[0] + rows[3]) / 2), "", theme.green, width=22,
                height=rows[0] - rows[3] + 34)
    drawing.text((bar, (rows[0] + rows[3]) / 2), "concatenate", rotation=90)
    finish(drawing, prediction, bar + 11, last, (rows[2], rows[1], rows[0] - 10))
    drawing.text((180, 380),
                 "1×1, 3×3: convolution, batch norm, ReLU\n"
                 "PPM: pyramid pooling   +: sum   ↑n: bilinear, n times as large\n"
                 "in training, an auxiliary classifier after each sum, if wanted",
                 ha="left", color=theme.faint)


def finish(drawing: Diagram, prediction: np.ndarray, start: float, x: float,
           rows: tuple[float, float, float]) -> None:
    """What both networks end in: a convolution, the classifier, and resizing to the image."""
    first, second, third = rows
    theme = drawing.theme
    drawing.arrow([(start, first), (x - 22, first)])
    drawing.box((x, first), "3×3", theme.green)
    drawing.arrow([(x, first + 12), (x, (first + second) / 2 + 14)])
    drawing.box((x, (first + second) / 2 + 26), "classes", theme.green, width=56)
    drawing.arrow([(x, (first + second) / 2 + 38), (x, third - 20)])
    drawing.text((x + 6, (third + second) / 2 + 10), "↑4", ha="left", color=theme.faint)
    drawing.picture((x, third), 80, 40, prediction)
    drawing.text((x, third + 30), "prediction", color=theme.faint)


def draw_alignment(drawing: Diagram) -> None:
    theme = drawing.theme
    drawing.panel(548, 6, 346, 404, "b", "Flow alignment module (FAM)")
    coarse, middle, fine = 636, 726, 822
    drawing.text((coarse + 6, 54), "coarse map $F_l$")
    drawing.text((fine + 2, 54), "fine map $F_{l-1}$")
    draw_projections(drawing, coarse, middle, fine, (86, 142, 184))
    drawing.arrow([(middle, 193), (middle, 210)])
    drawing.box((middle, 222), "3×3", theme.orange)
    drawing.arrow([(middle, 234), (middle, 255)])
    drawing.picture((middle + 20, 280), 96, 48, flow_tile((0.4, 0.0), 0.5))
    drawing.text((middle + 74, 280), "semantic\nflow $\\Delta$", ha="left")
    drawing.arrow([(middle - 28, 280), (coarse + 27, 280)])
    drawing.arrow([(coarse - 21, 86), (580, 86), (580, 280), (coarse - 27, 280)])
    drawing.box((coarse, 280), "warp", theme.orange, width=54)
    drawing.arrow([(coarse, 292), (coarse, 320)])
    drawing.features((coarse - 3, 344), 70, 35, 8, theme.orange)
    drawing.text((coarse + 52, 338), "$F_l$ on the fine grid, bilinear", ha="left")
    drawing.text((coarse + 52, 356), r"$\tilde{F}_l(p) = F_l\,(p + \Delta(p))$", ha="left",
                 fontsize=style.TEXT)
    drawing.text((560, 391), "plain convolutions;  $\\Delta = 0$ would be FPN's upsampling",
                 ha="left", color=theme.faint)


def draw_projections(drawing: Diagram, coarse: float, middle: float, fine: float,
                     rows: tuple[float, float, float]) -> None:
    """Draws the start of both alignments: two maps, projected, resized and concatenated."""
    theme = drawing.theme
    maps, conv, joined = rows
    drawing.features((coarse, maps), 40, 20, 14, theme.blue)
    drawing.features((fine, maps), 70, 35, 8, theme.blue)
    drawing.arrow([(coarse, maps + 10), (coarse, conv - 12)])
    drawing.arrow([(fine, maps + 17.5), (fine, conv - 12)])
    for x in (coarse, fine):
        drawing.box((x, conv), "1×1", theme.orange)
    drawing.arrow([(coarse, conv + 12), (coarse, joined - 9)])
    drawing.node((coarse, joined), "↑")
    drawing.arrow([(coarse + 9, joined), (middle - 9, joined)])
    drawing.arrow([(fine, conv + 12), (fine, joined), (middle + 9, joined)])
    drawing.node((middle, joined), "C")
    drawing.text((middle, joined - 17), "concatenate", color=theme.faint)


def draw_lite(drawing: Diagram, image: np.ndarray, prediction: np.ndarray) -> None:
    theme = drawing.theme
    drawing.panel(6, 418, 444, 388, "c", "SFNet-Lite")
    rows = (712.0, 636.0, 560.0, 484.0)
    backbone, conv, module, bar, last = 78, 166, 246, 342, 402
    draw_backbone(drawing, image, backbone, rows, 776, unused=(1,))
    drawing.text((backbone + 6, 458), "backbone", color=theme.faint)
    drawing.text((backbone + 44, rows[1]), "not used", ha="left", color=theme.faint)
    drawing.arrow([(backbone + 32, rows[3]), (conv - 22, rows[3])])
    drawing.arrow([(conv + 22, rows[3]), (module, rows[3]), (module, rows[1] - 15)])
    drawing.arrow([(conv + 22, rows[0]), (module, rows[0]), (module, rows[1] + 15)])
    drawing.arrow([(conv + 22, rows[2]), (bar - 11, rows[2])], bridge=True)
    drawing.text((bar - 27, rows[2] - 9), "↑4", color=theme.faint)
    drawing.box((conv, rows[3]), "PPM", theme.purple)
    for level in (0, 2):
        width, _, depth = SLABS[level]
        drawing.arrow([(backbone + width / 2 + depth + 1, rows[level]), (conv - 22, rows[level])])
        drawing.box((conv, rows[level]), "1×1", theme.blue)
    drawing.box((module, rows[1]), "GD-FAM", theme.orange, width=66, height=30)
    drawing.text((module + 7, rows[1] - 38), "coarse", ha="left", color=theme.faint)
    drawing.text((module + 7, rows[1] + 38), "fine", ha="left", color=theme.faint)
    drawing.arrow([(module + 33, rows[1]), (bar - 11, rows[1])])
    drawing.box((bar, (rows[1] + rows[2]) / 2), "", theme.green, width=22,
                height=rows[1] - rows[2] + 44)
    drawing.text((bar, (rows[1] + rows[2]) / 2), "concatenate", rotation=90)
    finish(drawing, prediction, bar + 11, last, (rows[2], rows[1], rows[0]))
    drawing.text((190, 776), "One alignment from 1/32 to 1/4\nin place of one for each level.",
                 ha="left", color=theme.faint)


def draw_gated_alignment(drawing: Diagram) -> None:
    theme = drawing.theme
    drawing.panel(458, 418, 436, 388, "d", "Gated dual flow alignment module (GD-FAM)")
    coarse, middle, fine = 556, 676, 796
    drawing.text((coarse + 6, 460), "coarse map $F_l$")
    drawing.text((fine + 2, 460), "fine map $F_{l-1}$")
    draw_projections(drawing, coarse, middle, fine, (490, 542, 582))
    drawing.text((coarse + 56, 573), r"$\hat{F}_l$", color=theme.faint)
    drawing.arrow([(middle, 591), (middle, 602)])
    drawing.box((middle, 614), "3×3", theme.orange)
    tiles = (middle - 46, middle + 46)
    for x, tile, words in zip(tiles, (flow_tile((0.4, 0.0), 0.5), flow_tile((2.2, 0.1), -0.4)),
                              (r"$\Delta_l$", r"$\Delta_{l-1}$"), strict=True):
        drawing.arrow([(middle + (22 if x > middle else -22), 614), (x, 614), (x, 638)])
        drawing.picture((x, 656), 68, 34, tile)
        drawing.text((x + (22 if x > middle else -22), 628), words)
    for x, side, outer in ((coarse, -1, 484), (fine, 1, 868)):
        reach = 20 if side < 0 else 44
        drawing.arrow([(x + side * reach, 490), (outer, 490), (outer, 656), (x + side * 27, 656)])
        drawing.arrow([(middle + side * 80, 656), (x - side * 27, 656)])
        drawing.box((x, 656), "warp", theme.orange, width=54)
        drawing.arrow([(x, 668), (x, 715)])
        drawing.node((x, 724), "×")
        drawing.arrow([(middle + side * 46, 724), (x - side * 9, 724)])
        drawing.arrow([(x, 733), (x, 774), (middle + side * 9, 774)])
    drawing.text((coarse + 40, 714), "$G$")
    drawing.text((fine - 42, 714), "$1-G$")
    drawing.box((middle, 724), "mean, max of\n$\\hat{F}_l$ and $F_{l-1}$\n3×3, sigmoid",
                theme.purple, width=92, height=54)
    drawing.node((middle, 774), "+")
    drawing.arrow([(middle, 783), (middle, 802)])
    drawing.text((middle + 10, 794), "both maps on the fine grid", ha="left", color=theme.faint)
