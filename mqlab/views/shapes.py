"""The parts that every view is drawn of: texts, boxes, arrows and the tokens that stand for messages."""

from __future__ import annotations

from html import escape
from math import cos, pi, sin

import svg

from mqlab.state import Message
from mqlab.views.palette import LOOKS

SIZE = 44  # width and height of a token, in the picture's units


def plain(words: str, quote: bool = True) -> str:
    """Return words as XML may have them; what cannot be printed is replaced."""
    return escape("".join(each if each.isprintable() else "�" for each in words), quote)


def canvas(width: float, height: float, words: str, elements: list[svg.Element], top: float = 0) -> str:
    """Return a whole picture as SVG; `words` say to those who cannot see it what it shows."""
    return str(
        svg.SVG(
            viewBox=svg.ViewBoxSpec(0, top, width, height),
            class_=["mq-picture"],
            extra={"role": "img", "aria-label": plain(words)},
            elements=elements,
        )
    )


def text(x: float, y: float, words: str, kind: str = "") -> svg.Text:
    """Return a text; `kind` holds the classes that make it soft, bold, centred or right-aligned."""
    return svg.Text(x=x, y=y, text=plain(words, quote=False), class_=["mq-text", *kind.split()])


def box(x: float, y: float, width: float, height: float, kind: str = "mq-box") -> svg.Rect:
    """Return a box with round corners."""
    return svg.Rect(x=x, y=y, width=width, height=height, rx=8, class_=[kind])


def arrow(x: float, y: float, to_x: float, to_y: float) -> list[svg.Element]:
    """Return a way from one point to another, with its tip at the end; it leaves and arrives horizontally."""
    middle = (x + to_x) / 2
    line = svg.Path(
        d=[svg.M(x, y), svg.C(middle, y, middle, to_y, to_x - 7, to_y)],
        class_=["mq-way"],
    )
    tip = [svg.Point(to_x, to_y), svg.Point(to_x - 8, to_y - 5), svg.Point(to_x - 8, to_y + 5)]
    return [line, svg.Polygon(points=tip, class_=["mq-tip"])]


def at(x: float, y: float) -> list[svg.Transform]:
    """Return the transform that puts a group at (x, y)."""
    return [svg.Translate(round(x, 1), round(y, 1))]


def clickable(action: str, label: str, stay: bool = False) -> dict[str, str]:
    """Return the attributes that make an element a button whose `action` comes back to Python.

    With `stay` it only changes the view, at the moment that is shown; else something happens, and the newest is shown.
    """
    return ({"data-stay": ""} if stay else {}) | {
        "data-click": plain(action),
        "role": "button",
        "tabindex": "0",
        "aria-label": plain(label),
    }


def cut(words: str, most: int) -> str:
    """Return the words, cut to `most` characters where they are longer."""
    return words if len(words) <= most else words[: most - 1] + "…"


def label(x: float, y: float, words: str, most: int, kind: str = "") -> svg.Element:
    """Return a text of at most so many characters; what is cut can be read by pointing at it."""
    short = text(x, y, cut(words, most), kind)
    if len(words) <= most:
        return short
    return svg.G(elements=[svg.Title(text=plain(words, quote=False)), short])


def token(
    message: Message, x: float, y: float, came_from: tuple[float, float] | None = None, scale: float = 1
) -> svg.G:
    """Return the token of a message with its centre at (x, y); a new one starts its way at `came_from`.

    It has a broken outline where it is not seen but worked out that the message is there.
    """
    look = LOOKS[message.state]
    label = cut(message.label, 5)
    extra = {"data-from": f"{came_from[0]:g},{came_from[1]:g}"} if came_from else {}
    drawing: list[svg.Element] = [
        outline(look.shape),
        svg.Text(x=0, y=2 if look.badge else 5, text=plain(label, quote=False), class_=["mq-label"]),
        *([svg.Text(x=0, y=15, text=look.badge, class_=["mq-badge"])] if look.badge else []),
    ]
    if scale != 1:
        drawing = [svg.G(transform=[svg.Scale(scale)], elements=drawing)]
    kinds = ["mq-small"] if len(label) > 3 else []
    kinds += ["mq-inferred"] if message.seen == "inferred" else []
    return svg.G(
        class_=["mq-token", f"mq-{message.state}", *kinds],
        data={"key": plain(f"m:{message.id}")},
        transform=at(x, y),
        extra=extra,
        elements=[_title(message), *drawing],
    )


def _title(message: Message) -> svg.Title:
    words = f"{message.label}: {message.state}"
    if message.holder:
        words += f", {message.holder}"
    if message.seen == "inferred":
        words += ", worked out and not seen"
    if message.deliveries > 1:
        words += f", delivered {message.deliveries} times"
    return svg.Title(text=plain(words, quote=False))


def outline(shape: str) -> svg.Element:
    """Return the outline of a token round (0, 0)."""
    half = SIZE / 2 - 1
    if shape == "circle":
        return svg.Circle(r=half, class_=["mq-shape"])
    if shape == "square":
        return svg.Rect(x=-half, y=-half, width=2 * half, height=2 * half, rx=7, class_=["mq-shape"])
    corners, turn = {
        "diamond": (4, 0.0),
        "triangle": (3, 1.0),
        "pentagon": (5, 0.0),
        "hexagon": (6, 0.5),
        "octagon": (8, 0.5),
    }[shape]
    angles = [2 * pi * (n + turn / 2 + turn % 1 / 2) / corners for n in range(corners)]
    points = [svg.Point(round(half * 1.08 * sin(a), 1), round(-half * 1.08 * cos(a), 1)) for a in angles]
    return svg.Polygon(points=points, class_=["mq-shape"])
