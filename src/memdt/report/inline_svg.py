"""Put a figure into the page: the same drawing, without what an SVG file of its own needs.

Only elements that draw are taken over, without handlers and without addresses outside of the file:
whoever can edit a figure cannot run anything in the page.

Between `figures/drawing.py` and `report/render.py`. Colours of `figures/parts/style.py` become
CSS variables, so that one drawing suits light and dark pages; ids get the figure's name in front,
since all figures of a page share one space of ids.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from xml.etree import ElementTree
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
_DRAW = {
    "g", "use", "path", "text", "tspan", "defs", "clipPath", "rect", "circle", "ellipse", "line",
    "polyline", "polygon", "image", "linearGradient", "radialGradient", "stop", "pattern", "marker",
    "mask", "symbol", "title", "desc",
}  # fmt: skip
POINTS = 72  # an inch of matplotlib
_SVG, _XLINK = "http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"
_HREF = re.compile(r"#|data:image/(?:png|jpeg|gif|webp);base64,")
# Backslashes are refused because CSS reads an escaped letter as the letter: \75rl( is url(.
_OUTSIDE = re.compile(r"url\(\s*[\"']?(?!#)|javascript:|expression\(|@import|\\", re.IGNORECASE)
_VIEW_BOX = re.compile(r'viewBox="(?P<box>[-\d. ]+)"')


@dataclass(frozen=True)
class Drawing:
    """An SVG element ready for the page, and whether it is too wide to shrink to a phone."""

    markup: Markup
    wide: bool


def inline(svg: str, name: str, title: str) -> Drawing:
    """An SVG file of matplotlib as an element of a page.

    Args:
        svg: the file's text.
        name: of the figure; put before every id.
        title: what a screen reader says.

    Raises:
        UserError: if the text is no whole SVG drawing.
    """
    opening = _OPENING.search(svg)
    box = _VIEW_BOX.search(opening.group()) if opening else None
    if opening is None or box is None or not svg.rstrip().endswith("</svg>"):
        raise UserError("not an SVG drawing", f"figure {name}", "draw it anew with snakemake")
    body = _cleaned(_DROPPED.sub("", svg[opening.end() :]), name)
    body = _COLOUR.sub(lambda match: PAGE_COLOURS[match.group()], body)
    body = _with_prefix(body, f"{name}-")
    label = quoteattr(title)
    head = (
        f'<svg viewBox="{box["box"]}" role="img" aria-label={label}><title>{escape(title)}</title>'
    )
    width = float(box["box"].split()[2])
    return Drawing(Markup(head + body), wide=width > POINTS * style.NARROW)  # noqa: S704


def _cleaned(body: str, name: str) -> str:
    """What follows the opening tag, with nothing in it but drawing."""
    opening = f'<svg xmlns="{_SVG}" xmlns:xlink="{_XLINK}">'
    try:
        root = ElementTree.fromstring(opening + body)  # noqa: S314 - no document type, no entities
    except ElementTree.ParseError:
        what = "not an SVG drawing"
        raise UserError(what, f"figure {name}", "draw it anew with snakemake") from None
    _clean(root)
    text = root.text or ""
    parts = [ElementTree.tostring(child, encoding="unicode") for child in root]
    return escape(text) + "".join(parts) + "</svg>\n"


def _clean(element: ElementTree.Element) -> None:
    """Drop, below an element, what does not draw; tags and attributes lose their namespaces."""
    for child in list(element):
        tag = child.tag.removeprefix(f"{{{_SVG}}}") if isinstance(child.tag, str) else ""
        if tag not in _DRAW:
            element.remove(child)
            continue
        child.tag = tag
        kept = {key.removeprefix(f"{{{_XLINK}}}"): value for key, value in child.attrib.items()}
        child.attrib = {key: value for key, value in kept.items() if _harmless(key, value)}
        _clean(child)


def _harmless(key: str, value: str) -> bool:
    if key == "href":
        return _HREF.match(value) is not None
    return not key.lower().startswith(("on", "{")) and not _OUTSIDE.search(value)


def _with_prefix(svg: str, prefix: str) -> str:
    """All ids of an SVG, and what points to them, with a prefix."""
    for before in (' id="', ' href="#', "url(#"):
        svg = svg.replace(before, before + prefix)
    return svg
