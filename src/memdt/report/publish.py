"""Write the results pages of docs/results and the README's table from a finished report.

Between what a report is made of and the pages that are committed. One page for each paper and
environment, its figures beside it in light and dark; `record.json` holds the digest of everything
written, so that a test can tell a page that was edited by hand. A report that covers some
experiments replaces the pages of their environments and leaves the others as they were.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd

from memdt import paths
from memdt.errors import UserError
from memdt.figures.parts import style
from memdt.files import sha256, write_text
from memdt.report import report_view
from memdt.report.cost import newest_commit, with_measured
from memdt.report.report_view import FigureView, TableView
from memdt.report.scoreboard import OURS, PAPERS, classified
from memdt.results.claims import read_claims
from memdt.settings.files import scale_file
from memdt.settings.layers import environment_title
from memdt.settings.pages import findings

FOLDER = Path("docs/results")
RECORD = FOLDER / "record.json"
README = Path("README.md")
START, END = "<!-- results: written by memdt publish -->", "<!-- end of results -->"
_DARK = re.compile("|".join(style.DARK))
_LEGEND = ("reproduced", "most seeds agree", "not distinguished", "higher", "lower")


@dataclass(frozen=True)
class PageName:
    """Which page an experiment belongs to."""

    paper: str
    environment: str

    @property
    def title(self) -> str:
        """As a heading."""
        return f"{self.paper} on {self.environment}"

    @property
    def path(self) -> Path:
        """The page's file."""
        words = re.sub(r"[^a-z0-9]+", "-", self.title.lower().replace(" on ", " "))
        return FOLDER / f"{words}.md"


def publish(scale: str, experiments: Sequence[str]) -> list[Path]:
    """Write the pages of the experiments that have run; returns their paths.

    Raises UserError where the report is missing, or no experiment of it has a table.
    """
    if not paths.report(scale).is_file():
        raise UserError("there is no report", str(paths.report(scale)), "make reproduce")
    records = report_view.load_records(scale, experiments)
    tables = [one for one in report_view.table_views(scale, experiments, records) if one.blocks]
    if not tables:
        raise UserError("no experiment of it has run", str(paths.report(scale)), "make reproduce")
    frame = classified(read_claims(paths.claims(scale)))
    figures = [one for one in report_view.figure_views(scale, experiments) if one.drawing]
    record = _read_record()  # holds the pages of other environments too, which stay
    pages = _pages(tables)
    for name, some in pages.items():
        page = _Page(name, scale, some, figures, frame, with_measured(records))
        record["pages"][name.path.stem] = page.write()
    _write_index(record)
    write_text(README, _with_block(README.read_text(encoding="utf-8"), _readme_block(record)))
    record["readme"] = _digest(_readme_block(record))
    write_text(RECORD, json.dumps(record, indent=1, sort_keys=True) + "\n")
    return [name.path for name in pages]


def check() -> None:
    """UserError that names the first page, figure or block that is not what was published."""
    record = _read_record()
    for page in record["pages"].values():
        for name, digest in page["files"].items():
            path = FOLDER / name
            if not path.is_file() or sha256(path) != digest:
                raise UserError("not what was published", str(path), "memdt publish")
    block = _block(README.read_text(encoding="utf-8"))
    if record["pages"] and _digest(block) != record["readme"]:
        raise UserError("its results are not what was published", str(README), "memdt publish")


def _pages(tables: Sequence[TableView]) -> dict[PageName, list[TableView]]:
    """The tables by page; an experiment that answers no paper goes with its environment's."""
    titles = {one.name: environment_title(one.settings.environment) for one in tables}
    papers = {
        titles[one.name]: PAPERS.get(one.settings.answers.paper, one.settings.answers.paper)
        for one in reversed(tables)
        if one.settings.answers
    }
    pages: dict[PageName, list[TableView]] = {}
    for one in tables:
        title = titles[one.name]
        pages.setdefault(PageName(papers.get(title, OURS), title), []).append(one)
    return pages


