"""CONTRIBUTING.md: files stay under 400 lines."""

from __future__ import annotations

from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("folder", ["src", "tests", "benchmarks", "workflow"])
def test_files_stay_under_400_lines(folder: str) -> None:
    files = [path for end in ("*.py", "*.smk") for path in (ROOT / folder).rglob(end)]
    assert files
    lengths = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in files}
    assert not {str(path.relative_to(ROOT)): n for path, n in lengths.items() if n >= 400}
