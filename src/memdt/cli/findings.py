"""What `memdt doctor` finds."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Finding:
    """One line: what was looked at, whether it is as it should be, and what to do if not."""

    what: str
    ok: bool
    detail: str
    remedy: str = ""
    needed: bool = True
