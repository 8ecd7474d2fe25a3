"""Environments, one file each; the name of the file is the name in workflow/config/environments."""

INFRASTRUCTURE = ("interface",)