@dataclass(frozen=True)
class _Page:
    name: PageName
    scale: str
    tables: list[TableView]
    figures: list[FigureView]
    claims: pd.DataFrame
    records: pd.DataFrame

    def write(self) -> dict[str, Any]:
        """Write page and figures; returns what the record keeps of them."""
        names = {one.name for one in self.tables}
        figures = [one for one in self.figures if set(one.settings.experiments) <= names]
        claims = self.claims[self.claims["environment"] == self.name.environment]
        run = claims[~claims["state"].isin(["waits", "unbuilt"])]
        about = self._about(names)
        text = _template().render(
            about,
            title=self.name.title,
            paper=self.name.paper,
            tables=self.tables,
            figures=figures,
            claims=run.to_dict("records"),
            waiting=len(claims) - len(run),
            legend=", ".join(f"{_mark(word)} {word}" for word in _LEGEND),
            picture=_picture,
        )
        write_text(self.name.path, _tidy(text))
        files = [self.name.path, *(path for one in figures for path in _write_figure(one))]
        return {
            **about,
            "title": self.name.title,
            "headline": [one.name for one in figures if one.headline],
            "counts": {word: int(n) for word, n in run["state"].value_counts().items()},
            "findings": _findings(run),
            "report": sha256(paths.report(self.scale)),
            "files": {path.relative_to(FOLDER).as_posix(): sha256(path) for path in files},
        }

    def _about(self, names: set[str]) -> dict[str, Any]:
        mine = self.records[self.records["experiment"].isin(names)]
        commit, day = newest_commit(mine["git_commit"].dropna().unique())
        settings = scale_file(self.scale)
        # Of the cells: settings may ask for other seeds than the tables were made from.
        rows = (row for one in self.tables for block in one.blocks for _, row in block.rows)
        cells = (cell for row in rows for cell in row if cell)
        seeds = sorted({int(run.seed) for cell in cells for run in cell.seeds})
        return {
            "scale": self.scale,
            "scale_title": settings.title,
            "reduced": settings.reduced,
            "seeds": _ranges(seeds),
            "commit": commit or "unknown",
            "date": day or "unknown",
        }


def _findings(claims: pd.DataFrame) -> list[dict[str, str]]:
    """The lines of the README's table that these claims decide, in the order of the file."""
    decided = claims.set_index("id")
    return [
        {
            "claim": one.claim,
            "says": one.says,
            "verdict": str(decided.loc[one.claim, "verdict"]),
            "seeds": str(decided.loc[one.claim, "seeds"]),
        }
        for one in findings()
        if one.claim in decided.index
    ]


def _readme_block(record: dict[str, Any]) -> str:
    """What stands between the marks of the README: one figure and the table of findings."""
    order = [one.claim for one in findings()]
    rows = [
        (order.index(one["claim"]), one, stem, page)
        for stem, page in record["pages"].items()
        for one in page["findings"]
        if one["claim"] in order
    ]
    rows.sort(key=lambda row: row[0])
    lines = ["| finding | here | evidence |", "|---|---|---|"]
    for _, one, stem, page in rows:
        verdict = f"{_mark(one['verdict'])} {one['verdict']}, {one['seeds']} seeds"
        lines.append(f"| {one['says']} | {verdict} | [{page['title']}](docs/results/{stem}.md) |")
    # The figure of the first finding's page: more pages do not push it off the README.
    headline = next((name for _, _, _, page in rows for name in page["headline"]), None)
    scales = sorted({page["scale"] for page in record["pages"].values() if page["reduced"]})
    label = f"All at the reduced scale `{'`, `'.join(scales)}`. " if scales else ""
    figure = f"{_sources(headline, 'docs/results/figures')}\n\n" if headline else ""
    about = "A finding is a claim, true or not. The verdict is what runs here say of it."
    return f"{figure}{label}{about}\n\n" + "\n".join(lines)


