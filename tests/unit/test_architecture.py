"""docs/architecture.md shows the imports between rooms as they are."""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "src" / "memdt"
ROOMS = {folder.name for folder in PACKAGE.iterdir() if (folder / "__init__.py").is_file()}


def imported() -> set[tuple[str, str]]:
    """Every pair of rooms of which one imports from the other."""
    pairs = set()
    for room in ROOMS:
        for file in (PACKAGE / room).rglob("*.py"):
            for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
                if isinstance(node, ast.ImportFrom) and node.module:
                    names = [f"{node.module}.{alias.name}".split(".") for alias in node.names]
                    pairs |= {(room, parts[1]) for parts in names if parts[0] == "memdt"}
    return {(one, other) for one, other in pairs if other in ROOMS and one != other}


def test_the_table_shows_the_imports():
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    heading, rows = re.findall(r"^\| room \|(.+)\|\n\|[-:|]+\|\n((?:\|.+\n)+)", page, re.M)[1]
    columns = [cell.strip() for cell in heading.split("|")]
    shown = set()
    for row in rows.splitlines():
        room, *marks = [cell.strip() for cell in row.strip("|").split("|")]
        shown |= {(room, other) for other, mark in zip(columns, marks, strict=True) if mark == "✓"}
    assert shown == imported()


def test_every_room_has_its_line():
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    assert set(re.findall(r"^\| `(\w+)/` \|", page, re.M)) == ROOMS
