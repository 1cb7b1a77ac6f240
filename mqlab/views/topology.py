"""The view of a broker: producers, exchanges, bindings, queues with their messages, consumers with what they hold."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from itertools import combinations, permutations
from typing import Protocol, runtime_checkable

import svg

from mqlab.state import DEFAULT, ENDED, SLOW, STOPPED, Consumer, Message, Queue, State, first
from mqlab.trace import Trace, trace_of
from mqlab.views.player import Player
from mqlab.views.shapes import SIZE, box, canvas, clickable, label, text, token
from mqlab.views.words import says

WIDTH = 1000
SCALE = 0.8  # of the tokens
STEP = SIZE * SCALE + 4
LANE = SIZE * SCALE + 10
ROW = LANE + 38  # a queue with the line above it
BUTTONS = 42  # height of their row
PERSON = 58  # height of a producer or consumer
GAP = 12
PRODUCERS, EXCHANGES, DEEPER, CONSUMERS = (8, 148), (206, 322), (366, 482), (782, 992)
QUEUES, NARROW = (448, 732), (590, 742)  # with exchanges in one column, and in two
LETTER, BOLD = 7.8, 8.8  # width of a letter of a note, about, and of a name
HELD = 4  # tokens shown in a consumer's hands
GONE = 3  # producers shown that have left
SEARCHED = 6  # exchanges of which every order is tried


@dataclass
class Plan:
    """Where everything is: the middle of each thing on the left, in units of the picture."""

    producers: dict[str, float] = field(default_factory=dict)
    exchanges: dict[str, float] = field(default_factory=dict)
    deeper: set[str] = field(default_factory=set)  # exchanges in the second column
    queues: dict[str, float] = field(default_factory=dict)
    consumers: dict[tuple[str, str], float] = field(default_factory=dict)
    gone: dict[tuple[str, str], float] = field(default_factory=dict)
    height: float = 0

    @property
    def lane(self) -> tuple[float, float]:
        """Left and right edge of the queues."""
        return NARROW if self.deeper else QUEUES


# ---- layout: an order of exchanges and queues in which few lines cross, then a height for each


def crossings(pairs: Iterable[tuple[int, int]]) -> int:
    """Return how often lines cross that join places on the left with places on the right, numbered from the top."""
    return sum((a - c) * (b - d) < 0 for (a, b), (c, d) in combinations(pairs, 2))


Edges = tuple[tuple[str, str], ...]


@lru_cache(maxsize=64)
def ordered(left: tuple[str, ...], right: tuple[str, ...], edges: Edges) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return both sides in an order in which as few of the edges cross as is found: as they came, if none do so.

    Up to SEARCHED things on the left are tried in every order. For each the right side is sorted by where its
    neighbours are on average, which finds an order without crossings if there is one.
    """
    lines = [(a, b) for a, b in dict.fromkeys(edges) if a in left and b in right]

    def sorted_by(side: tuple[str, ...], other: tuple[str, ...], here: int) -> tuple[str, ...]:
        there = {name: n for n, name in enumerate(other)}
        near = {name: [there[line[1 - here]] for line in lines if line[here] == name] for name in side}
        ends = len(other)  # what has no line goes to the end
        return tuple(sorted(side, key=lambda name: sum(near[name]) / len(near[name]) if near[name] else ends))

    def cost(one: tuple[str, ...], two: tuple[str, ...]) -> int:
        places = ({name: n for n, name in enumerate(one)}, {name: n for n, name in enumerate(two)})
        return crossings([(places[0][a], places[1][b]) for a, b in lines])

    best = (left, right)
    least = cost(*best)
    every = ((one, sorted_by(right, one, 1)) for one in permutations(left))
    for found in every if len(left) <= SEARCHED else _swept(best, sorted_by):
        if not least:
            break
        if (now := cost(*found)) < least:
            best, least = found, now
    return best


def _swept(
    start: tuple[tuple[str, ...], tuple[str, ...]],
    sorted_by: Callable[[tuple[str, ...], tuple[str, ...], int], tuple[str, ...]],
) -> Iterator[tuple[tuple[str, ...], tuple[str, ...]]]:
    """Sort each side in turn by the other one, some times over."""
    one, two = start
    for _ in range(8):
        two = sorted_by(two, one, 1)
        yield one, two
        one = sorted_by(one, two, 0)
        yield one, two


