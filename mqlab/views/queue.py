"""The view of queues: producers on the left, what waits in the middle, consumers and what they did on the right."""

from __future__ import annotations

from collections.abc import Callable

import svg

from mqlab.state import ENDED, Consumer, Message, Queue, State, first
from mqlab.trace import Trace, Traced, trace_of
from mqlab.views.player import Player
from mqlab.views.shapes import SIZE, arrow, box, canvas, clickable, cut, text, token
from mqlab.views.words import says

WIDTH = 1000
PITCH = SIZE + 4
ROOM = 8  # tokens that a lane shows; the others are counted
HELD, DONE = 2, 5  # tokens shown with a consumer: in hand, and finished
_PRODUCER, _LANE, _CONSUMER, _DONE = (8, 112), (136, 536), (560, 748), (758, 998)  # left and right edge of each column
_HEAD, _ROW = 34, 68  # heights: the line above a lane, and one producer or consumer


def draw(state: State, *, puts: bool = False, gets: bool = False) -> str:
    """Return the picture of a state as SVG; with `puts` and `gets` producers and consumers are buttons."""
    elements: list[svg.Element] = []
    tokens: list[svg.Element] = []
    y = 4.0
    for queue in state.queues.values():
        y = _draw_queue(state, queue, y, puts, gets, elements, tokens)
    elements.append(text(_PRODUCER[0], y + 20, _balance(state), "mq-soft"))
    return canvas(WIDTH, round(y + 32), str(state), elements + tokens)


def _draw_queue(
    state: State, queue: Queue, top: float, puts: bool, gets: bool, scene: list[svg.Element], tokens: list[svg.Element]
) -> float:
    """Draw one queue with its producers and consumers below `top`; return where the next one begins."""
    # Who has to wait at the very first may have put or taken nothing yet.
    waiting = {verb: [who for who, why in queue.waits.items() if why == verb] for verb in ("put", "get")}
    names = [who for name, who in state.producers if name == queue.name]
    producers = list(dict.fromkeys(names + waiting["put"]))
    known = {c.name: c for c in state.consumers.values() if c.queue == queue.name}
    consumers = list(({who: Consumer(who, queue.name) for who in waiting["get"]} | known).values())
    rows = max(len(producers), len(consumers), 1)
    height = rows * _ROW
    middle = top + _HEAD + height / 2

    def centre(n: int, of: int) -> float:
        return middle + (n - (of - 1) / 2) * _ROW

    lane_top = middle - SIZE / 2 - 8
    scene.append(text(_LANE[0], lane_top - 9, queue.name, "mq-name"))
    count = f"{len(queue.ready):,} of {queue.limit:,} places taken" if queue.limit else f"{len(queue.ready):,} ready"
    scene.append(text(_LANE[1], lane_top - 9, count, "mq-soft mq-end"))
    scene.append(box(_LANE[0], lane_top, _LANE[1] - _LANE[0], SIZE + 16, "mq-lane"))
    for i in range(min(queue.limit, ROOM)):
        scene.append(box(_LANE[1] - 8 - SIZE - i * PITCH, middle - SIZE / 2, SIZE, SIZE, "mq-box mq-faded"))
    for n, who in enumerate(producers):
        y = centre(n, len(producers))
        scene += arrow(_PRODUCER[1], y, _LANE[0], middle)
        scene.append(_actor("put", queue, who, _PRODUCER, y, puts))
    for n, consumer in enumerate(consumers):
        y = centre(n, len(consumers))
        scene += arrow(_LANE[1], middle, _CONSUMER[0], y)
        scene.append(_actor("get", queue, consumer.name, _CONSUMER, y, gets))
        for i, id in enumerate(first(consumer.holding, HELD)):
            tokens.append(token(state.messages[id], _CONSUMER[1] - 8 - SIZE / 2 - i * PITCH, y))
        if len(consumer.holding) > HELD:
            scene.append(text(_CONSUMER[1] - 8, y + 32, f"+ {len(consumer.holding) - HELD:,}", "mq-soft mq-end"))
        for i, message in enumerate(list(consumer.done)[: -DONE - 1 : -1]):
            tokens.append(token(message, _DONE[0] + 4 + SIZE / 2 + i * PITCH, y))
        if consumer.acked:
            scene.append(text(_DONE[0] + 6, y - 28, f"{consumer.acked:,} done, the latest first", "mq-soft"))

    # The head, which is delivered next, is on the right; what has no room is counted at the tail.
    fits = ROOM if len(queue.ready) <= ROOM else ROOM - 1
    for i, id in enumerate(first(queue.ready, fits)):
        message = state.messages[id]
        x = _LANE[1] - 8 - SIZE / 2 - i * PITCH
        tokens.append(token(message, x, middle, _came_from(message, producers, centre)))
    if len(queue.ready) > fits:
        scene.append(text(_LANE[0] + 8, middle + 5, f"+ {len(queue.ready) - fits:,}"))
    bottom = top + _HEAD + height
    for words in whom(waiting, producers, [consumer.name for consumer in consumers]):
        scene.append(text(_LANE[0], bottom + 14, words, "mq-soft"))
        bottom += 20
    return bottom + 6


