"""What a source tells of a dataset beside its episodes, to be kept in the file."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field


@dataclass
class Record:
    """Filled while the episodes are made; written after them."""

    # How many episodes of each group were tried, if not all are kept.
    attempts: Counter[str] = field(default_factory=Counter)
    # Lines of the dataset's card: oddities of the files and what was done about them, who played.
    notes: dict[str, str] = field(default_factory=dict)