def spread(wanted: Sequence[float], height: float, top: float) -> list[float]:
    """Return places in the same order, at least `height` apart and below `top`, near the wanted ones."""
    places: list[float] = []
    for each in wanted:
        places.append(max(each, places[-1] + height if places else top + height / 2))
    return places


def plan(state: State) -> Plan:
    """Return where everything of this state is drawn."""
    found = Plan()
    inner = {b.to for b in state.bindings if b.kind == "exchange"} | {e.alternate for e in state.exchanges.values()}
    inner -= {b.exchange for b in state.bindings if b.kind == "exchange"}
    found.deeper = inner & state.exchanges.keys()
    edges = [(b.exchange, b.to) for b in state.bindings if b.kind == "queue"]
    edges += [(q.dead_to[0], q.name) for q in state.queues.values() if q.dead_to and q.dead_to[0] in state.exchanges]
    exchanges, queues = ordered(tuple(state.exchanges), tuple(state.queues), tuple(edges))

    gone = [(queue, who) for queue, who, _ in dict.fromkeys(state.gone)]
    y = 8.0
    for name in queues:
        here = [key for key in state.consumers if key[0] == name]
        left = [key for key in dict.fromkeys(gone) if key[0] == name and key not in state.consumers][-2:]
        height = max(ROW, (len(here) + len(left)) * (PERSON + GAP))
        found.queues[name] = y + height / 2 + 10
        for n, key in enumerate([*here, *left]):
            place = y + height / 2 + 10 + (n - (len(here) + len(left) - 1) / 2) * (PERSON + GAP)
            (found.consumers if key in state.consumers else found.gone)[key] = place
        y += height + 4
    bottom = y

    for column in (found.deeper, state.exchanges.keys() - found.deeper):
        mine = [name for name in exchanges if name in column]
        wanted: list[float] = []
        for name in mine:
            near = [found.queues[to] for exchange, to in edges if exchange == name and to in found.queues]
            near += [found.exchanges[b.to] for b in state.bindings if b.exchange == name and b.to in found.exchanges]
            wanted.append(sum(near) / len(near) if near else (wanted[-1] if wanted else ROW / 2 + 18))
        pairs = sorted(zip(wanted, range(len(mine)), strict=True))
        places = spread([want for want, _ in pairs], PERSON + 22, 0)
        found.exchanges |= {mine[n]: place for (_, n), place in zip(pairs, places, strict=True)}

    who = producers(state)
    targets: dict[str, list[float]] = {name: [] for name in who}
    for (exchange, name), _ in state.senders.items():
        if name in targets and exchange in found.exchanges:
            targets[name].append(found.exchanges[exchange])
    for queue, name in state.producers:
        targets[name].append(found.queues[queue])
    wanted = [sum(near) / len(near) if near else 1e6 for near in targets.values()]
    pairs = sorted(zip(wanted, range(len(who)), strict=True))
    places = spread([want if want < 1e6 else 0 for want, _ in pairs], PERSON + GAP, 0)
    found.producers = {who[n]: place for (_, n), place in zip(pairs, places, strict=True)}
    lowest = [0.0, *(place + PERSON / 2 + 8 for place in (*found.producers.values(), *found.exchanges.values()))]
    found.height = max(bottom, *lowest)
    return found


def producers(state: State) -> list[str]:
    """Return who is drawn on the left: whoever publishes, and whoever is connected and does nothing yet."""
    sending = dict.fromkeys([who for _, who in state.senders] + [who for _, who in state.producers])
    consuming = {consumer.connection for consumer in state.consumers.values()}
    idle = [c.name for c in state.connections.values() if c.open and c.name not in consuming and c.name not in sending]
    known = [who for who in sending if who in state.connections or any(who == name for _, name in state.producers)]
    left = [who for who in known if who in state.connections and not state.connections[who].open]
    return [who for who in known if who not in left[:-GONE]] + idle


def part(state: State, names: Collection[str]) -> State:
    """Return what of a state is about these exchanges and queues, the queues bound to these exchanges among them."""
    bound = {b.to for b in state.bindings if b.exchange in names and b.kind == "queue"}
    queues = {name: queue for name, queue in state.queues.items() if name in names or name in bound}
    return replace(
        state,
        queues=queues,
        exchanges={name: exchange for name, exchange in state.exchanges.items() if name in names},
        bindings={b: None for b in state.bindings if b.exchange in names},
        senders={key: sender for key, sender in state.senders.items() if key[0] in names},
        producers={key: n for key, n in state.producers.items() if key[0] in queues},
        consumers={key: consumer for key, consumer in state.consumers.items() if key[0] in queues},
    )