def whom(waiting: dict[str, list[str]], producers: list[str], consumers: list[str]) -> list[str]:
    """Say who waits for whom: a producer at a full queue for a consumer, a consumer at an empty one for a producer."""
    said = []
    for verb, others, act in (("put", consumers, "take"), ("get", producers, "put")):
        if waiting[verb]:
            s = "s" if len(waiting[verb]) == 1 else ""
            free = [who for who in others if who not in waiting["get" if verb == "put" else "put"]]
            said.append(f"{_list(waiting[verb])} wait{s} for {_list(free, ' or ') or 'somebody'} to {act} something.")
    return said


def _list(names: list[str], last: str = " and ") -> str:
    few = [cut(name, 12) for name in names[:4]] + ([f"{len(names) - 4} others"] if len(names) > 4 else [])
    return last.join(filter(None, [", ".join(few[:-1]), *few[-1:]]))


def _came_from(
    message: Message, producers: list[str], centre: Callable[[int, int], float]
) -> tuple[float, float] | None:
    if message.deliveries or message.producer not in producers:
        return None
    return (sum(_PRODUCER) / 2, centre(producers.index(message.producer), len(producers)))


def _actor(verb: str, queue: Queue, who: str, column: tuple[float, float], y: float, button: bool) -> svg.G:
    """Draw a producer or a consumer; as a button it sends `put:QUEUE:WHO` or `get:QUEUE:WHO`. Who waits is dashed."""
    left, right = column
    words = f"{who} puts a message into {queue.name}" if verb == "put" else f"{who} takes a message from {queue.name}"
    waits = queue.waits.get(who) == verb
    note = ("waits: full" if verb == "put" else "waits: empty") if waits else f"▸ {verb}"
    name = who if len(who) <= 10 else who[:9] + "…"
    return svg.G(
        class_=["mq-actor", *(["mq-clickable"] if button else [])],
        extra=clickable(f"{verb}:{queue.name}:{who}", words) if button else None,
        elements=[
            box(left, y - 26, right - left, 52, "mq-box mq-faded" if waits else "mq-box"),
            text(left + 10, y + (-2 if button or waits else 5), name, "mq-name"),
            *([text(left + 10, y + 17, note, "mq-soft")] if button or waits else []),
        ],
    )


def _balance(state: State) -> str:
    """Say where every message is: published = ready + unacked + ended."""
    ended = "".join(f" + {state.ended[end]:,} {end}" for end in ENDED if state.ended[end])
    return f"{state.published:,} published = {state.ready:,} ready + {state.unacked:,} unacked{ended}"


def show(
    what: Trace | Traced,
    *,
    on_put: Callable[[str, str], object] | None = None,
    on_get: Callable[[str, str], object] | None = None,
    title: str = "Queue",
) -> Player:
    """Show a trace, or a watched queue, as a picture that moves.

    With `on_put` and `on_get` a click on a producer or consumer calls them with (queue name, its name).
    """
    trace = trace_of(what)

    def picture(state: State) -> str:
        return draw(state, puts=on_put is not None, gets=on_get is not None)

    def click(action: str) -> None:
        verb, queue, who = action.split(":", 2)
        call = on_put if verb == "put" else on_get
        if call:
            call(queue, who)

    return Player(trace, picture, says=says, on_click=click, title=title, live=not isinstance(what, Trace))
