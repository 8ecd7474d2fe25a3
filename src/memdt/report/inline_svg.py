"""Put a figure into the page: the same drawing, without what an SVG file of its own needs.

Between `figures/drawing.py` and `report/render.py`. Colours of `figures/parts/style.py` become
CSS variables, so that one drawing suits light and dark pages; ids get the figure's name in front,
since all figures of a page share one space of ids.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from xml.sax.saxutils import escape, quoteattr

from markupsafe import Markup

from memdt.errors import UserError
from memdt.figures.parts import style

PAGE_COLOURS = {
    style.INK: "currentColor",
    style.PAPER: "var(--card)",
    **{colour: f"var(--series-{n})" for n, colour in enumerate(style.SERIES, start=1)},
}
_COLOUR = re.compile("|".join(PAGE_COLOURS))
_DROPPED = re.compile(r"<metadata>.*?</metadata>|<style\b.*?</style>|<!--.*?-->", re.DOTALL)
_OPENING = re.compile(r"<svg\b[^>]*>")
_VIEW_BOX = re.compile(r'viewBox="(?P<box>[-\d. ]+)"')


@dataclass(frozen=True)
class Drawing:
    """An SVG element ready for the page, and whether it is too wide to shrink to a phone."""

    markup: Markup
    wide: bool


def inline(svg: str, name: str, title: str) -> Drawing:
    """An SVG file of matplotlib as an element of a page; ``title`` is what is read aloud."""
    opening = _OPENING.search(svg)
    box = _VIEW_BOX.search(opening.group()) if opening else None
    if opening is None or box is None or not svg.rstrip().endswith("</svg>"):
        raise UserError("not an SVG drawing", f"figure {name}", "draw it anew with snakemake")
    body = _DROPPED.sub("", svg[opening.end() :])
    body = _COLOUR.sub(lambda match: PAGE_COLOURS[match.group()], body)
    body = _with_prefix(body, f"{name}-").replace("xlink:href", "href")
    label = quoteattr(title)
    head = (
        f'<svg viewBox="{box["box"]}" role="img" aria-label={label}><title>{escape(title)}</title>'
    )
    width = float(box["box"].split()[2])
    return Drawing(Markup(head + body), wide=width > 72 * style.NARROW)  # noqa: S704


def _with_prefix(svg: str, prefix: str) -> str:
    """All ids of an SVG, and what points to them, with a prefix."""
    for before in ('id="', 'xlink:href="#', "url(#"):
        svg = svg.replace(before, before + prefix)
    return svg