# ---- drawing


def draw(state: State, *, faults: bool = False, stoppable: bool = False, send: Sequence[str] = ()) -> str:
    """Return the picture of a state as SVG.

    With `faults` connections and the network have buttons that do them harm, with `stoppable` the broker has one too;
    for each name in `send` there is a button by which the reader publishes.
    """
    where = plan(state)
    scene: list[svg.Element] = []
    tokens: list[svg.Element] = []
    _draw_ways(state, where, scene)
    for name, y in where.producers.items():
        _draw_producer(state, name, y, faults, scene, tokens)
    for name, y in where.exchanges.items():
        _draw_exchange(state, name, y, where, scene, tokens)
    for name, y in where.queues.items():
        _draw_queue(state, state.queues[name], y, where, scene, tokens)
    for key, y in where.consumers.items():
        _draw_consumer(state, state.consumers[key], y, faults, scene, tokens)
    for queue, who, why in dict.fromkeys(state.gone):
        if (queue, who) in where.gone:
            _draw_gone(who, why, where.gone[queue, who], scene)
    bottom = max(where.height, 96.0) + 8
    if not (state.connections or state.queues or state.exchanges):
        scene.append(text(WIDTH / 2, 56, "Nobody has connected yet.", "mq-soft mq-middle"))
    buttons = _buttons(state, faults, stoppable, send)
    top = -BUTTONS if buttons else 0  # above the picture: what grows must not push them from under the reader's hand
    row = top + 2.0 if buttons else bottom
    x = draw_buttons(buttons, row, scene)
    if state.trouble:
        scene.append(text(x + 4, row + 21, f"⚠ {state.trouble}", "mq-note"))
        bottom += 0 if buttons else BUTTONS
    scene.append(text(PRODUCERS[0], bottom + 14, _balance(state), "mq-soft"))
    return canvas(WIDTH, round(bottom + 26) - top, str(state), scene + tokens, top)


def _small(message: Message, x: float, y: float, came_from: tuple[float, float] | None = None) -> svg.G:
    return token(message, x, y, came_from, SCALE)


def _draw_producer(
    state: State, name: str, y: float, faults: bool, scene: list[svg.Element], tokens: list[svg.Element]
) -> None:
    connection = state.connections.get(name)
    open_ = connection is None or connection.open
    left, right = PRODUCERS
    scene.append(box(left, y - PERSON / 2, right - left, PERSON, "mq-box" if open_ else "mq-box mq-faded"))
    scene.append(label(left + 10, y - 8, name, 10 if faults else 12, "mq-name" if open_ else "mq-name mq-soft"))
    sent = sum(s.published for (_, who), s in state.senders.items() if who == name)
    sent += sum(n for (_, who), n in state.producers.items() if who == name)
    confirmed = sum(s.confirmed for (_, who), s in state.senders.items() if who == name)
    returned = sum(s.returned for (_, who), s in state.senders.items() if who == name)
    refused = sum(s.refused for (_, who), s in state.senders.items() if who == name)
    words = f"{sent:,} sent" if sent else "connected" if connection else ""
    if connection and connection.blocked:
        words = "‖ blocked"
    elif not open_:
        words = "has left" if not connection or not connection.why else "✕ cut off"
    scene.append(text(left + 10, y + 8, words, "mq-soft mq-note"))
    told = (
        [f"✓ {confirmed:,}"] * bool(confirmed)
        + [f"↩ {returned:,}"] * bool(returned)
        + [f"✕ {refused:,}"] * bool(refused)
    )
    scene.append(text(left + 10, y + 23, "  ".join(told), "mq-soft mq-note"))
    if faults and connection and open_ and not connection.elsewhere:
        scene.append(_cutter(name, right - 14, y - PERSON / 2 + 14))
    back = [m for m in state.done if m.state == "returned" and m.producer == name]
    if back:
        tokens.append(_small(back[-1], right - 20, y + 8))


