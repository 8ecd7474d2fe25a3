"""Environments, one file each; the name of the file is the name in workflow/config/environments."""

INFRASTRUCTURE = (
    "interface",
    "doom_engine",
    "doom_scenario",
    "meta_world_simulator",
    "meta_world_tasks",
    "two_colors_expert",
)
