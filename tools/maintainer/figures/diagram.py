"""Boxes, feature maps and arrows of a drawing of a network.

Lengths are in hundredths of an inch, from the upper left corner.
"""
from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tools.maintainer.figures import style
from tools.maintainer.figures.style import Theme

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Point = tuple[float, float]


class Diagram:
    """A page to draw on; places are centers, y goes down.

    Args:
        axis: fills the figure; its limits and frame are set here.
    """

    def __init__(self, axis: Axes, theme: Theme, width: float, height: float) -> None:
        self.axis, self.theme = axis, theme
        axis.set(xlim=(0, width), ylim=(height, 0), aspect="equal")
        axis.set_axis_off()

    def panel(self, left: float, top: float, width: float, height: float, letter: str,
              title: str) -> None:
        """A part of the figure under its title."""
        self._rounded(left, top, width, height, face=self.theme.panel, edge="none", round_by=8,
                      order=0)
        self.axis.text(left + 12, top + 20, f"({letter}) {title}", fontsize=style.TITLE,
                       weight="bold", va="center")

    def text(self, at: Point, words: str, **settings: Any) -> None:
        self.axis.text(*at, words,
                       **{"ha": "center", "va": "center", "fontsize": style.SMALL, "zorder": 6,
                          "linespacing": 1.3, **settings})

    def box(self, at: Point, words: str, color: str, width: float = 44, height: float = 24) -> None:
        """An operation with parameters: its name in a frame."""
        self._rounded(at[0] - width / 2, at[1] - height / 2, width, height, face=self.tint(color),
                      edge=color)
        self.text(at, words)

    def node(self, at: Point, sign: str, radius: float = 8.5) -> None:
        """An operation without parameters: a sign in a circle."""
        from matplotlib.patches import Circle

        self.axis.add_patch(Circle(at, radius, facecolor=self.theme.page, edgecolor=self.theme.ink,
                                   linewidth=0.9, zorder=4))
        self.text(at, sign, fontsize=style.TEXT)

    def features(self, at: Point, width: float, height: float, depth: float, color: str) -> None:
        """Draws a feature map as a slab.

        Args:
            at: center of its front.
            depth: stands for the number of channels.
        """
        from matplotlib.patches import Polygon

        left, right, top, bottom = (at[0] - width / 2, at[0] + width / 2, at[1] - height / 2,
                                    at[1] + height / 2)
        back = 0.6 * depth
        faces = {0.34: [(left, top), (right, top), (right, bottom), (left, bottom)],
                 0.2: [(left, top),
                       (left + depth, top - back),
                       (right + depth, top - back),
                       (right, top)],
                 0.5: [(right, top),
                       (right + depth, top - back),
                       (right + depth, bottom - back),
                       (right, bottom)]}
        for strength, corners in faces.items():
            self.axis.add_patch(Polygon(corners, facecolor=self.tint(color, strength),
                                        edgecolor=color, linewidth=0.8, joinstyle="round",
                                        zorder=4))

    def picture(self, at: Point, width: float, height: float, pixels: np.ndarray) -> None:
        """An (h, w, 3) image in a thin frame."""
        left, right, top, bottom = (at[0] - width / 2, at[0] + width / 2, at[1] - height / 2,
                                    at[1] + height / 2)
        self.axis.imshow(pixels, extent=(left, right, bottom, top), zorder=4,
                         interpolation="antialiased")
        self._rounded(left, top, width, height, face="none", edge=self.theme.faint, round_by=0.5,
                      order=5)
        self.axis.set(xlim=self.axis.get_xlim(), ylim=self.axis.get_ylim())

    def arrow(self, points: Sequence[Point], bridge: bool = False) -> None:
        """Draws an arrow through points, with round corners.

        Args:
            bridge: whether it leads over other lines.
        """
        from matplotlib.patches import FancyArrowPatch
        from matplotlib.path import Path
        from matplotlib.patheffects import Normal, Stroke

        line = _rounded_corners(points, 6)
        self.axis.add_patch(
            FancyArrowPatch(
                path=Path([point for point, _ in line], [code for _, code in line]),
                arrowstyle="-|>,head_width=2.2,head_length=4.2", color=self.theme.ink,
                linewidth=1.1, capstyle="butt", joinstyle="round", shrinkA=0, shrinkB=0,
                zorder=3.5 if bridge else 3,
                path_effects=[Stroke(linewidth=6, foreground=self.theme.panel), Normal()]
                if bridge
                else None,
            )
        )

    def tint(self, color: str, strength: float = 0.22) -> str:
        """Mixes a color into the page's, so that what lies behind does not shine through."""
        from matplotlib.colors import to_hex, to_rgb

        page = np.array(to_rgb(self.theme.page))
        return str(to_hex(page + strength * (np.array(to_rgb(color)) - page)))

    def _rounded(self, left: float, top: float, width: float, height: float, face: str, edge: str,
                 round_by: float = 4, order: float = 4) -> None:
        from matplotlib.patches import FancyBboxPatch

        self.axis.add_patch(FancyBboxPatch((left, top), width, height,
                                           boxstyle=f"round,pad=0,rounding_size={round_by}",
                                           facecolor=face, edgecolor=edge, linewidth=1.0,
                                           zorder=order))


def _rounded_corners(points: Sequence[Point], radius: float) -> list[tuple[Point, int]]:
    """Returns (point, code of a matplotlib path) of a line whose corners are quarter turns."""
    from matplotlib.path import Path

    line: list[tuple[Point, int]] = [(points[0], int(Path.MOVETO))]
    for before, corner, after in zip(points, points[1:], points[2:], strict=False):
        for end, code in ((before, Path.LINETO), (after, Path.CURVE3)):
            away = np.subtract(end, corner)
            length = float(np.hypot(*away))
            x, y = np.add(corner, away * min(radius, length / 2) / length)
            if code == Path.CURVE3:
                line.append((corner, int(Path.CURVE3)))
            line.append(((float(x), float(y)), int(code)))
    return [*line, (points[-1], int(Path.LINETO))]
