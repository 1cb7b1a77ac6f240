"""Still pictures: an SVG of ours as a PNG, the same bytes on every machine."""

from importlib.util import find_spec
from pathlib import Path
from xml.etree import ElementTree

import resvg_py

from mqlab.views.palette import LIGHT, still_css

ZOOM = 2  # pixels of the PNG for one unit of the picture: sharp on dense screens
_MARGIN = 12
_SVG = "http://www.w3.org/2000/svg"


def png(picture: str) -> tuple[bytes, int]:
    """Return the SVG `picture` on a white card as a PNG, and the width in CSS pixels at which it is to be shown."""
    ElementTree.register_namespace("", _SVG)
    root = ElementTree.fromstring(picture)
    left, top, width, height = (float(number) for number in root.attrib["viewBox"].split())
    left, top, width, height = left - _MARGIN, top - _MARGIN, width + 2 * _MARGIN, height + 2 * _MARGIN
    root.set("viewBox", f"{left:g} {top:g} {width:g} {height:g}")
    card = {"x": left, "y": top, "width": width, "height": height, "rx": _MARGIN}
    paper = {name: f"{value:g}" for name, value in card.items()} | {"fill": LIGHT["paper"]}
    root.insert(0, ElementTree.Element(f"{{{_SVG}}}rect", paper))
    image = resvg_py.svg_to_bytes(
        svg_string=ElementTree.tostring(root, encoding="unicode"),
        style_sheet=still_css(),
        zoom=ZOOM,
        skip_system_fonts=True,
        font_files=_fonts(),
    )
    return bytes(image), round(width)


def _fonts() -> list[str]:
    """Return the files of DejaVu Sans that matplotlib brings along; importing matplotlib itself would take a second."""
    spec = find_spec("matplotlib")
    assert spec and spec.origin, "matplotlib is among the requirements"
    folder = Path(spec.origin).parent / "mpl-data" / "fonts" / "ttf"
    return [str(folder / name) for name in ("DejaVuSans.ttf", "DejaVuSans-Bold.ttf")]
