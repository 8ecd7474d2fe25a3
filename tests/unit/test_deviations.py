"""Deviations: what is written in the list, and that code and list name the same ones."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from memdt.errors import UserError
from memdt.report.deviations import MENTION, parse_deviations, read_deviations

ROOT = Path(__file__).parents[2]
ENTRY = """# Deviations

Some words before.

## D7: One spare step

- **What:** An episode may last one step more
  than a solution needs.
- **Why:** As published.
- **Effect on numbers:** None.
- **Evidence:** `tmaze.py`.
"""


def test_an_entry_is_read_with_its_indented_lines() -> None:
    (entry,) = parse_deviations(ENTRY)
    assert (entry.id, entry.title) == ("D7", "One spare step")
    assert entry.what == "An episode may last one step more than a solution needs."
    assert (entry.why, entry.effect, entry.evidence) == ("As published.", "None.", "`tmaze.py`.")


def test_a_text_without_entries_has_none(tmp_path: Path) -> None:
    assert parse_deviations("# Deviations\n") == ()
    assert read_deviations(tmp_path / "deviations.md") == ()


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ("- **Why:** As published.\n", "", "D7 does not say: Why"),
        ("**Why:** As published.", "**Why:**", "D7 does not say: Why"),
        ("**Why:**", "**Because:**", "D7: unknown field 'Because'.*Why"),
        ("## D7: One", "## d7 One", "not the heading of a deviation: '## d7 One"),
        ("Some words before.", ENTRY.split("\n\n", 2)[2], "D7 appears twice"),
    ],
)
def test_a_broken_entry_is_refused(before: str, after: str, message: str) -> None:
    assert before in ENTRY
    with pytest.raises(UserError, match=message):
        parse_deviations(ENTRY.replace(before, after))


def test_mentions_are_found_in_comments() -> None:
    text = "# Deviation D3: so.\n# D4 alone is none, nor is Deviation D.\nx: 1  # Deviation D12"
    text += "\n# a deviation\n# D5 over two lines"
    assert MENTION.findall(text) == ["D3", "D12", "D5"]


def test_the_code_and_the_list_name_the_same_deviations() -> None:
    named = {name: path for path in sources() for name in MENTION.findall(path.read_text("utf-8"))}
    listed = {one.id for one in read_deviations(ROOT / "docs" / "deviations.md")}
    unlisted = {name: str(named[name].relative_to(ROOT)) for name in set(named) - listed}
    assert not unlisted, f"add to docs/deviations.md: {unlisted}"
    assert sorted(listed - set(named)) == [], "no code has these any more, or does not say so"


def sources() -> Iterator[Path]:
    """Everything that may hold a deviation: the package, the settings and the workflow."""
    for folder in ("src", "workflow", "benchmarks"):
        for pattern in ("*.py", "*.yaml", "*.smk"):
            yield from (ROOT / folder).rglob(pattern)
