"""Read docs/deviations.md: where this project departs from the papers, why, and what it changes.

The report prints the list; a test holds the ids against the comments ``Deviation D<n>`` in the
code. The format is Markdown that reads well by itself:

    ## D7: One spare step

    - **What:** one sentence or more; further lines are indented.
    - **Why:** ...
    - **Effect on numbers:** ...
    - **Evidence:** ...
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from memdt.errors import UserError, closest

PATH = Path("docs/deviations.md")
FIELDS = {
    "What": "what",
    "Why": "why",
    "Effect on numbers": "effect",
    "Evidence": "evidence",
}
MENTION = re.compile(r"[Dd]eviation\s+(?:#\s*)?(D\d+)")
_HEADING = re.compile(r"^## (?P<id>D\d+): (?P<title>\S.*)$", re.MULTILINE)
_ITEM = re.compile(r"^- \*\*(?P<name>[^*]+):\*\*(?P<text>.*(?:\n[ \t]+\S.*)*)", re.MULTILINE)


@dataclass(frozen=True)
class Deviation:
    """One numbered departure from a paper or its public code."""

    id: str
    title: str
    what: str
    why: str
    effect: str
    evidence: str


def read_deviations(path: Path = PATH) -> tuple[Deviation, ...]:
    """All entries of the file in its order; UserError for a broken one. No file, no entries."""
    if not path.is_file():
        return ()
    return parse_deviations(path.read_text(encoding="utf-8"), str(path))


def parse_deviations(text: str, where: str = str(PATH)) -> tuple[Deviation, ...]:
    """The entries of a text in the format above.

    UserError for a field that is missing, empty or unknown, for an id that appears twice, and for
    a heading of the second level that names none.
    """
    headings = list(_HEADING.finditer(text))
    foreign = [line for line in text.splitlines() if line.startswith("## ")]
    if len(foreign) != len(headings):
        broken = next(line for line in foreign if not _HEADING.match(line))
        raise UserError(f"not the heading of a deviation: {broken!r}", where, "## D1: Title")
    ends = [*(heading.start() for heading in headings[1:]), len(text)][: len(headings)]
    deviations = tuple(
        _deviation(heading["id"], heading["title"], text[heading.end() : end], where)
        for heading, end in zip(headings, ends, strict=True)
    )
    ids = [deviation.id for deviation in deviations]
    for twice in {name for name in ids if ids.count(name) > 1}:
        raise UserError(f"{twice} appears twice", where, "give each deviation its own number")
    return deviations


def _deviation(name: str, title: str, body: str, where: str) -> Deviation:
    fields: dict[str, str] = {}
    for item in _ITEM.finditer(body):
        if item["name"] not in FIELDS:
            raise UserError(
                f"unknown field {item['name']!r}", f"{where}: {name}", closest(item["name"], FIELDS)
            )
        fields[FIELDS[item["name"]]] = " ".join(item["text"].split())
    for label, key in FIELDS.items():
        if not fields.get(key):
            raise UserError(f"{name} does not say: {label}", where, f"add - **{label}:** ...")
    return Deviation(name, title.strip(), **fields)
