"""One console for all tables: as wide as the terminal, and unbroken lines where there is none."""

from __future__ import annotations

from rich.console import Console


def console() -> Console:
    """A console for people; where its output goes to a file or a pipe, each line stays one line."""
    found = Console(highlight=False, soft_wrap=True)
    return found if found.is_terminal else Console(highlight=False, soft_wrap=True, width=200)
