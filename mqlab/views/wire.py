"""The view of the wire: the AMQP frames between clients and the broker, as a sequence diagram."""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple

import svg

from mqlab import frames
from mqlab.event import Event
from mqlab.state import State
from mqlab.trace import Trace, Traced, trace_of
from mqlab.views.player import Player
from mqlab.views.shapes import at, box, canvas, clickable, cut, text
from mqlab.views.words import says

WIDTH = 1000
TIMES, FIRST, BROKER, PANEL = 8, 118, 668, 700  # where the columns begin
TOP, ROW, ROWS = 92, 32, 16
CLIENTS = 4  # columns at most
LETTER = 7.6  # width of one, about
LINES = 21  # of an opened frame


class Line(NamedTuple):
    """One row: a frame, or several of a folded channel."""

    key: str
    event: Event
    frames: int


def rows(state: State, folded: Collection[tuple[str, int]]) -> list[Line]:
    """Return the newest rows, the oldest first; frames of a folded channel that follow each other are one."""
    lines: list[Line] = []
    begins = state.framed - len(state.frames)
    for n, event in enumerate(state.frames, begins + 1):
        channel = (event.connection, event.channel)
        last = lines[-1] if lines else None
        if channel in folded and last and (last.event.connection, last.event.channel) == channel:
            lines[-1] = Line(last.key, event, last.frames + 1)
        else:
            lines.append(Line(str(n), event, 1))
    return lines[-ROWS:]


def draw(state: State, *, folded: Collection[tuple[str, int]] = (), opened: str = "") -> str:
    """Return the picture of the last frames as SVG.

    Of the channels in `folded`, pairs of a connection's name and a number, frames that follow each other are one row;
    `opened` is the key of the frame whose fields are listed.
    """
    lines = rows(state, folded)
    latest = list(dict.fromkeys(line.event.connection for line in reversed(lines)))[:CLIENTS]
    places = {name: n for n, name in enumerate(state.connections)}
    clients = sorted(latest, key=lambda name: places.get(name, -1))
    step = (BROKER - FIRST) / max(1, len(clients))
    column = {name: FIRST + 20 + n * step for n, name in enumerate(clients)}
    bottom = TOP + ROWS * ROW + 8
    scene: list[svg.Element] = []
    moving: list[svg.Element] = []
    for name, x in column.items():
        scene += _lifeline(name, x, bottom, step - 12)
        scene += _heads(state, name, x, folded, step)
    if clients:
        scene += _lifeline("broker", BROKER, bottom, 90)
    else:
        scene.append(text(WIDTH / 2, TOP + 20, "Nothing has crossed the wire yet.", "mq-soft mq-middle"))
    for n, line in enumerate(lines):
        if line.event.connection in column:
            moving.append(_row(line, column[line.event.connection], TOP + (n + 0.5) * ROW, folded, opened))
    scene += _panel(next((line.event for line in lines if line.key == opened), None), bottom, bool(lines))
    words = f"{state.framed:,} frames so far" + (f", the last: {_words(lines[-1].event)}" if lines else "")
    return canvas(WIDTH, bottom + 8, words, scene + moving)


def _lifeline(name: str, x: float, bottom: float, room: float) -> list[svg.Element]:
    shown = cut(name, max(3, int(room / 9)))
    return [
        text(x, 22, shown, "mq-name mq-middle" if name == "broker" else "mq-name"),
        svg.Line(x1=x, y1=TOP - 6, x2=x, y2=bottom, class_=["mq-way"]),
    ]


