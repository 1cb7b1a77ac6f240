"""The view of time: each message as a bar from its publishing to its end, what waited apart from what was worked on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from heapq import nlargest
from itertools import chain, pairwise
from math import ceil, floor, log10

import svg

from mqlab.state import LIVE, Message, State
from mqlab.trace import Trace, Traced, trace_of
from mqlab.views.palette import LOOKS
from mqlab.views.player import Player
from mqlab.views.shapes import at, box, canvas, cut, outline, plain, text
from mqlab.views.words import says

WIDTH = 1000
LEFT, RIGHT = 120, 880  # of the bars; beyond is room for a consumer's name
TOP, ROW = 44, 26
ROWS = 12
PERCENTILES = (50, 95, 99)


def percentile(values: Sequence[float], p: float) -> float:
    """Return the smallest of the values that at least `p` per cent of them do not exceed (nearest rank)."""
    return sorted(values)[max(0, ceil(p / 100 * len(values)) - 1)]


def duration(seconds: float) -> str:
    """Return a time as people read it: 0.4 ms, 12 ms, 1.40 s, 3 min 20 s."""
    if seconds < 0.01:
        return f"{seconds * 1000:.1f} ms"
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 100:
        return f"{seconds:.2f} s"
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes} min {rest} s" if rest else f"{minutes} min"


def ticks(begin: float, end: float, most: int = 8) -> list[float]:
    """Return round times from begin to end, at most so many, as people divide seconds and minutes."""
    raw = max(end - begin, 1e-6) / most
    unit = 60 if raw > 10 else 1
    power = 10.0 ** floor(log10(raw / unit)) * unit
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= raw * 0.999999)
    if 10 < raw < 60:
        step = 30 if raw <= 30 else 60
    first = ceil(begin / step - 1e-9)
    return [n * step for n in range(first, floor(end / step + 1e-9) + 1)]


def draw(state: State, *, rows: int = ROWS) -> str:
    """Return the picture of the latest `rows` messages, and the measures of all that were acked, as SVG."""
    everything = chain(state.done, state.messages.values())
    latest = nlargest(rows, everything, key=lambda message: (message.steps[0][1], _number(message)))[::-1]
    begin = min((message.steps[0][1] for message in latest), default=0.0)
    end = max(state.t, begin + 1e-3)
    bottom = TOP + rows * ROW + 6

    def x(t: float) -> float:
        return round(LEFT + (t - begin) / (end - begin) * (RIGHT - LEFT), 1)

    scene: list[svg.Element] = []
    for t in ticks(begin, end):
        scene.append(svg.Line(x1=x(t), y1=TOP - 4, x2=x(t), y2=bottom, class_=["mq-way", "mq-grid"]))
        scene.append(text(x(t), TOP - 12, duration(t) if t else "0 s", "mq-soft mq-key mq-middle"))
    scene.append(svg.Line(x1=LEFT, y1=TOP - 4, x2=RIGHT, y2=TOP - 4, class_=["mq-way"]))
    older = state.published + state.copied - len(latest)
    if not latest:
        scene.append(text(WIDTH / 2, TOP + 40, "No message yet.", "mq-soft mq-middle"))
    bars: list[svg.Element] = [_bar(message, TOP + (n + 0.5) * ROW, x, end) for n, message in enumerate(latest)]
    scene += _legend(bottom, older)
    scene += _measures(state, bottom + 30)
    words = f"{len(latest)} messages over time. {'; '.join(told(state))}"
    return canvas(WIDTH, round(bottom + 112), words, scene + bars)


def _number(message: Message) -> int:
    digits = "".join(each for each in message.id.partition("/")[0] if each.isdigit())
    return int(digits[-9:] or 0)


def _bar(message: Message, y: float, x: Callable[[float], float], end: float) -> svg.G:
    """Draw one message; a low bar is waiting, a high one is being worked on, at its end is how it ended."""
    live = message.state in LIVE
    steps = [*message.steps, *([(message.state, end)] if live else [])]
    name = f"{message.label} · {message.queue}" if message.queue and message.exchange else message.label
    parts: list[svg.Element] = [svg.Title(text=plain(f"{name}: {message.state}", quote=False))]
    parts.append(text(8, 5, cut(name, 14), "mq-key"))
    for (kind, since), (_, until) in pairwise(steps):
        left, width = x(since), max(1.5, x(until) - x(since))
        height = 16 if kind == "unacked" else 7
        look = {"unacked": "unacked", "requeued": "requeued"}.get(kind, "ready")
        parts.append(_stretch(left, -height / 2, round(width, 1), height, look))
    last = x(steps[-1][1])
    if not live:
        ending = LOOKS[message.state]
        mark = svg.G(
            class_=[f"mq-{message.state}"],
            transform=[svg.Translate(last, 0), svg.Scale(0.42)],
            elements=[outline(ending.shape)],
        )
        parts.append(mark)
    if message.holder:
        parts.append(text(min(last + 14, RIGHT + 14), 5, cut(message.holder, 12), "mq-soft mq-key"))
    return svg.G(data={"key": plain(f"b:{message.id}:{message.steps[0][1]:g}")}, transform=at(0, y), elements=parts)


def _stretch(x: float, y: float, width: float, height: float, look: str) -> svg.G:
    shape = svg.Rect(x=x, y=y, width=width, height=height, rx=2, class_=["mq-shape"])
    return svg.G(class_=[f"mq-{look}"], elements=[shape])


def _legend(y: float, older: int) -> list[svg.Element]:
    return [
        _stretch(LEFT, y + 6, 34, 7, "ready"),
        text(LEFT + 42, y + 14, "waits", "mq-soft mq-key"),
        _stretch(LEFT + 100, y + 2, 34, 16, "unacked"),
        text(LEFT + 142, y + 14, "is worked on", "mq-soft mq-key"),
        *([text(RIGHT, y + 14, f"+ {older:,} earlier", "mq-soft mq-key mq-end")] if older > 0 else []),
    ]


def told(state: State) -> list[str]:
    """Say what was measured: averages of all acked messages, percentiles of the last ones, throughput."""
    acked = state.ended["acked"]
    if not acked:
        return ["No message has been acked yet, so there is nothing to measure"]
    rate = "–"
    if state.t > 0:
        unit, seconds = ("second", 1) if acked > 0.1 * state.t else ("minute", 60)
        rate = f"{acked / state.t * seconds:,.1f} acked a {unit} since the trace began"
    lines = [f"Throughput: {rate}"]
    for name, total, place in (("Waiting", state.waiting, 0), ("Processing", state.processing, 1)):
        values = [each[place] for each in state.measured]
        parts = [f"{p} %: {duration(percentile(values, p))}" for p in PERCENTILES]
        mean = f"{name}: {duration(total / acked)} on average of {acked:,}"
        lines.append(f"{mean}; {', '.join(parts)} (of the last {len(values):,})")
    return lines


def _measures(state: State, y: float) -> list[svg.Element]:
    card: list[svg.Element] = [box(8, y, WIDTH - 16, 22 * 3 + 14, "mq-lane")]
    return card + [text(20, y + 22 + n * 22, words, "mq-note") for n, words in enumerate(told(state))]


def show(what: Trace | Traced, *, rows: int = ROWS, title: str = "Timeline") -> Player:
    """Show a trace, or that of a tap or a watched queue, as bars over time."""
    trace = trace_of(what)
    return Player(trace, lambda state: draw(state, rows=rows), says=says, title=title, live=not isinstance(what, Trace))
