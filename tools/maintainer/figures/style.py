"""The style of all figures: a size of page and text, and colors for light and dark pages."""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# inches: a README shows it about 900 pixels wide
WIDTH = 9.0
# sharp on screens with two pixels for one
DPI = 200
# points; a point is 1.4 pixels of a README
SMALL, TEXT, TITLE = 8.0, 9.0, 10.0
# a picture of more colors has gradients, whose colors are rounded to this step of 255
MOST_COLORS, COLOR_STEP = 100_000, 4


@dataclass(frozen=True)
class Theme:
    """The colors of a page.

    Those of the data are the palette of Okabe and Ito, which color-blind readers tell apart.

    Attributes:
        suffix: of the file's name.
        page, panel: behind everything, and behind a part that stands out.
        ink, faint, line: of text, of small print, and of grids and frames.
    """

    suffix: str
    page: str
    panel: str
    ink: str
    faint: str
    line: str
    blue: str
    orange: str
    green: str
    purple: str
    yellow: str
    sky: str

    def settings(self) -> dict[str, Any]:
        """Returns matplotlib's settings, all that a figure's pixels depend on."""
        return {"figure.facecolor": self.page, "savefig.facecolor": self.page,
                "axes.facecolor": self.page, "figure.dpi": DPI, "savefig.dpi": DPI,
                "font.family": "DejaVu Sans", "font.size": TEXT, "mathtext.fontset": "dejavusans",
                "text.color": self.ink, "axes.labelcolor": self.ink, "axes.titlesize": TITLE,
                "axes.titleweight": "bold", "axes.titlelocation": "left",
                "axes.titlecolor": self.ink, "axes.labelsize": TEXT, "axes.edgecolor": self.faint,
                "axes.linewidth": 0.7, "axes.axisbelow": True, "axes.spines.top": False,
                "axes.spines.right": False, "axes.grid": True, "grid.color": self.line,
                "grid.linewidth": 0.5, "xtick.color": self.faint, "ytick.color": self.faint,
                "xtick.labelcolor": self.ink, "ytick.labelcolor": self.ink,
                "xtick.labelsize": SMALL, "ytick.labelsize": SMALL, "xtick.major.size": 2.5,
                "ytick.major.size": 2.5, "xtick.minor.size": 1.5, "ytick.minor.size": 1.5,
                "legend.facecolor": self.page, "legend.edgecolor": "none", "legend.framealpha": 1.0,
                "legend.fontsize": SMALL, "lines.linewidth": 1.5, "patch.linewidth": 0.8,
                "hatch.color": self.faint}


LIGHT = Theme(
    suffix="", page="#ffffff", panel="#f3f5f8", ink="#1f2328", faint="#59636e", line="#d8dee4",
    blue="#0072b2", orange="#d55e00", green="#00896a", purple="#a9518a", yellow="#b98500",
    sky="#4aa3dc",
)
DARK = Theme(
    suffix="_dark", page="#0d1117", panel="#1a212b", ink="#e6edf3", faint="#a2abb6", line="#30373f",
    blue="#5cb3f5", orange="#ff9452", green="#3ccfa4", purple="#e59fcb", yellow="#f0c94f",
    sky="#9bd9ff",
)
THEMES = (LIGHT, DARK)


@dataclass(frozen=True)
class Decoder:
    """How one kind of decoder is called and drawn in every figure."""

    title: str
    hue: str

    def color(self, theme: Theme) -> str:
        return str(getattr(theme, self.hue))


# what an architecture's name begins with -> its decoder
DECODERS = {"fpn": Decoder("FPN", "orange"), "sfnet": Decoder("SFNet", "blue"),
            "sfnet_lite": Decoder("SFNet-Lite", "green")}
OTHER = Decoder("other", "purple")
BACKBONES = {
    "dfnetv1": "DFNetV1", "dfnetv2": "DFNetV2", "resnet18": "ResNet-18", "stdc1": "STDC1",
    "stdc2": "STDC2",
}


def decoder(arch: str) -> Decoder:
    """Returns the decoder of an architecture: `sfnet_lite_resnet18` is SFNet-Lite."""
    return DECODERS.get(arch.rsplit("_", 1)[0], OTHER)


def new_page(height: float) -> Figure:
    """Returns an empty figure of the usual width, `height` inches high."""
    import matplotlib
    matplotlib.use("Agg")
    from matplotlib import pyplot

    return pyplot.figure(figsize=(WIDTH, height))


def new_figure(height: float, **grid: Any) -> tuple[Figure, Any]:
    """Returns a page and its axes in a grid (`Figure.subplots`)."""
    figure = new_page(height)
    return figure, figure.subplots(**grid)


def plain_ticks(axis: Axes, positions: Sequence[float]) -> None:
    """Ticks of a logarithmic axis, as far as it reaches, with plain numbers."""
    low, high = axis.get_xlim()
    shown = [position for position in positions if low <= position <= high]
    axis.set_xticks(shown, [f"{position:g}" for position in shown])
    axis.set_xticks([], minor=True)


def legend_below(axis: Axes, entries: Sequence[tuple[Any, str]] | None = None) -> None:
    """A legend in one row under a panel: of (handle, words), or of what is labeled in it."""
    handles, words = zip(*entries, strict=True) if entries else axis.get_legend_handles_labels()
    inches = axis.get_window_extent().height / axis.figure.dpi
    axis.legend(handles, words, loc="upper center", bbox_to_anchor=(0.5, -0.43 / inches),
                ncols=len(words), columnspacing=1.2, handletextpad=0.2, borderaxespad=0)


def letter(axis: Axes, which: str, title: str) -> None:
    """Titles a panel as papers do: (a) what it shows."""
    axis.set_title(f"({which}) {title}")


def write(figure: Figure, path: Path) -> None:
    """Writes a picture whose bytes depend on nothing but what is drawn: no date, no version.

    Raises:
        OSError: the file cannot be written.
    """
    from matplotlib import pyplot
    from PIL import Image

    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, metadata={"Software": None}, pil_kwargs={"optimize": True})
    pyplot.close(figure)
    picture = Image.open(path).convert("RGB")
    if picture.getcolors(MOST_COLORS) is None:
        Image.fromarray(rounded(np.asarray(picture))).save(path, optimize=True)


def rounded(pixels: np.ndarray) -> np.ndarray:
    """Returns a picture (H, W, 3) uint8 that compresses better and looks the same.

    Each value is moved by `COLOR_STEP` / 2 at most; the color of the page, in the top left corner,
    stays.
    """
    page = pixels[0, 0].astype(int)
    steps = np.round((pixels - page) / COLOR_STEP).astype(int)
    return (page + COLOR_STEP * steps).clip(0, 255).astype(np.uint8)