def _heads(state: State, name: str, x: float, folded: Collection[tuple[str, int]], room: float) -> list[svg.Element]:
    """Draw the channels of a connection: a click folds one, or unfolds it."""
    connection = state.connections.get(name)
    numbers = {event.channel for event in state.frames if event.connection == name}
    numbers |= connection.channels.keys() if connection else set()
    heads: list[svg.Element] = []
    for n, number in enumerate(sorted(numbers)[: max(1, int(room // 62))]):
        closed = (name, number) in folded
        left = x - 8 + n * 62
        words = f"{'Unfold' if closed else 'Fold'} channel {number} of {name}"
        heads.append(
            svg.G(
                class_=["mq-clickable"],
                extra=clickable(f"fold:{number}:{name}", words, stay=True),
                elements=[box(left, 34, 56, 26), text(left + 28, 52, f"{'▸' if closed else '▾'} ch {number}", MIDDLE)],
            )
        )
    return heads


MIDDLE = "mq-note mq-middle"


def _row(line: Line, x: float, y: float, folded: Collection[tuple[str, int]], opened: str) -> svg.G:
    """Draw one frame as an arrow between client and broker, or several as a bar."""
    event = line.event
    room = int((BROKER - x - 70) / LETTER)
    parts: list[svg.Element] = [text(TIMES - x, 5, f"{event.t * 1000:,.1f} ms", "mq-soft mq-key")]
    if (event.connection, event.channel) in folded:
        s = "" if line.frames == 1 else "s"
        words = f"channel {event.channel}: {line.frames:,} frame{s}, the last {frames.name(event)}"
        parts += [box(0, -9, BROKER - x, 18, "mq-box mq-faded"), text(12, 5, cut(words, room + 6), "mq-soft mq-key")]
        return svg.G(data={"key": f"f:{line.key}"}, transform=at(x, y), elements=parts)
    there = event.way == ">"
    tip = (BROKER - x, 9) if there else (0, 9)
    side = -9 if there else 9
    points = [svg.Point(tip[0], 9), svg.Point(tip[0] + side, 4), svg.Point(tip[0] + side, 14)]
    name, more = frames.name(event), frames.telling(event)
    more = cut(more, max(1, room - len(name))) if room - len(name) > 3 else ""
    parts += [
        svg.Line(x1=0, y1=9, x2=BROKER - x, y2=9, class_=["mq-way"]),
        svg.Polygon(points=points, class_=["mq-tip"]),
        box(10, -11, 24, 17, "mq-box"),
        text(22, 2, str(event.channel), "mq-key mq-middle"),
        text(42, 3, name, "mq-name mq-key"),
        text(42 + 8.2 * len(name) + 8, 3, more, "mq-soft mq-key"),
    ]
    if line.key == opened:
        parts.insert(0, box(4, -13, BROKER - x - 8, 20, "mq-box"))
    return svg.G(
        class_=["mq-clickable"],
        data={"key": f"f:{line.key}"},
        transform=at(x, y),
        extra=clickable(f"open:{line.key}", _words(event), stay=True),
        elements=parts,
    )


def _words(event: Event) -> str:
    whom = f"{event.connection} to the broker" if event.way == ">" else f"the broker to {event.connection}"
    return f"{whom}, channel {event.channel}: {frames.name(event)} {frames.telling(event)}".strip()


def _panel(event: Event | None, bottom: float, any_: bool) -> list[svg.Element]:
    """List the fields of the opened frame."""
    left, width = PANEL, WIDTH - PANEL - 8
    if event is None:
        hint = ["A click on a frame lists its fields.", "One on a channel folds it."] if any_ else []
        return [text(left + 8, TOP + 24 + n * 22, words, "mq-soft mq-note") for n, words in enumerate(hint)]
    parts: list[svg.Element] = [box(left, TOP - 14, width, bottom - TOP + 14)]
    parts.append(text(left + 12, TOP + 10, frames.name(event), "mq-name"))
    lines = [f"channel {event.channel} · {'to' if event.way == '>' else 'from'} the broker"]
    for field, value in frames.fields(event):
        lines += _wrapped(f"{field}: {value}", int((width - 24) / 7.2))
    if len(lines) > LINES:
        lines = [*lines[: LINES - 1], f"… and {len(lines) - LINES + 1} more lines"]
    parts += [text(left + 12, TOP + 34 + n * 22, line, "mq-soft mq-key") for n, line in enumerate(lines)]
    return parts


def _wrapped(words: str, most: int) -> list[str]:
    """Return words in lines of `most` characters, those after the first moved in; four lines at most."""
    lines, rest = [words[:most]], words[most:]
    while rest and len(lines) < 4:
        lines.append("   " + rest[: most - 3])
        rest = rest[most - 3 :]
    return [*lines[:-1], cut(lines[-1] + "…", most)] if rest else lines


def show(what: Trace | Traced, *, title: str = "The wire") -> Player:
    """Show the frames of a trace, or of a tap; a click on a channel folds it, one on a frame lists its fields."""
    trace = trace_of(what)
    folded: set[tuple[str, int]] = set()
    opened = ""

    def picture(state: State) -> str:
        return draw(state, folded=folded, opened=opened)

    def click(action: str) -> None:
        nonlocal opened
        verb, _, rest = action.partition(":")
        if verb == "open":
            opened = "" if opened == rest else rest
        elif verb == "fold":
            number, _, name = rest.partition(":")
            folded.symmetric_difference_update({(name, int(number))})
        player.redraw()

    player = Player(trace, picture, says=says, on_click=click, title=title, live=not isinstance(what, Trace))
    return player
