"""Environments, one file each; the name of the file is the name in workflow/config/environments.

What one environment alone needs lies in a folder of its own.
"""

INFRASTRUCTURE = ("interface", "outcomes", "spaces", "task", "vectors")
