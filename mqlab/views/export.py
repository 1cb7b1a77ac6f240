"""A picture as a file that stands alone: SVG with its colours inside, for both themes."""

from __future__ import annotations

from xml.etree import ElementTree

from mqlab.views import palette

SVG = "http://www.w3.org/2000/svg"
NOT_FOR_FILES = ("data-", "aria-", "tabindex", "role")  # what makes elements buttons, and moves them, in the page
MARGIN = 12
WIDTH = 1000  # CSS pixels at which it is shown, if nothing else is said


def parse(picture: str) -> ElementTree.Element:
    """Return the picture's root; raises xml.etree.ElementTree.ParseError."""
    ElementTree.register_namespace("", SVG)
    return ElementTree.fromstring(picture)


def viewbox(root: ElementTree.Element) -> tuple[float, float, float, float]:
    """Return left, top, width and height of a picture, in its own units."""
    left, top, width, height = map(float, root.attrib["viewBox"].split())
    return left, top, width, height


def strip(element: ElementTree.Element) -> None:
    """Take from an element, and all in it, what only the page needs."""
    for each in element.iter():
        for name in [name for name in each.attrib if name.startswith(NOT_FOR_FILES)]:
            del each.attrib[name]


def markup(element: ElementTree.Element) -> str:
    """Return an element as text, without the namespace that its root has."""
    text = ElementTree.tostring(element, encoding="unicode", short_empty_elements=True)
    return text.replace(f' xmlns="{SVG}"', "")


def frame(box: tuple[float, float, float, float], title: str, inside: str, style: str = "") -> str:
    """Return a whole SVG file: `inside` on a card of the paper's colour, `box` its left, top, width and height."""
    left, top, width, height = box[0] - MARGIN, box[1] - MARGIN, box[2] + 2 * MARGIN, box[3] + 2 * MARGIN
    card = f'<rect x="{left:g}" y="{top:g}" width="{width:g}" height="{height:g}" rx="{MARGIN}" class="mq-card"/>'
    return (
        f'<svg xmlns="{SVG}" viewBox="{left:g} {top:g} {width:g} {height:g}" width="{WIDTH}" '
        f'height="{WIDTH * height / width:.0f}" role="img">'
        f"<title>{title}</title><style>{palette.file_css()}{style}</style>{card}{inside}</svg>\n"
    )


def svg_file(picture: str, title: str = "A picture of MQ Lab") -> str:
    """Return a picture of ours as the text of an SVG file, in the light or the dark theme as its reader prefers."""
    root = parse(picture)
    strip(root)
    inside = "".join(markup(child) for child in root)
    return frame(viewbox(root), title, inside)
