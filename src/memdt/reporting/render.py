"""Write the report: one HTML file that opens anywhere, offline, without a script.

Last step of the flow. It only reads what the steps before have written (tables, claims, figures,
manifests, datasets, docs/deviations.md); `report_view.py` turns that into values, the template
`report.html.jinja` into a page. The same files give the same bytes.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup, escape

from memdt import paths
from memdt.figures.style import words
from memdt.files import write_text
from memdt.reporting import report_view, run_records
from memdt.reporting.deviations import read_deviations
from memdt.reporting.scale_comparison import published_scale
from memdt.reporting.verdicts import RULES
from memdt.settings.resolve import scale_file

HERE = Path(__file__).parent
_CODE = re.compile(r"`([^`]+)`")
_DEVIATION = re.compile(r"\b(D\d+)\b")


def render(scale: str, experiments: Sequence[str], out: Path | None = None) -> Path:
    """Write the report of a scale about some experiments; returns its path.

    Experiments and figures that are configured but not asked for are listed as not run.
    """
    path = out or paths.report(scale)
    write_text(path, render_text(scale, experiments, path))
    return path


def render_text(scale: str, experiments: Sequence[str], path: Path) -> str:
    """The report as text; links in it are relative to the folder of ``path``."""
    template = environment(path).get_template("report.html.jinja")
    return template.render(content(scale, experiments)).rstrip() + "\n"


def environment(path: Path) -> jinja2.Environment:
    """The template's environment: everything is escaped, and a misspelt name is an error."""
    found = jinja2.Environment(
        loader=jinja2.FileSystemLoader(HERE),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    known = {one.id for one in read_deviations()}
    found.filters |= {
        "prose": lambda text: prose(text, known),
        "tone": report_view.TONES.__getitem__,
        "words": words,
        "link": _linker(path),
    }
    return found


def content(scale: str, experiments: Sequence[str]) -> dict[str, Any]:
    """Everything that the template shows."""
    records = report_view.load_records(scale, experiments)
    claims = report_view.claims(scale)
    tables = report_view.table_views(scale, experiments, records)
    figures = report_view.figure_views(scale, experiments)
    return {
        "style": Markup((HERE / "style.css").read_text(encoding="utf-8")),  # noqa: S704
        "scale": scale,
        "settings": scale_file(scale),
        "published_scale": published_scale(),
        "head": report_view.head(records),
        "claims": claims,
        "claim_counts": report_view.counted(c["verdict"] for _, group in claims for c in group),
        "cell_counts": _sum(table.counts for table in tables),
        "rules": RULES,
        "tables": tables,
        "figures": {kind: [one for one in figures if one.settings.inputs == kind]
                    for kind in ("episodes", "attention", "curves")},
        "cards": report_view.dataset_cards(scale, experiments),
        "deviations": read_deviations(),
        "cost": report_view.cost_rows(records),
        "provenance": run_records.provenance(records),
        "packages": run_records.packages(records),
        "paths": {"claims": paths.claims(scale), "report": paths.report(scale)},
    }  # fmt: skip


def prose(text: str, deviations: set[str]) -> Markup:
    """A sentence of ours as HTML: escaped, with `code` in backticks, and D7 linked to its entry."""
    told = _CODE.sub(r"<code>\1</code>", str(escape(text)))
    return Markup(_DEVIATION.sub(lambda found: _entry(found[1], deviations), told))  # noqa: S704


def _entry(name: str, deviations: set[str]) -> str:
    return f'<a href="#{name}">{name}</a>' if name in deviations else name


def _sum(counts: Any) -> list[tuple[str, int]]:
    return report_view.counted(word for some in counts for word, n in some for _ in range(n))


def _linker(path: Path) -> Callable[[object], str]:
    """A path of the project as seen from the report's folder."""
    return lambda target: Path(os.path.relpath(str(target), path.parent)).as_posix()
