"""`make site`: every link leads somewhere, and no page loads anything from the network."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

ROOT = Path(__file__).parents[2]
REPORT = "reports/made_up/report.html"
LOADS = {"img", "script", "link", "source", "iframe", "audio", "video", "object", "embed"}
# The pages by themselves are written in seconds: no module is imported.
PAGES_ONLY = (
    "-D",
    "extensions=myst_parser,sphinx.ext.autodoc",
    "-D",
    "suppress_warnings=toc.not_readable",
)


class Addresses(HTMLParser):
    """What a page loads, and where its links lead."""

    def __init__(self) -> None:
        super().__init__()
        self.loaded: set[str] = set()
        self.linked: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        named = {value for name, value in attrs if name in ("src", "href", "srcset") and value}
        (self.loaded if tag in LOADS else self.linked).update(named)


def build(project: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Write the site of a project, with every warning an error."""
    command = ["--builder", "html", "--fail-on-warning", "--quiet", "--conf-dir", "docs/site"]
    return subprocess.run(
        [sys.executable, "-m", "sphinx", *command, *options, ".", "site"],
        cwd=project, capture_output=True, text=True, check=False,
    )  # fmt: skip


def copy_of_the_project(folder: Path) -> Path:
    """What the site is made of, with a report."""
    for part in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "benchmarks", "data/published",
                 "docs", "envs", "examples", "src"):  # fmt: skip
        source, target = ROOT / part, folder / part
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("reference", "*.pyc"))
        elif source.is_file():
            shutil.copyfile(source, target)
    (folder / REPORT).parent.mkdir(parents=True)
    (folder / REPORT).write_text("<title>report</title>", encoding="utf-8")
    return folder


def addresses(page: Path) -> Addresses:
    parser = Addresses()
    parser.feed(page.read_text(encoding="utf-8"))
    return parser


def loads_from_the_network(site: Path) -> list[str]:
    """Addresses of other machines that a page or a style sheet would load."""
    loads = [
        f"{page.relative_to(site)}: {address}"
        for page in site.rglob("*.html")
        for address in addresses(page).loaded
        if urlsplit(address).netloc
    ]
    for sheet in site.rglob("*.css"):
        text = sheet.read_text(encoding="utf-8")
        loads += re.findall(r"url\(\s*['\"]?(?:https?:)?//[^)]*|@import[^;]*//[^;]*", text)
    return loads


def dead_links(site: Path) -> list[str]:
    """Links and loads of files that are not there."""
    return [
        f"{page.relative_to(site)}: {address}"
        for page in site.rglob("*.html")
        for address in addresses(page).loaded | addresses(page).linked
        if not (parts := urlsplit(address)).scheme
        and not parts.netloc
        and parts.path
        and not (page.parent / unquote(parts.path)).exists()
    ]


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    project = copy_of_the_project(tmp_path_factory.mktemp("project"))
    built = build(project, *PAGES_ONLY)
    assert built.returncode == 0, built.stderr
    return project / "site"


def test_no_page_loads_anything_from_the_network(pages: Path) -> None:
    assert loads_from_the_network(pages) == []


def test_no_link_of_the_pages_is_dead(pages: Path) -> None:
    assert dead_links(pages) == []


def test_the_site_holds_readme_results_published_numbers_and_reports(pages: Path) -> None:
    assert "<title>memdt" in (pages / "README.html").read_text(encoding="utf-8")
    assert (pages / "docs/results/README.html").is_file()
    assert (pages / "data/published/README.html").is_file()
    assert REPORT in addresses(pages / "README.html").linked
    assert (pages / REPORT).read_text(encoding="utf-8") == "<title>report</title>"


def test_figures_come_light_and_dark(pages: Path) -> None:
    page = (pages / "README.html").read_text(encoding="utf-8")
    assert "only-light" in page
    assert "only-dark" in page


def test_a_link_to_a_missing_page_fails(tmp_path: Path) -> None:
    project = copy_of_the_project(tmp_path)
    page = project / "docs" / "glossary.md"
    page.write_text(page.read_text(encoding="utf-8") + "\n[gone](gone.md)\n", encoding="utf-8")
    built = build(project, *PAGES_ONLY)
    assert built.returncode != 0
    assert "gone.md" in built.stderr


def test_a_load_from_the_network_and_a_dead_link_are_noticed(tmp_path: Path) -> None:
    page = '<script src="//cdn.example.org/a.js"></script><a href="gone.html#part">gone</a>'
    (tmp_path / "page.html").write_text(page, encoding="utf-8")
    assert loads_from_the_network(tmp_path) == ["page.html: //cdn.example.org/a.js"]
    assert dead_links(tmp_path) == ["page.html: gone.html#part"]


@pytest.mark.slow
def test_the_whole_site_with_the_reference_has_no_warning(tmp_path: Path) -> None:
    project = copy_of_the_project(tmp_path)
    built = build(project)
    assert built.returncode == 0, built.stderr
    assert (project / "site/docs/reference/memdt.models.html").is_file()
    assert loads_from_the_network(project / "site") == []
    assert dead_links(project / "site") == []