def _write_index(record: dict[str, Any]) -> None:
    lines = [
        "# Results", "", "Written by `memdt publish` from finished reports.", "",
        "| page | scale | seeds | holds | does not hold | undecided | commit | date |",
        "|---|---|---|---|---|---|---|---|",
    ]  # fmt: skip
    for stem, page in sorted(record["pages"].items()):
        counts = " | ".join(str(page["counts"].get(n, 0)) for n in ("holds", "fails", "undecided"))
        lines.append(
            f"| [{page['title']}]({stem}.md) | `{page['scale']}` | {page['seeds']} | {counts} "
            f"| `{page['commit'][:10]}` | {page['date']} |"
        )
    write_text(FOLDER / "README.md", "\n".join(lines) + "\n")


def _write_figure(figure: FigureView) -> list[Path]:
    """The drawing for light and for dark pages, beside the pages."""
    light = figure.path.read_text(encoding="utf-8")
    dark = _DARK.sub(lambda match: style.DARK[match.group()], light)
    written = [FOLDER / "figures" / f"{figure.name}{end}.svg" for end in ("", "-dark")]
    for path, text in zip(written, (light, dark), strict=True):
        write_text(path, text)
    return written


def _picture(figure: FigureView) -> str:
    caption = " ".join(_text(figure.settings.caption).split())
    title = _text(figure.settings.title)
    return f"**{title}.** {caption}\n\n{_sources(figure.name, 'figures', title)}"


def _sources(name: str, folder: str, title: str = "") -> str:
    """A figure that follows the reader's theme, as GitHub and browsers show it."""
    alt = (title or name.replace("_", " ")).replace('"', "&quot;")
    return (
        f'<picture><source media="(prefers-color-scheme: dark)" srcset="{folder}/{name}-dark.svg">'
        f'<img src="{folder}/{name}.svg" alt="{alt}"></picture>'
    )


def _template() -> jinja2.Template:
    pages = jinja2.Environment(  # noqa: S701  Markdown; what could break a table is escaped below
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    pages.filters |= {
        "cell": lambda text: _text(text).replace("|", "\\|"),
        "mark": _mark,
        "prose": lambda text: " ".join(_text(text).split()),
        "text": _text,
        "words": style.words,
    }
    return pages.get_template("results_page.md.jinja")


def _text(text: str) -> str:
    """A sentence from a settings file: whatever HTML it holds is shown and not run."""
    return text.replace("&", "&amp;").replace("<", "&lt;")


def _mark(verdict: str) -> str:
    return report_view.MARKS.get(verdict, report_view.UNDECIDED_MARK)


def _tidy(text: str) -> str:
    """At most one blank line in a row, and none inside a table."""
    text = re.sub(r"\n\n(?=\|---|\| (?!\|))", "\n", re.sub(r"\n{3,}", "\n\n", text))
    return re.sub(r"(?m)^(?!\|)(.+)\n(?=\|)", r"\1\n\n", text).strip() + "\n"


def _ranges(numbers: Sequence[int]) -> str:
    """0, 1, 2, 5 as ``0-2, 5``."""
    parts: list[list[int]] = []
    for number in numbers:
        if parts and number == parts[-1][-1] + 1:
            parts[-1].append(number)
        else:
            parts.append([number])
    return ", ".join(f"{p[0]}-{p[-1]}" if len(p) > 1 else str(p[0]) for p in parts)


def _read_record() -> dict[str, Any]:
    if not RECORD.is_file():
        return {"pages": {}, "readme": ""}
    record: dict[str, Any] = json.loads(RECORD.read_text(encoding="utf-8"))
    return record


def _block(readme: str) -> str:
    if START not in readme or END not in readme:
        raise UserError("the marks of its results are missing", str(README), f"put {START} back")
    return readme.partition(START)[2].partition(END)[0].strip()


def _with_block(readme: str, block: str) -> str:
    old = _block(readme)
    return readme.replace(
        f"{START}\n{old}\n{END}" if old else f"{START}\n{END}", f"{START}\n{block}\n{END}"
    )


def _digest(text: str) -> str:
    # Stripped, because editors add and drop blank lines at the end.
    return hashlib.sha256(text.strip().encode()).hexdigest()