def _draw_exchange(
    state: State, name: str, y: float, where: Plan, scene: list[svg.Element], tokens: list[svg.Element]
) -> None:
    exchange = state.exchanges[name]
    left, right = DEEPER if name in where.deeper else EXCHANGES
    scene.append(box(left, y - PERSON / 2, right - left, PERSON, "mq-box mq-exchange"))
    scene.append(label((left + right) / 2, y - 4, name, 12, "mq-name mq-middle"))
    scene.append(text((left + right) / 2, y + 15, exchange.type, "mq-soft mq-note mq-middle"))
    for n, id in enumerate(first(exchange.holding, 2)):
        tokens.append(_small(state.messages[id], right + 2 + n * 6, y + 4, _start(state.messages[id], where)))
    lost = [m for m in state.done if m.state == "dropped" and m.exchange == name and not m.queue]
    if lost:
        tokens.append(_small(lost[-1], (left + right) / 2, y + PERSON / 2 + 4, _start(lost[-1], where)))


def _start(message: Message, where: Plan) -> tuple[float, float] | None:
    """Return where a message that is new comes from: from its producer, or from the queue in which it died."""
    if message.producer in where.producers:
        return (sum(PRODUCERS) / 2, where.producers[message.producer])
    if message.producer in where.queues:
        return (where.lane[0] + 20, where.queues[message.producer])
    return None


