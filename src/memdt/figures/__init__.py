"""Figures, one module per kind; workflow/config/figures.yaml names the module of each figure."""

INFRASTRUCTURE = ("clips", "drawing", "interface")
