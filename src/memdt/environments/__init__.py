"""Environments, one file each; the name of the file is the name in workflow/config/environments."""

INFRASTRUCTURE = ("interface", "doom_engine", "doom_scenario", "two_colors_expert")
