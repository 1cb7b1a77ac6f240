"""The view of ZeroMQ sockets: who sends, the pipes with what waits in them, what was dropped, who receives."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol

import svg

from mqlab.event import Event
from mqlab.sockets.pipes import ARROW
from mqlab.state import Message, Queue, State, first
from mqlab.trace import Trace, trace_of
from mqlab.views import words
from mqlab.views.player import Player
from mqlab.views.shapes import SIZE, box, canvas, label, text, token
from mqlab.views.topology import BOLD, BUTTONS, LANE, LETTER, SCALE, STEP, draw_buttons, ordered, spread, way

WIDTH = 1000
BOX, TALL = 150, 78  # a socket
ROW = LANE + 26  # a pipe with the line above it
GAP = 14
EDGE = 8
ENDS = {"PUSH": 0, "PUB": 0, "XPUB": 0, "REQ": 1, "DEALER": 2, "PAIR": 3, "ROUTER": 4, "REP": 5}  # from the left


@dataclass
class Plan:
    """Where everything is: the left edge and the middle of each socket, the left and right edge of each pipe."""

    sockets: dict[str, tuple[float, float]] = field(default_factory=dict)
    pipes: dict[str, tuple[float, float, float]] = field(default_factory=dict)  # left, right, middle
    height: float = 0


def ends(pipe: str) -> tuple[str, str]:
    """Return who sends into a pipe, and who receives from it."""
    source, _, to = pipe.partition(ARROW)
    return source, to


def called(name: str) -> str:
    """Return how a socket is called in the picture: who is not watched is drawn beside whoever it is connected to."""
    return "others" if name.startswith("others of ") else name


def columns(state: State) -> dict[str, int]:
    """Return the column of each socket, from the left: two of them, four where two sockets pass on to each other."""
    near: dict[str, dict[str, None]] = {name: {} for name in state.exchanges}
    for pipe in state.queues:
        a, b = ends(pipe)
        near[a][b] = near[b][a] = None
    joints = [(b.exchange, b.to) for b in state.bindings if b.kind == "exchange"]
    found: dict[str, int] = {}
    for front, back in joints:
        found[front], found[back] = 1, 2
    for front, back in joints:
        found = dict.fromkeys(near[front], 0) | dict.fromkeys(near[back], 3) | found

    def rank(name: str) -> int:
        sends, receives = (any(ends(pipe)[k] == name for pipe in state.queues) for k in (0, 1))
        return ENDS.get(state.exchanges[name].type, 2 if sends else 5) if receives else 0 if sends else 6

    for root in sorted(state.exchanges, key=rank):
        todo = [root] if root not in found else []
        kind = ENDS.get(state.exchanges[root].type, 5)
        found.setdefault(root, 0 if near[root] or kind < 4 else 1)
        while todo:
            name = todo.pop()
            for other in near[name]:
                if other not in found:
                    found[other] = found[name] ^ 1
                    todo.append(other)
    return found


def plan(state: State) -> Plan:
    """Return where everything of this state is drawn."""
    where = columns(state)
    most = max(where.values(), default=1)
    wide = BOX if most == 1 else 128
    apart = (WIDTH - 2 * EDGE - wide) / most if most == 1 else 0
    lefts = [EDGE, EDGE + apart] if most == 1 else [EDGE, 366, 506, WIDTH - EDGE - wide]
    result = Plan()
    places: dict[str, list[float]] = {name: [] for name in where}
    heights = []
    for left in (0,) if most == 1 else (0, 2):
        one = tuple(name for name, column in where.items() if column == left)
        two = tuple(name for name, column in where.items() if column == left + 1)
        pairs = dict.fromkeys(tuple(sorted(ends(pipe), key=lambda name: where[name])) for pipe in state.queues)
        edges = tuple((a, b) for a, b in pairs if where[a] == left and where[b] == left + 1)
        one, two = ordered(one, two, edges)
        y = 4.0
        for a, b in sorted(edges, key=lambda pair: (one.index(pair[0]), two.index(pair[1]))):
            lanes = [pipe for pipe in state.queues if set(ends(pipe)) == {a, b}]
            tall = max(ROW * len(lanes), TALL + GAP if len(lanes) == 1 else 0)
            for n, pipe in enumerate(sorted(lanes, key=lambda pipe: ends(pipe)[0] != a)):
                middle = y + tall / 2 + (n - (len(lanes) - 1) / 2) * ROW + 10
                result.pipes[pipe] = (lefts[left] + wide + 34, lefts[left + 1] - 34, middle)
            for name in (a, b):
                places[name].append(y + tall / 2 + 10)
            y += tall + 6
        heights.append(y)
    for column in range(most + 1):
        names = [name for name, at in where.items() if at == column]
        ends_at = max(heights)
        wanted = [(sum(p) / len(p) if (p := places[name]) else ends_at + TALL, n) for n, name in enumerate(names)]
        order = sorted(wanted)
        middles = spread([want for want, _ in order], TALL + GAP, 6)
        for (_, n), middle in zip(order, middles, strict=True):
            result.sockets[names[n]] = (lefts[column], middle)
    for binding in state.bindings:  # two that pass on to each other stand side by side
        front, back = binding.exchange, binding.to
        if binding.kind == "exchange" and list(where.values()).count(1) == list(where.values()).count(2) == 1:
            level = (result.sockets[front][1] + result.sockets[back][1]) / 2
            result.sockets |= {name: (result.sockets[name][0], level) for name in (front, back)}
    result.height = max([0.0, *heights, *(y + TALL / 2 + 8 for _, y in result.sockets.values())])
    return result


def width_of(state: State) -> int:
    """Return how wide a socket is drawn: narrower where there are four columns."""
    return 128 if any(b.kind == "exchange" for b in state.bindings) else BOX


def draw(state: State, *, send: str = "") -> str:
    """Return the picture of a state as SVG; with `send` there is a button of that name, by which the reader sends."""
    where, wide = plan(state), width_of(state)
    scene: list[svg.Element] = []
    tokens: list[svg.Element] = []
    for binding in state.bindings:
        if binding.kind == "exchange" and {binding.exchange, binding.to} <= where.sockets.keys():
            (x, y), (to_x, to_y) = where.sockets[binding.exchange], where.sockets[binding.to]
            scene.append(svg.Line(x1=x + wide, y1=y, x2=to_x, y2=to_y, class_=["mq-way"], stroke_width=4))
    for name, (left, right, y) in where.pipes.items():
        _draw_pipe(state, state.queues[name], left, right, y, where, wide, scene, tokens)
    for name, (x, y) in where.sockets.items():
        _draw_socket(state, name, x, y, wide, scene, tokens)
    bottom = max(where.height, 96.0) + 8
    if not state.exchanges:
        scene.append(text(WIDTH / 2, 56, "No socket has bound or connected yet.", "mq-soft mq-middle"))
    top = -BUTTONS if send else 0
    x = draw_buttons([(f"send:{send}", f"▸ {send}", f"{send}: send a message")] if send else [], top + 2.0, scene)
    if state.trouble:
        scene.append(text(x + 4, (top if send else bottom) + 21, f"⚠ {state.trouble}", "mq-note"))
        bottom += 0 if send else 24
    scene.append(text(EDGE, bottom + 14, balance(state), "mq-soft"))
    return canvas(WIDTH, round(bottom + 26) - top, str(state), scene + tokens, top)


def balance(state: State) -> str:
    """Say where every message is."""
    copies = f" + {state.copied:,} {'copy' if state.copied == 1 else 'copies'}" if state.copied else ""
    parts = [f"{state.in_exchange:,} being sent"] if state.in_exchange else []
    parts += [f"{state.ready:,} in pipes"]
    parts += [f"{state.unacked:,} being received"] if state.unacked else []
    parts += [f"{state.ended['acked']:,} received"]
    parts += [f"{state.ended['dropped']:,} dropped"] if state.ended["dropped"] else []
    return f"{state.published:,} sent{copies} = {' + '.join(parts)}"


def _small(message: Message, x: float, y: float, came_from: tuple[float, float] | None = None) -> svg.G:
    return token(message, x, y, came_from, SCALE)


def _draw_pipe(
    state: State,
    pipe: Queue,
    left: float,
    right: float,
    y: float,
    where: Plan,
    wide: int,
    scene: list[svg.Element],
    tokens: list[svg.Element],
) -> None:
    source, to = ends(pipe.name)
    (source_x, source_y), (to_x, to_y) = where.sockets[source], where.sockets[to]
    forth = source_x < to_x
    start, end = (source_x + wide, to_x) if forth else (source_x, to_x + wide)
    into, out = (left, right) if forth else (right, left)
    broken = "mq-way mq-dashed" if "others" in (state.exchanges[source].type, state.exchanges[to].type) else "mq-way"
    aside = 6 if f"{to}{ARROW}{source}" in state.queues else 0
    scene += way(start, _near(source_y, y, -aside), into, y, broken)
    scene += way(out, y, end, _near(to_y, y, aside), broken)
    top = y - LANE / 2
    full = bool(pipe.limit) and len(pipe.ready) >= pipe.limit
    scene.append(box(left, top, right - left, LANE, "mq-lane mq-dashed" if full else "mq-lane"))
    waits = f"{len(pipe.ready):,} of {pipe.limit:,}" if pipe.limit else f"{len(pipe.ready):,} wait"
    waits += " · full" if full else ""
    waits += f" · ▼ {pipe.dropped:,} dropped" if pipe.dropped else ""
    keys = [b.key for b in state.bindings if b.kind == "queue" and b.to == pipe.name and b.key]
    named = f"{called(source)}{ARROW}{called(to)}{': ' + ', '.join(keys) if keys else ''}"
    room = (right - left - LETTER * len(waits) - 12) / BOLD
    named = named if len(named) <= room else f"→ {called(to)}"
    scene.append(label(left, top - 6, named, max(4, int(room)), "mq-name mq-note"))
    scene.append(text(right, top - 6, waits, "mq-soft mq-note mq-end"))
    step = STEP if forth else -STEP
    head = out - (6 + SIZE * SCALE / 2) * (1 if forth else -1)
    fits = int((right - left - 12) // STEP)
    shown = fits if len(pipe.ready) <= fits else fits - 1
    for n, id in enumerate(first(pipe.ready, shown)):
        origin = (start, _near(source_y, y))
        tokens.append(_small(state.messages[id], head - n * step, y, origin))
    if len(pipe.ready) > shown:
        more = f"+ {len(pipe.ready) - shown:,}"
        scene.append(text(left + 6 if forth else right - 6, y + 5, more, "mq-note" if forth else "mq-note mq-end"))
    lost = [m for m in state.done if m.state == "dropped" and m.queue == pipe.name]
    if lost:
        tokens.append(_small(lost[-1], into + (12 if forth else -12), y + LANE / 2 + 2, (start, source_y)))


def _near(middle: float, y: float, aside: float = 0) -> float:
    """Return where a line meets a box: as near to its other end as the box is tall, a little aside of one back."""
    return max(middle - TALL / 2 + 14, min(middle + TALL / 2 - 14, y)) + aside


def _draw_socket(
    state: State, name: str, x: float, y: float, wide: int, scene: list[svg.Element], tokens: list[svg.Element]
) -> None:
    exchange = state.exchanges[name]
    stranger = exchange.type == "others"
    waits = {queue.waits[name] for queue in state.queues.values() if name in queue.waits}
    top = y - TALL / 2
    scene.append(box(x, top, wide, TALL, "mq-box mq-faded" if stranger or waits else "mq-box mq-exchange"))
    scene.append(label(x + 10, top + 18, called(name), int((wide - 16) / BOLD), "mq-name mq-note"))
    kind = "another process" if stranger else exchange.type
    connected = sum(c.open and _belongs(c.name, name) for c in state.connections.values())
    peers = f" · {connected:,} peer{'' if connected == 1 else 's'}" if connected else ""
    kind += peers if (len(kind) + len(peers)) * LETTER < wide - 10 else ""
    scene.append(text(x + 10, top + 35, kind, "mq-soft mq-note"))
    sender = state.senders.get((name, name))
    got = sum(consumer.acked for (_, who), consumer in state.consumers.items() if who == name)
    told = [f"{sender.published:,} sent"] if sender and sender.published else []
    told += [f"{got:,} ✓"] if got else []
    told += [f"▼ {exchange.dropped:,} dropped"] if exchange.dropped else []
    if waits:
        told = ["waits: full" if "put" in waits else "waits: empty", *told]
    for n, note in enumerate(told[:2]):
        scene.append(text(x + 10, top + 53 + 17 * n, note, "mq-soft mq-note"))
    edge = x + wide - SIZE * SCALE / 2 - 4
    held = [state.messages[id] for id in first(exchange.holding, 1)]
    held += [state.messages[id] for c in state.consumers.values() if c.name == name for id in first(c.holding, 1)]
    done = [c.done[-1] for (_, who), c in state.consumers.items() if who == name and c.done]
    latest = max(done, key=lambda message: message.steps[-1][1], default=None)
    for message in held[:1] or [latest][: bool(latest)]:
        if message:
            tokens.append(_small(message, edge, y + 14))
    lost = [m for m in state.done if m.state == "dropped" and m.exchange == name and not m.queue]
    if lost:
        tokens.append(_small(lost[-1], x + wide / 2, top + TALL + 4, (x + wide / 2, y)))


def _belongs(connection: str, socket: str) -> bool:
    return connection.endswith(f" of {socket}") or connection.startswith(f"{socket} to ")


def tell(event: Event, message: Message | None = None) -> str:
    """Say what an event was, in the words of ZeroMQ."""
    facts = event.facts or {}
    name = event.label or (message.label if message else event.message)
    source, to = ends(event.queue or (event.queues[0] if event.queues else "") or (message.queue if message else ""))
    because = f", because {event.why}" if event.why else ""
    match event.kind:
        case "exchange" if facts.get("type") == "others":
            return f"Sockets of another process are there: {event.exchange}."
        case "exchange":
            return f"The {facts.get('type')} socket {event.exchange} is there."
        case "declare":
            limit = f"; it holds at most {facts['limit']:,}" if facts.get("limit") else ""
            return f"A pipe leads from {source} to {to}{limit}."
        case "consume":
            return f"{event.who} receives what comes through it."
        case "bind" if facts.get("to"):
            return f"What comes to {event.exchange} or to {facts['to']} is passed on by the other one."
        case "bind":
            return f"{to} has subscribed to {event.key}."
        case "unbind":
            return f"{to} is no longer subscribed to {event.key}."
        case "delete" if event.queue:
            return f"The pipe from {source} to {to} is gone{because}."
        case "delete":
            return f"{event.exchange} is closed."
        case "publish":
            return f"{event.who} sends {name}{' on ' + event.key if event.key else ''}."
        case "route" if len(event.queues) > 1:
            return f"{name} goes to {', '.join(ends(queue)[1] for queue in event.queues)}: a copy into each pipe."
        case "route":
            return f"{name} goes into the pipe to {to}."
        case "move":
            return f"{name} is in the pipe to {to} instead."
        case "deliver":
            return f"{event.who} receives {name}."
        case "ack":
            return f"{name} is done: ZeroMQ asks for no acknowledgement."
        case "wait" if event.why == "put":
            return f"{event.who} has to wait: the pipe to {to} is full."
        case "wait":
            return f"{event.who} waits for a message."
        case "trouble" if not event.why:
            return "It is calm again: each message is shown."
    return words.tell(event, message)


class Watched(Protocol):
    """What has a trace of sockets: a watch."""

    trace: Trace


def show(
    what: Trace | Watched,
    *,
    title: str = "Sockets",
    on_send: Callable[[], object] | None = None,
    send: str = "You send",
) -> Player:
    """Show a trace, or what a watch sees as it happens, as a picture that moves.

    With `on_send` there is a button for the reader: each click calls it.
    """

    def click(action: str) -> None:
        if action.startswith("send:") and on_send:
            on_send()

    return Player(
        trace_of(what),
        partial(draw, send=send if on_send else ""),
        says=partial(words.says, telling=tell),
        telling=tell,
        on_click=click,
        title=title,
        live=not isinstance(what, Trace),
    )
