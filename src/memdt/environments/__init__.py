"""Environments, one file each. ``workflow/config/environments`` refers to them by file name.

Helpers of a single environment have a folder of their own.
"""

INFRASTRUCTURE = ("frame_stacks", "interface", "outcomes", "spaces", "task", "vectors")
