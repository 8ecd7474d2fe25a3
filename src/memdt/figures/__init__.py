"""Figures, one module a kind; workflow/config/figures.yaml names the module of each figure."""

INFRASTRUCTURE = ("interface", "line_drawing", "lines", "over_time", "style")
