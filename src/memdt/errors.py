"""Errors with a message for the user: what is wrong, where, and what to do about it."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class UserError(Exception):
    """Bad input, described in one line that the command line prints without a traceback.

    The line joins ``what`` is wrong, ``where`` (a file, a key), and the ``remedy``.
    """

    def __init__(self, what: str, where: str = "", remedy: str = "") -> None:
        self.what, self.where, self.remedy = what, where, remedy
        super().__init__(self.line())

    def line(self) -> str:
        """The whole message as one line of text."""
        prefix = f"{self.where}: " if self.where else ""
        remedy = f" -> {self.remedy}" if self.remedy else ""
        # Messages of other libraries have several lines.
        return " ".join(f"{prefix}{self.what}{remedy}".split())


def closest(name: str, allowed: Iterable[str]) -> str:
    """A sentence that suggests the closest match and lists the allowed names."""
    names = sorted(allowed)
    match = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    hint = f"did you mean {match[0]!r}? " if match else ""
    return f"{hint}allowed: {', '.join(names)}"
