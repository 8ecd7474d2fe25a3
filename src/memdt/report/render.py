"""Write the report: one HTML file that opens anywhere, offline, and needs no script.

Last step of the flow. It only reads what the steps before have written (tables, claims, figures,
manifests, datasets, docs/deviations.md); `report_view.py` turns that into values, the template
`report.html.jinja` into a page. The same results give the same bytes: what was measured, and so
differs from run to run, goes to a page of its own, ``cost.html``.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd
from markupsafe import Markup, escape

from memdt import paths
from memdt.figures.parts.style import words
from memdt.files import write_text
from memdt.report import cost, job_manifests, report_view
from memdt.report.deviations import read_deviations
from memdt.report.scale_comparison import published_scale
from memdt.report.scoreboard import STATES
from memdt.results.published import published_cells, waiting
from memdt.results.verdicts import RULES
from memdt.settings.files import scale_file

HERE = Path(__file__).parent
_CODE = re.compile(r"`([^`]+)`")
_DEVIATION = re.compile(r"\b(D\d+)\b")


def render(scale: str, experiments: Sequence[str], out: Path | None = None) -> Path:
    """Write the report of a scale about some experiments, cost.html beside it; returns its path.

    Experiments and figures that are configured but not asked for are listed as not run.

    Args:
        scale: a file under workflow/config/scales.
        experiments: files under workflow/config/experiments, in the order of the report.
        out: the page's file; reports/{scale}/report.html if not given.

    Raises:
        UserError: for a damaged input: a dataset, a figure, a manifest or docs/deviations.md.
    """
    path = out or paths.report(scale)
    records = report_view.load_records(scale, experiments)
    pages = environment(path)
    frame = _frame(scale, path)
    page = pages.get_template("cost.html.jinja").render(frame | cost.content(records))
    write_text(frame["paths"]["cost"], page.rstrip() + "\n")
    page = pages.get_template("report.html.jinja").render(
        frame | content(scale, experiments, records)
    )
    write_text(path, page.rstrip() + "\n")
    return path


def environment(path: Path) -> jinja2.Environment:
    """The template's environment: everything is escaped, and a misspelt name is an error.

    ``path`` is the page's file, from whose folder links start.
    """
    templates = jinja2.Environment(
        loader=jinja2.FileSystemLoader(HERE),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    known = {one.id for one in read_deviations()}
    templates.filters |= {
        "prose": lambda text: prose(text, known),
        "tone": report_view.TONES.__getitem__,
        "mark": lambda word: report_view.MARKS.get(word, report_view.UNDECIDED_MARK),
        "words": words,
        "link": lambda target: Path(os.path.relpath(str(target), path.parent)).as_posix(),
    }
    return templates


def _frame(scale: str, path: Path) -> dict[str, Any]:
    """What both pages show."""
    return {
        "style": _asset("style.css"),
        "script": _asset("copy.js"),
        "scale": scale,
        "settings": scale_file(scale),
        "paths": {
            "claims": paths.claims(scale),
            "target": paths.report(scale),
            "report": path,
            "cost": path.with_name("cost.html"),
            "metrics": metrics if (metrics := paths.metrics(scale)).is_file() else None,
        },
    }


def _asset(name: str) -> Markup:
    """A file of this project that goes into the page as it is."""
    return Markup((HERE / name).read_text(encoding="utf-8"))  # noqa: S704


def content(scale: str, experiments: Sequence[str], records: pd.DataFrame) -> dict[str, Any]:
    """Everything that the report shows beside its frame, under the template's names.

    ``records`` are the manifests, a row a job (`report_view.load_records`).
    """
    claims = report_view.claims(scale)
    tables = report_view.table_views(scale, experiments, records)
    figures = report_view.figure_views(scale, experiments)
    return {
        "published_scale": published_scale(),
        "claims": claims,
        "cell_counts": report_view.counted(
            word for table in tables for word, n in table.counts for _ in range(n)
        ),
        "cells_of_sentences": sum(table.of_sentences for table in tables),
        "waiting_numbers": waiting(published_cells()),
        "rules": RULES,
        "states": STATES,
        "tables": tables,
        "headlines": [one for one in figures if one.headline],
        "figures": {kind: [one for one in figures
                           if one.settings.inputs == kind and not one.headline]
                    for kind in ("episodes", "recordings", "attention", "curves")},
        "cards": report_view.dataset_cards(scale, experiments),
        "deviations": read_deviations(),
        "training": report_view.training_rows(records),
        "provenance": job_manifests.provenance(records),
        "packages": job_manifests.packages(records),
    }  # fmt: skip


def prose(text: str, deviations: set[str]) -> Markup:
    """A sentence of ours as HTML: escaped, with `code` in backticks, and D7 linked to its entry.

    ``deviations`` are the ids that have an entry; others stay plain text.
    """
    html = _CODE.sub(r"<code>\1</code>", str(escape(text)))

    def linked(match: re.Match[str]) -> str:
        name = match[1]
        return f'<a href="#{name}">{name}</a>' if name in deviations else name

    return Markup(_DEVIATION.sub(linked, html))  # noqa: S704
