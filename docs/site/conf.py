"""Sphinx's settings for `make site`: the pages, the results, the reports and the code's reference.

The repository's root is the source folder, so that links between README, docs and files work as
they do on a forge, and Sphinx checks each of them.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import cast

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.transforms import SphinxTransform

HERE = Path(__file__).parent
ROOT = HERE.parents[1]

project = "memdt"
author = "memdt authors"
extensions = [
    "myst_parser",
    "sphinx.ext.apidoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
]

root_doc = "README"
include_patterns = [
    "*.md",
    "benchmarks/README.md",
    "data/published/README.md",
    "docs/**.md",
    "docs/reference/*.rst",
    "envs/README.md",
    "examples/**.md",
]
exclude_patterns = [
    ".*",
    "build",
    "data/[!p]*",
    "docs/reference/modules.rst",
    "docs/site",
    "site",
]
myst_heading_anchors = 4

html_theme = "furo"
html_title = "memdt"
html_static_path = ["static"]
html_css_files = ["memdt.css"]
html_additional_pages = {"index": "to_start.html"}
templates_path = ["templates"]
html_copy_source = False

# The docstrings name code between single backticks.
default_role = "code"
# A field that has the name of a builtin type makes the type's name in other signatures ambiguous.
suppress_warnings = ["ref.python"]
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
apidoc_modules = [
    {
        "path": str(ROOT / "src" / "memdt"),
        "destination": "docs/reference",
        "exclude_patterns": ["**/__main__.py"],
        "max_depth": 2,
    }
]

PICTURE = re.compile(
    r'<picture><source media="\(prefers-color-scheme: dark\)" srcset="(?P<dark>[^"]+)">'
    r'<img src="(?P<light>[^"]+)" alt="(?P<text>[^"]*)"></picture>'
)


class PicturesToImages(SphinxTransform):
    """Replaces a light and dark `<picture>` by two images, which Sphinx checks and copies."""

    default_priority = 100  # before Sphinx collects images

    def apply(self) -> None:
        """Search the page's paragraphs: a picture of one line is HTML inside of one."""
        for paragraph in list(self.document.findall(nodes.paragraph)):
            if picture := PICTURE.fullmatch(paragraph.astext().strip()):
                paragraph.replace_self(
                    [
                        nodes.image(
                            uri=picture[tone], alt=picture["text"], classes=[f"only-{tone}"]
                        )
                        for tone in ("light", "dark")
                    ]
                )


def add_contents(_app: Sphinx, docname: str, source: list[str]) -> None:
    """Append links to the reports and the table of contents to the first page."""
    if docname == root_doc:
        source[0] += "".join(
            f'\n- <a href="{path}">Report of scale {path.parent.name}</a>' for path in reports()
        )
        source[0] += "\n\n" + (HERE / "contents.md").read_text(encoding="utf-8")


def reports() -> list[Path]:
    """The finished reports, as paths from the root."""
    return [path.relative_to(ROOT) for path in sorted(ROOT.glob("reports/*/report.html"))]


def copy_reports(app: Sphinx, error: Exception | None) -> None:
    """Copy each finished report to where it lies in the project."""
    for report in reports() if error is None else ():
        target = Path(app.outdir) / report
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / report, target)


def indented_to_literal(
    _app: Sphinx, what: str, _name: str, _object: object, *rest: object
) -> None:
    """Keep the layout of formulas and sketches, which modules' docstrings indent without `::`."""
    lines = cast("list[str]", rest[-1])
    if what != "module":  # elsewhere indented lines are the sections Args, Returns and Raises
        return
    text, literal, in_list = [], False, False
    for line in lines:
        if line and literal != (line.startswith(" ") and not in_list):
            literal = not literal
            text += ["", "::", ""] if literal else [""]
        if line and not line.startswith(" "):
            in_list = line.startswith(("- ", "* ")) or line[0].isdigit()
        text.append(line)
    lines[:] = text


def setup(app: Sphinx) -> None:
    """Register the steps above."""
    app.add_transform(PicturesToImages)
    app.connect("source-read", add_contents)
    app.connect("autodoc-process-docstring", indented_to_literal)
    app.connect("build-finished", copy_reports)
