"""Figures, one module a kind; workflow/config/figures.yaml names the module of each figure."""

INFRASTRUCTURE = (
    "film_clip", "films", "interface", "line_drawing", "lines", "over_time", "style",
)  # fmt: skip
