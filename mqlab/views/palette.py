"""The colours, shapes and letters of every view: one source for the page and for still pictures."""

import re
from typing import NamedTuple


class Look(NamedTuple):
    """How a message in some state looks: a colour of the Okabe-Ito palette, a shape, and a badge beside its label."""

    colour: str
    shape: str
    badge: str


LOOKS = {
    "published": Look("#FFFFFF", "square", "→"),
    "ready": Look("#56B4E9", "square", ""),
    "requeued": Look("#F0E442", "square", "↺"),
    "unacked": Look("#E69F00", "hexagon", "…"),
    "acked": Look("#009E73", "circle", "✓"),
    "dead-lettered": Look("#D55E00", "octagon", "✕"),
    "expired": Look("#BBBBBB", "diamond", "◔"),
    "dropped": Look("#0072B2", "triangle", "▼"),
    "returned": Look("#CC79A7", "pentagon", "↩"),
}

LIGHT = {
    "ink": "#1f2328",
    "soft": "#59636e",
    "paper": "#ffffff",
    "box": "#f6f8fa",
    "line": "#8c959f",
    "focus": "#0550ae",
}
DARK = {
    "ink": "#e6edf3",
    "soft": "#a5b0bb",
    "paper": "#161b22",
    "box": "#212830",
    "line": "#6e7781",
    "focus": "#79c0ff",
}

_SCENE = """
.mq-text { fill: var(--mq-ink); font-family: var(--mq-font); font-size: 16px; }
.mq-soft { fill: var(--mq-soft); font-size: 14px; }
.mq-name { font-weight: 600; }
.mq-middle { text-anchor: middle; }
.mq-end { text-anchor: end; }
.mq-box { fill: var(--mq-box); stroke: var(--mq-line); stroke-width: 1.5; }
.mq-note { font-size: 14px; }
.mq-key { font-size: 13px; paint-order: stroke; stroke: var(--mq-paper); stroke-width: 4px; stroke-linejoin: round; }
.mq-faded { stroke-dasharray: 4 4; fill: var(--mq-paper); }
.mq-exchange { stroke-width: 2.5; }
.mq-grid { stroke-width: 0.6; stroke-dasharray: 2 3; }
.mq-dashed { stroke-dasharray: 6 4; }
.mq-lane { fill: var(--mq-paper); stroke: var(--mq-line); stroke-width: 1.5; }
.mq-way { stroke: var(--mq-line); stroke-width: 1.5; fill: none; }
.mq-tip { fill: var(--mq-line); }
.mq-shape { stroke: #1f2328; stroke-width: 1.2; }
.mq-inferred .mq-shape { stroke-dasharray: 3 2.5; }
.mq-label { fill: #111111; font-family: var(--mq-font); font-size: 15px; font-weight: 600; text-anchor: middle; }
.mq-small .mq-label { font-size: 12px; }
.mq-badge { fill: #111111; font-family: var(--mq-font); font-size: 11px; text-anchor: middle; }
"""
_CARD = """
.mqlab {
  box-sizing: border-box;
  max-width: 1080px;
  margin: 4px 0;
  color: var(--mq-ink);
  background: var(--mq-paper);
  border: 1px solid color-mix(in srgb, var(--mq-line) 45%, transparent);
  border-radius: 10px;
  font-family: var(--mq-font);
  line-height: 1.5;
}
"""
_FONT = "DejaVu Sans"


def _colours() -> str:
    rules = [f".mq-{state} .mq-shape {{ fill: {look.colour}; }}" for state, look in LOOKS.items()]
    return "\n".join([*rules, ".mq-dropped .mq-label, .mq-dropped .mq-badge { fill: #ffffff; }"])


def _variables(theme: dict[str, str]) -> str:
    return " ".join(f"--mq-{name}: {colour};" for name, colour in theme.items())


def css() -> str:
    """Return the style sheet for the page: JupyterLab's theme decides, elsewhere the reader's preference does."""
    font = "--mq-font: var(--jp-ui-font-family, system-ui), sans-serif;"
    return f"""
.mqlab {{ {_variables(LIGHT)} {font} }}
@media (prefers-color-scheme: dark) {{ body:not([data-jp-theme-light]) .mqlab {{ {_variables(DARK)} }} }}
[data-jp-theme-light="false"] .mqlab {{ {_variables(DARK)} }}
{_CARD}{_SCENE}{_colours()}
"""


def file_css() -> str:
    """Return the style sheet for an SVG file that a browser shows: the reader's preference decides on the theme."""
    return f"""
svg {{ {_variables(LIGHT)} --mq-font: system-ui, sans-serif; }}
@media (prefers-color-scheme: dark) {{ svg {{ {_variables(DARK)} }} }}
.mq-card {{ fill: var(--mq-paper); }}
{_SCENE}{_colours()}
"""


def still_css(theme: dict[str, str] = LIGHT) -> str:
    """Return the same style sheet with literal colours, for a renderer that knows no CSS variables."""
    values = {**theme, "font": f"'{_FONT}'"}
    return re.sub(r"var\(--mq-(\w+)\)", lambda match: values[match[1]], _SCENE) + _colours()
