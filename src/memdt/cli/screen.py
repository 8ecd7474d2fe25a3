"""One console for all tables: as wide as the terminal, and unbroken lines where there is none."""

from __future__ import annotations

from rich.console import Console


def console() -> Console:
    """A console for the user; in a file or a pipe each line stays one line."""
    # Unless told otherwise, rich colours every number and path.
    screen = Console(highlight=False, soft_wrap=True)
    return screen if screen.is_terminal else Console(highlight=False, soft_wrap=True, width=200)
