"""The style of all figures: colours, sizes and settings.

Figures are 5 inches wide, which a phone shows at about their natural size; `WIDE` ones scroll
there. The SVG file has dark ink on white. Inside the report `report/inline_svg.py` replaces each
colour named here by a CSS variable, so that the same drawing suits light and dark pages.
"""

from __future__ import annotations

from typing import Any

import seaborn as sns
from matplotlib.figure import Figure

NARROW = 5.0  # inches
WIDE = 8.0

INK = "#1f2328"
PAPER = "#ffffff"
# Okabe and Ito's colour-blind-safe set, the light ones darkened until they stand out from white.
SERIES = (
    "#0072b2",
    "#d55e00",
    "#00805d",
    "#a2478f",
    "#b27a00",
    "#3b94cc",
    "#6e6e6e",
    "#8a4b14",
)
# The same colours on a dark page; a test compares both with report/style.css.
DARK = {
    INK: "#e4e7eb",
    PAPER: "#181c21",
    **dict(
        zip(
            SERIES,
            (
                "#57aeea",
                "#ff8a45",
                "#3fc79d",
                "#e08bcd",
                "#e9b23c",
                "#9fd4f7",
                "#a9a9a9",
                "#cf9460",
            ),
            strict=True,
        )
    ),
}
MARKERS = ("o", "s", "D", "^", "v", "P", "X", "*")
DASHES: tuple[Any, ...] = ("", (4, 1.5), (1, 1), (5, 1, 1, 1))
HEAT = "mako"  # seaborn's, even steps of lightness


def settings(salt: str) -> dict[str, Any]:
    """Settings of matplotlib; ``salt`` makes the ids in the SVG a function of the figure's name."""
    ink = dict.fromkeys(
        ("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color"), INK
    )
    return {
        **sns.axes_style("ticks"),
        **ink,
        # One font that comes with matplotlib: with a list, the layout would depend on the machine.
        "font.family": "DejaVu Sans",
        "font.size": 10,
        "axes.titlesize": 10.5,
        "axes.titleweight": "bold",
        "axes.titlelocation": "left",
        "axes.labelsize": 10,
        "xtick.labelsize": 9.5,
        "ytick.labelsize": 9.5,
        "legend.fontsize": 9.5,
        "legend.frameon": False,
        "axes.linewidth": 0.8,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.grid": True,
        "axes.grid.axis": "y",
        "axes.axisbelow": True,
        "grid.color": INK,
        "grid.alpha": 0.13,
        "grid.linewidth": 0.7,
        "lines.linewidth": 1.7,
        "lines.markersize": 5,
        "lines.solid_capstyle": "round",
        "axes.facecolor": "none",
        "figure.facecolor": PAPER,
        "savefig.facecolor": PAPER,
        "figure.constrained_layout.h_pad": 0.05,
        "svg.fonttype": "none",
        "svg.hashsalt": salt,
    }


def new_figure(height: float, width: float = NARROW) -> Figure:
    """An empty figure of ``width`` by ``height`` inches, created without pyplot."""
    return Figure(figsize=(width, height), layout="constrained")


def colour(index: int) -> str:
    """The colour of a series; after the eighth they repeat with other dashes."""
    return SERIES[index % len(SERIES)]


def marker(index: int) -> str:
    """The marker of a series."""
    return MARKERS[index % len(MARKERS)]


def dashes(index: int) -> Any:
    """The dash pattern of a series: solid for the first eight."""
    return DASHES[index // len(SERIES) % len(DASHES)]


def words(name: str) -> str:
    """A name from a file as words for a reader: ``return_to_go_held`` -> ``return to go held``."""
    return name.replace("_", " ")