def _draw_queue(
    state: State, queue: Queue, y: float, where: Plan, scene: list[svg.Element], tokens: list[svg.Element]
) -> None:
    left, right = where.lane
    room = int((right - left - 12) // STEP)
    top = y - LANE / 2
    scene.append(box(left, top, right - left, LANE, "mq-lane"))
    count = f"{len(queue.ready):,} ready" if not queue.limit else f"{len(queue.ready):,} of {queue.limit:,}"
    free = right - left - LETTER * len(count) - 12
    kind = " · quorum" if queue.type == "quorum" else ""
    if kind and free - LETTER * len(kind) >= BOLD * len(queue.name):
        free, count = free - LETTER * len(kind), count + kind
    scene.append(label(left, top - 6, queue.name, max(4, int(free / BOLD)), "mq-name mq-note"))
    scene.append(text(right, top - 6, count, "mq-soft mq-note mq-end"))
    fits = room if len(queue.ready) <= room else room - 1
    for n, id in enumerate(first(queue.ready, fits)):
        message = state.messages[id]
        origin = None if message.deliveries else _from(message, where)
        tokens.append(_small(message, right - 6 - SIZE * SCALE / 2 - n * STEP, y, origin))
    if len(queue.ready) > fits:
        scene.append(text(left + 6, y + 5, f"+ {len(queue.ready) - fits:,}", "mq-note"))


def _from(message: Message, where: Plan) -> tuple[float, float] | None:
    """Return where a message comes into its queue from: from its exchange, or from its producer."""
    if message.exchange in where.exchanges:
        columns = DEEPER if message.exchange in where.deeper else EXCHANGES
        return (columns[1] - 8, where.exchanges[message.exchange])
    return _start(message, where)


def _draw_consumer(
    state: State, consumer: Consumer, y: float, faults: bool, scene: list[svg.Element], tokens: list[svg.Element]
) -> None:
    left, right = CONSUMERS
    top = y - PERSON / 2
    scene.append(box(left, top, right - left, PERSON))
    if consumer.auto_ack:
        words = "auto-ack"
    elif consumer.prefetch:
        words = f"{len(consumer.holding):,} of {consumer.prefetch:,}"
    else:
        words = f"{len(consumer.holding):,} unacked"
    edge = right - (30 if faults and consumer.connection else 8)
    room = int((edge - left - 20 - LETTER * len(words)) / BOLD)
    scene.append(label(left + 8, top + 16, consumer.name, max(3, room), "mq-name mq-note"))
    scene.append(text(edge, top + 16, words, "mq-soft mq-note mq-end"))
    shown = first(consumer.holding, HELD)
    middle = top + PERSON - SIZE * SCALE / 2 - 2
    for n, id in enumerate(shown):
        tokens.append(_small(state.messages[id], left + 6 + SIZE * SCALE / 2 + n * STEP, middle))
    if len(consumer.holding) > HELD:
        scene.append(text(left + 8 + HELD * STEP, middle + 5, f"+ {len(consumer.holding) - HELD:,}", "mq-note"))
    elif consumer.acked:
        latest = consumer.done[-1]
        place = right - 8 - SIZE * SCALE / 2
        if len(shown) < HELD:
            tokens.append(_small(latest, place, middle))
            scene.append(
                text(place - SIZE * SCALE / 2 - 4, middle + 5, f"{consumer.acked:,} ✓", "mq-soft mq-note mq-end")
            )
    if faults and consumer.connection:
        scene.append(_cutter(consumer.connection, right - 14, top + 14))


def _draw_gone(who: str, why: str, y: float, scene: list[svg.Element]) -> None:
    left, right = CONSUMERS
    scene.append(box(left, y - PERSON / 2, right - left, PERSON, "mq-box mq-faded"))
    scene.append(label(left + 8, y - PERSON / 2 + 16, who, 20, "mq-name mq-note mq-soft"))
    scene.append(label(left + 8, y + 12, f"✕ {why}", 28, "mq-soft mq-note"))


def _cutter(name: str, x: float, y: float) -> svg.G:
    """Draw the button that cuts a connection."""
    return svg.G(
        class_=["mq-clickable"],
        extra=clickable(f"cut:{name}", f"Cut the connection of {name}"),
        elements=[
            svg.Circle(cx=x, cy=y, r=9, class_=["mq-box"]),
            text(x, y + 5, "✕", "mq-soft mq-note mq-middle"),
        ],
    )


def _draw_ways(state: State, where: Plan, scene: list[svg.Element]) -> None:
    """Draw who publishes where, the bindings with their keys, dead-letter ways, and who consumes from where."""
    into, lane = where.lane
    for (exchange, who), _ in state.senders.items():
        if who in where.producers and exchange in where.exchanges:
            edge = (DEEPER if exchange in where.deeper else EXCHANGES)[0]
            scene += way(PRODUCERS[1], where.producers[who], edge, where.exchanges[exchange])
    for queue, who in state.producers:
        scene += way(PRODUCERS[1], where.producers[who], into, where.queues[queue])
    for each in state.exchanges.values():
        if each.alternate in where.exchanges and each.name in where.exchanges:
            y = where.exchanges[each.alternate]
            scene += way(EXCHANGES[1], where.exchanges[each.name] + 12, DEEPER[0], y, "mq-way mq-dashed")
            scene.append(text(DEEPER[0] - 10, y - 6, "else", "mq-soft mq-key mq-end"))
    ends: dict[tuple[str, str], list[tuple[str, list[str]]]] = {}
    keys: dict[tuple[str, str, str], list[str]] = {}
    for b in state.bindings:
        keys.setdefault((b.exchange, b.kind, b.to), []).append("" if b.exchange == DEFAULT else b.match or b.key)
    for (exchange, kind, to), found in keys.items():
        ends.setdefault((kind, to), []).append((exchange, found))
    for (kind, to), sources in ends.items():
        places = where.queues if kind == "queue" else where.exchanges
        drawn = sorted((s for s in sources if s[0] in where.exchanges), key=lambda s: where.exchanges[s[0]])
        for n, (exchange, found) in enumerate(drawn):
            if to not in places:
                continue
            start = (DEEPER if exchange in where.deeper else EXCHANGES)[1]
            end = into if kind == "queue" else (DEEPER[0] if to in where.deeper else EXCHANGES[0])
            y = places[to] + (n - (len(drawn) - 1) / 2) * 17
            scene += way(start, where.exchanges[exchange], end, y)
            words = ", ".join(each for each in found if each)
            scene.append(label(end - 11, y - 4, words, 15 if not where.deeper else 12, "mq-soft mq-key mq-end"))
    for dying in state.queues.values():
        if dying.dead_to and dying.dead_to[0] in where.exchanges:
            name, key = dying.dead_to
            edge = (DEEPER if name in where.deeper else EXCHANGES)[1]
            y = where.queues[dying.name] + LANE / 2 - 6
            scene += way(into, y, edge, where.exchanges[name] + PERSON / 2 - 8, "mq-way mq-dashed mq-dead")
            scene.append(label(into - 6, y + 14, f"✕ {key}" if key else "✕", 15, "mq-soft mq-key mq-end"))
    for (queue, who), y in (where.consumers | where.gone).items():
        kind = "mq-way" if (queue, who) in where.consumers else "mq-way mq-dashed"
        scene += way(lane, where.queues[queue], CONSUMERS[0], y, kind)


def way(x: float, y: float, to_x: float, to_y: float, kind: str = "mq-way") -> list[svg.Element]:
    """Return a line with a tip at its end, which leaves and arrives horizontally; to the left, too."""
    side = 7 if to_x > x else -7
    middle = (x + to_x) / 2
    line = svg.Path(
        d=[
            svg.M(round(x, 1), round(y, 1)),
            svg.C(middle, round(y, 1), middle, round(to_y, 1), to_x - side, round(to_y, 1)),
        ],
        class_=kind.split(),
    )
    back = to_x - side - side / 7
    tip = [svg.Point(to_x, round(to_y, 1)), svg.Point(back, round(to_y - 5, 1)), svg.Point(back, round(to_y + 5, 1))]
    return [line, svg.Polygon(points=tip, class_=["mq-tip"])]


def _buttons(state: State, faults: bool, stoppable: bool, send: Sequence[str]) -> list[tuple[str, str, str]]:
    """Return what the reader can do besides: the name of the click, the button's words, what it does."""
    buttons = [(f"send:{name}", f"▸ {name}", f"{name}: publish a message") for name in send]
    if faults and state.trouble.startswith(SLOW):
        buttons.append(("slow:0", "Fast network", "Let the network be fast again"))
    elif faults:
        buttons.append(("slow:0.2", "Slow network", "Slow the network by 200 ms each way"))
    if stoppable and state.trouble.startswith(STOPPED):
        buttons.append(("broker:start", "Start the broker", "Start the broker again"))
    elif stoppable:
        buttons.append(("broker:stop", "Stop the broker", "Stop the broker, as when its machine fails"))
    return buttons


def draw_buttons(buttons: list[tuple[str, str, str]], y: float, scene: list[svg.Element]) -> float:
    """Draw a row of buttons, each (the name of its click, its words, what it does); return where it ends."""
    x = float(PRODUCERS[0])
    for action, name, words in buttons:
        width = 26 + 9 * len(name)
        scene.append(
            svg.G(
                class_=["mq-actor", "mq-clickable"],
                extra=clickable(action, words),
                elements=[box(x, y, width, 32), text(x + width / 2, y + 21, name, "mq-middle mq-note")],
            )
        )
        x += width + 10
    return x


def _balance(state: State) -> str:
    """Say where every message is."""
    left = f"{state.published:,} published" + (
        f" + {state.copied:,} {'copy' if state.copied == 1 else 'copies'}" if state.copied else ""
    )
    parts = [f"{state.in_exchange:,} in an exchange"] if state.in_exchange else []
    parts += [f"{state.ready:,} ready", f"{state.unacked:,} unacked"]
    return f"{left} = {' + '.join(parts + [f'{state.ended[end]:,} {end}' for end in ENDED if state.ended[end]])}"


# ---- on the page


@runtime_checkable
class Tapped(Protocol):
    """What can be shown with buttons that do harm: a tap."""

    trace: Trace

    @property
    def can_stop_broker(self) -> bool: ...
    def cut(self, name: str) -> object: ...
    def slow(self, seconds: float) -> object: ...
    def stop_broker(self) -> object: ...
    def start_broker(self) -> object: ...


def show(
    what: Trace | Tapped,
    *,
    title: str = "The broker",
    faults: bool = True,
    on_send: Callable[[], object] | Mapping[str, Callable[[], object]] | None = None,
    send: str = "You publish",
    only: Collection[str] = (),
) -> Player:
    """Show a trace, or what a tap sees as it happens, as a picture that moves.

    On a tap the reader can cut connections and slow the network by a click, and stop the broker if it is the course's
    own. With `on_send` there is a producer that is the reader: each click calls it; or it maps the names of several
    buttons to what they call. `only` names exchanges and queues: then they alone are shown, with the queues that are
    bound to these exchanges.
    """
    trace, tap = trace_of(what), None if isinstance(what, Trace) else what
    hurt = faults and tap is not None
    stoppable = hurt and tap is not None and tap.can_stop_broker
    sends = on_send if isinstance(on_send, Mapping) else {send: on_send} if on_send else {}

    def picture(state: State) -> str:
        state = part(state, only) if only else state
        return draw(state, faults=hurt, stoppable=stoppable, send=tuple(sends))

    def click(action: str) -> None:
        verb, _, rest = action.partition(":")
        if verb == "send" and rest in sends:
            sends[rest]()
        elif tap and verb == "cut":
            tap.cut(rest)
        elif tap and verb == "slow":
            tap.slow(float(rest))
        elif tap and verb == "broker":
            # It takes seconds, and other clicks come in this thread too.
            work = tap.stop_broker if rest == "stop" else tap.start_broker
            threading.Thread(target=work, name="mqlab-fault", daemon=True).start()

    return Player(trace, picture, says=says, on_click=click, title=title, live=tap is not None)
