"""The workflow keeps to the style that Snakemake's own tools ask for."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_snakemake_lint_is_clean(project):
    done = project.snakemake("--lint")
    assert done.returncode == 0, done.stdout + done.stderr


def test_snakefmt_is_clean():
    here = str(Path(sys.executable).parent)  # where snakefmt finds shfmt
    done = subprocess.run(
        [sys.executable, "-m", "snakefmt", "--check", "Snakefile", "workflow"],
        cwd=ROOT, env=os.environ | {"PATH": f"{here}{os.pathsep}{os.environ['PATH']}"},
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


def test_rules_call_the_verbs_and_nothing_else():
    """No `script:` and no `run:`: every step can be pasted into a terminal."""
    for path in (ROOT / "workflow" / "rules").glob("*.smk"):
        text = path.read_text(encoding="utf-8")
        assert "script:" not in text
        assert "\n    run:" not in text
        assert text.count("shell:") == text.count("python -m memdt ") == text.count("\n    log:")
