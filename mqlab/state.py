"""What holds at one moment: the fold of a trace's events up to there."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from dataclasses import replace as changed
from itertools import takewhile
from typing import Any, NamedTuple

from mqlab.event import Event

LIVE = ("published", "ready", "requeued", "unacked")
# How troubles begin that last until they are ended: pictures have a button for the end then.
SLOW, STOPPED = "The network is slow", "The broker was stopped"
DEFAULT = "(default)"  # what the exchange without a name is called here
ENDED = ("acked", "dead-lettered", "expired", "dropped", "returned")
SHOWN_DONE = 12  # a consumer remembers this many of the messages it has finished
RECENT = 64  # so many frames, finished messages and connections that have gone are remembered in all
MEASURED = 1000  # the times of so many finished messages are remembered
STEPS = 12  # of a message's history

# What may end a message, from which states, and what it is called then.
_ENDINGS = {
    "ack": (("unacked",), "acked"),
    "dead-letter": (("ready", "requeued", "unacked"), "dead-lettered"),
    "expire": (("ready", "requeued"), "expired"),
    "drop": (LIVE, "dropped"),
    "return": (("published", "ready"), "returned"),
}


class TraceError(ValueError):
    """An event that cannot follow the ones before it."""


class Message(NamedTuple):
    """One message in one place: `state` is one of LIVE, then one of ENDED.

    It is "published" while the exchange `exchange` has it; `steps` are the states it has been in with the time of each,
    in seconds since the trace began (the latest STEPS of them); `seen` says how it is known to be where it is. What
    goes to several queues is several messages.
    """

    id: str
    label: str
    queue: str
    producer: str
    number: int  # counts the queue's messages in the order of arriving
    state: str = "ready"
    holder: str = ""
    deliveries: int = 0
    exchange: str = ""
    key: str = ""
    seen: str = "simulated"
    steps: tuple[tuple[str, float], ...] = ()


class Binding(NamedTuple):
    """A way from an exchange to a queue or (`kind`) to another exchange; `match` tells of its arguments."""

    exchange: str
    kind: str
    to: str
    key: str
    match: str = ""


@dataclass(slots=True)
class Exchange:
    """An exchange, and the messages that it has not passed on yet."""

    name: str
    type: str = "direct"
    alternate: str = ""
    holding: dict[str, None] = field(default_factory=dict)
    dropped: int = 0


@dataclass(slots=True)
class Queue:
    """A queue: the ids of its ready messages, the first to be delivered first.

    `type` is classic or quorum, `limit` how many it holds (0: no limit), `dead_to` the exchange and the key (None: the
    message's own) of what dies here. `waits` maps who has to wait here to what for: "put" or "get".
    """

    name: str
    ready: deque[str] = field(default_factory=deque)
    published: int = 0
    type: str = ""
    limit: int = 0
    dead_to: tuple[str, str | None] | None = None
    waits: dict[str, str] = field(default_factory=dict)
    dropped: int = 0


@dataclass(slots=True)
class Consumer:
    """A consumer of one queue: what it holds unacked, and the last messages it has acked; `prefetch` 0: no limit."""

    name: str
    queue: str
    holding: dict[str, None] = field(default_factory=dict)
    done: deque[Message] = field(default_factory=lambda: deque(maxlen=SHOWN_DONE))
    acked: int = 0
    prefetch: int = 0
    auto_ack: bool = False
    connection: str = ""
    channel: int = 0


@dataclass(slots=True)
class Sender:
    """A producer that publishes to an exchange: how many messages, and what the broker has said of them."""

    published: int = 0
    confirmed: int = 0
    refused: int = 0
    returned: int = 0


@dataclass(slots=True)
class Channel:
    """A channel of a connection: `prefetch` is for the consumers to come, `frames` counts what crossed the wire."""

    number: int
    prefetch: int = 0
    confirms: bool = False
    frames: int = 0


@dataclass(slots=True)
class Connection:
    """A connection: its channels while it is open, else why it has ended; `blocked`: may not publish for now.

    `elsewhere`: it does not go through the tap, and stands for all that speak that protocol.
    """

    name: str
    channels: dict[int, Channel] = field(default_factory=dict)
    open: bool = True
    why: str = ""
    blocked: bool = False
    elsewhere: bool = False


@dataclass(slots=True)
class State:
    """All that is known after `moment` events, at `t` seconds.

    `producers` maps (queue, name) to the number of messages put into that queue, `senders` (exchange, name) to what was
    published there; `consumers` has the keys (queue, name). `published` counts publishings, `copied` the copies that
    exchanges made beyond one each, `ended` the messages that are no more, by how they ended. So at each moment
    published + copied = in_exchange + ready + unacked + all that ended. `done` are the last messages that ended,
    `measured` the (waiting, processing) seconds of the last ones acked, `frames` the last frames on the wire.
    """

    moment: int = 0
    t: float = 0.0
    queues: dict[str, Queue] = field(default_factory=dict)
    exchanges: dict[str, Exchange] = field(default_factory=dict)
    bindings: dict[Binding, None] = field(default_factory=dict)
    connections: dict[str, Connection] = field(default_factory=dict)
    producers: dict[tuple[str, str], int] = field(default_factory=dict)
    senders: dict[tuple[str, str], Sender] = field(default_factory=dict)
    consumers: dict[tuple[str, str], Consumer] = field(default_factory=dict)
    messages: dict[str, Message] = field(default_factory=dict)
    published: int = 0
    copied: int = 0
    ended: Counter[str] = field(default_factory=Counter)
    waiting: float = 0.0  # seconds, of all acked messages together: from publishing to the last delivery
    processing: float = 0.0  # the same, from there to the ack
    measured: deque[tuple[float, float]] = field(default_factory=lambda: deque(maxlen=MEASURED))
    done: deque[Message] = field(default_factory=lambda: deque(maxlen=RECENT))
    gone: deque[tuple[str, str, str]] = field(default_factory=lambda: deque(maxlen=6))  # consumers: queue, name, why
    frames: deque[Event] = field(default_factory=lambda: deque(maxlen=RECENT))
    framed: int = 0  # frames so far
    trouble: str = ""  # what a reader has just done to the broker or to the network

    @property
    def in_exchange(self) -> int:
        """Messages that an exchange has and no queue yet."""
        return sum(len(exchange.holding) for exchange in self.exchanges.values())

    @property
    def ready(self) -> int:
        """Messages that wait in a queue, those that came back among them."""
        return sum(len(queue.ready) for queue in self.queues.values())

    @property
    def unacked(self) -> int:
        """Messages delivered to a consumer that has not said yet what became of them."""
        return sum(len(consumer.holding) for consumer in self.consumers.values())

    def copy(self) -> State:
        """Return a state that shares nothing that changes with this one."""
        new = changed(self)
        new.queues = {k: changed(q, ready=q.ready.copy(), waits=q.waits.copy()) for k, q in self.queues.items()}
        new.exchanges = {k: changed(e, holding=e.holding.copy()) for k, e in self.exchanges.items()}
        new.connections = {
            k: changed(c, channels={n: changed(channel) for n, channel in c.channels.items()})
            for k, c in self.connections.items()
        }
        new.consumers = {k: changed(c, holding=c.holding.copy(), done=c.done.copy()) for k, c in self.consumers.items()}
        new.senders = {k: changed(s) for k, s in self.senders.items()}
        for name in ("bindings", "producers", "messages", "ended", "measured", "done", "gone", "frames"):
            setattr(new, name, getattr(self, name).copy())
        return new

    def __str__(self) -> str:
        parts = []
        for queue in self.queues.values():
            ready = ", ".join(self.messages[m].label for m in first(queue.ready, 8)) or "nothing"
            more = f" and {len(queue.ready) - 8:,} more" if len(queue.ready) > 8 else ""
            parts.append(f"{queue.name}: {ready}{more} ready")
        for consumer in self.consumers.values():
            held = ", ".join(self.messages[m].label for m in first(consumer.holding, 8))
            if held:
                parts.append(f"{consumer.name} holds {held}")
        return "; ".join(parts) or "nothing yet"


def first(ids: Iterable[str], n: int) -> list[str]:
    """Return the first `n` of them, or all when there are fewer."""
    return [each for each, _ in zip(ids, range(n), strict=False)]


def fold(events: Iterable[Event], start: State | None = None) -> State:
    """Return the state after `events`, beginning at `start` (unchanged) or at an empty state.

    Raises TraceError for the first event that cannot follow those before it.
    """
    state = start.copy() if start else State()
    for event in events:
        apply(state, event)
    return state


def apply(state: State, event: Event) -> None:
    """Change `state` by one event; on TraceError it is as it was."""
    change = _CHANGES.get(event.kind)
    if change is None:
        raise _refused(event, f"no such kind; there are {', '.join(KINDS)}")
    change(state, event)
    state.moment += 1
    state.t = event.t
    if event.frame:
        state.frames.append(event)
        state.framed += 1
        connection = state.connections.get(event.connection)
        if connection and event.channel in connection.channels:
            connection.channels[event.channel].frames += 1


# ---- queues, exchanges, bindings


def _declare(state: State, event: Event) -> None:
    _require(event, bool(event.queue), "it names no queue")
    queue = state.queues.setdefault(event.queue, Queue(event.queue))
    if event.facts:
        queue.type = event.facts.get("type", queue.type)
        queue.limit = event.facts.get("limit", queue.limit)
        dead_to = event.facts.get("dead_to")
        if dead_to:
            queue.dead_to = (dead_to[0], dead_to[1])
            if dead_to[0] == DEFAULT:  # it is always there; shown where it is needed
                state.exchanges.setdefault(DEFAULT, Exchange(DEFAULT))


def _unseen(name: str) -> Exchange:
    """Return an exchange that nobody was seen to declare; of the broker's own ones the name tells the type."""
    own = ("amq.topic", "amq.fanout", "amq.headers", "amq.match")
    return Exchange(name, name[4:].replace("match", "headers") if name in own else "direct")


def _exchange(state: State, event: Event) -> None:
    facts = event.facts or {}
    state.exchanges.setdefault(
        event.exchange, Exchange(event.exchange, facts.get("type", "direct"), facts.get("alternate", ""))
    )


def _delete(state: State, event: Event) -> None:
    """A queue or an exchange goes; its messages have gone before, each by its own event, and so have its consumers."""
    if event.queue:
        queue = state.queues.get(event.queue)
        held = any(c.queue == event.queue and c.holding for c in state.consumers.values())
        _require(event, queue is not None, f"there is no queue {event.queue!r}")
        _require(event, not (queue and queue.ready) and not held, "it still has messages")
        del state.queues[event.queue]
        for key in [key for key in state.producers if key[0] == event.queue]:
            del state.producers[key]
        for key in [key for key in state.consumers if key[0] == event.queue]:
            del state.consumers[key]
    else:
        exchange = state.exchanges.get(event.exchange)
        _require(event, exchange is not None, f"there is no exchange {event.exchange!r}")
        _require(event, not (exchange and exchange.holding), "it still has messages")
        del state.exchanges[event.exchange]
        for key in [key for key in state.senders if key[0] == event.exchange]:
            del state.senders[key]
    name, kind = (event.queue, "queue") if event.queue else (event.exchange, "exchange")
    gone = [b for b in state.bindings if (b.kind, b.to) == (kind, name) or (kind, b.exchange) == ("exchange", name)]
    for binding in gone:
        del state.bindings[binding]


def _binding(event: Event) -> Binding:
    facts = event.facts or {}
    kind, to = ("queue", event.queue) if event.queue else ("exchange", facts.get("to", ""))
    return Binding(event.exchange, kind, to, event.key, facts.get("match", ""))


def _bind(state: State, event: Event) -> None:
    state.exchanges.setdefault(event.exchange, _unseen(event.exchange))
    state.bindings[_binding(event)] = None


def _unbind(state: State, event: Event) -> None:
    _require(event, _binding(event) in state.bindings, "there is no such binding")
    del state.bindings[_binding(event)]


# ---- connections and channels


def _connect(state: State, event: Event) -> None:
    _require(event, bool(event.connection), "it names no connection")
    state.connections.pop(event.connection, None)
    state.connections[event.connection] = Connection(event.connection, elsewhere=event.seen == "firehose")


def _connection(state: State, event: Event) -> Connection:
    connection = state.connections.get(event.connection)
    if connection is None:
        raise _refused(event, f"there is no connection {event.connection!r}")
    return connection


def _disconnect(state: State, event: Event) -> None:
    connection = _connection(state, event)
    connection.open, connection.why, connection.blocked = False, event.why, False
    connection.channels.clear()
    ended = [c for c in state.connections.values() if not c.open]
    for old in ended[:-6]:
        del state.connections[old.name]
        for key in [key for key in state.senders if key[1] == old.name]:
            del state.senders[key]


def _open(state: State, event: Event) -> None:
    _connection(state, event).channels[event.channel] = Channel(event.channel)


def _close(state: State, event: Event) -> None:
    _connection(state, event).channels.pop(event.channel, None)


def _channel(state: State, event: Event) -> Channel:
    channel = _connection(state, event).channels.get(event.channel)
    if channel is None:
        raise _refused(event, f"{event.connection!r} has no open channel {event.channel}")
    return channel


def _qos(state: State, event: Event) -> None:
    _channel(state, event).prefetch = (event.facts or {}).get("prefetch", 0)


def _confirms(state: State, event: Event) -> None:
    _channel(state, event).confirms = True


def _block(state: State, event: Event) -> None:
    _connection(state, event).blocked = True


def _unblock(state: State, event: Event) -> None:
    _connection(state, event).blocked = False


# ---- who produces, who consumes, who has to wait


def _produce(state: State, event: Event) -> None:
    _require(event, bool(event.queue), "it names no queue")
    state.queues.setdefault(event.queue, Queue(event.queue))
    state.producers.setdefault((event.queue, event.who), 0)


def _consume(state: State, event: Event) -> None:
    _require(event, bool(event.queue), "it names no queue")
    state.queues.setdefault(event.queue, Queue(event.queue))
    consumer = state.consumers.setdefault((event.queue, event.who), Consumer(event.who, event.queue))
    if event.facts:
        consumer.prefetch = event.facts.get("prefetch", 0)
        consumer.auto_ack = event.facts.get("auto_ack", False)
    consumer.connection, consumer.channel = event.connection, event.channel


def _cancel(state: State, event: Event) -> None:
    consumer = state.consumers.get((event.queue, event.who))
    _require(event, consumer is not None, f"{event.who!r} does not consume from {event.queue!r}")
    _require(event, not (consumer and consumer.holding), f"{event.who!r} still holds messages")
    del state.consumers[event.queue, event.who]
    if event.why:
        state.gone.append((event.queue, event.who, event.why))


def _wait(state: State, event: Event) -> None:
    queue = state.queues.get(event.queue)
    if queue is None:
        raise _refused(event, f"there is no queue {event.queue!r}")
    queue.waits[event.who] = event.why or "get"


def _go_on(state: State, event: Event) -> None:
    queue = state.queues.get(event.queue)
    if queue is None or event.who not in queue.waits:
        raise _refused(event, f"{event.who!r} does not wait at {event.queue!r}")
    del queue.waits[event.who]


# ---- messages


def _publish(state: State, event: Event) -> None:
    """A message comes into a queue; or into an exchange, which passes it on by a `route`."""
    _require(event, bool(event.message), "it names no message")
    _require(event, event.message not in state.messages, "that message is in a queue already")
    _require(event, bool(event.queue or event.exchange), "it names no queue")
    label, steps = event.label or event.message, (("published", event.t),)
    state.published += 1
    if event.queue:
        queue = state.queues.setdefault(event.queue, Queue(event.queue))
        key = (event.queue, event.who)
        state.producers[key] = state.producers.get(key, 0) + 1
        queue.published += 1
        queue.ready.append(event.message)
        new = Message(event.message, label, event.queue, event.who, queue.published, seen=event.seen, steps=steps)
    else:
        exchange = state.exchanges.setdefault(event.exchange, _unseen(event.exchange))
        exchange.holding[event.message] = None
        sender = state.senders.get((event.exchange, event.who))
        if sender is None:
            sender = state.senders[event.exchange, event.who] = Sender()
        sender.published += 1
        new = Message(
            event.message, label, "", event.who, 0, "published", "", 0, event.exchange, event.key, event.seen, steps
        )
    state.messages[event.message] = new


def copies(message: str, n: int) -> list[str]:
    """Return the ids of a message in `n` queues: its own, then ID/2, ID/3 ..."""
    return [message, *(f"{message}/{k}" for k in range(2, n + 1))]


def _route(state: State, event: Event) -> None:
    """An exchange passes a message on to the queues `event.queues`."""
    message = _message(state, event)
    _require(event, message.state == "published", f"it is {message.state}, not in an exchange")
    _require(event, bool(event.queues), "it names no queue")
    ids = copies(event.message, len(event.queues))
    taken = next((id for id in ids[1:] if id in state.messages), None)
    _require(event, taken is None, f"there is a message {taken!r} already")
    del state.exchanges[message.exchange].holding[message.id]
    state.copied += len(ids) - 1
    steps = (*message.steps, ("ready", event.t))
    for id, name in zip(ids, event.queues, strict=True):
        queue = state.queues.get(name)
        if queue is None:
            queue = state.queues[name] = Queue(name)
        queue.published += 1
        queue.ready.append(id)
        if message.exchange == DEFAULT:  # every queue is bound to it; shown is what was used
            state.bindings.setdefault(Binding(DEFAULT, "queue", name, name))
        state.messages[id] = message._replace(
            id=id, queue=name, number=queue.published, state="ready", seen=event.seen, steps=steps
        )


def _deliver(state: State, event: Event) -> None:
    message = _message(state, event)
    _require(event, message.state in ("ready", "requeued"), _not_there(message))
    _require(event, event.queue in ("", message.queue), f"it is in {message.queue!r}")
    state.queues[message.queue].ready.remove(message.id)
    key = (message.queue, event.who)
    consumer = state.consumers.get(key)
    if consumer is None:
        consumer = state.consumers[key] = Consumer(event.who, message.queue, connection=event.connection)
    consumer.holding[message.id] = None
    state.messages[message.id] = message._replace(
        label=event.label or message.label,
        state="unacked",
        holder=event.who,
        deliveries=message.deliveries + 1,
        seen=event.seen,
        steps=(*message.steps[-STEPS:], ("unacked", event.t)),
    )


def _not_there(message: Message) -> str:
    return f"{message.holder!r} holds it" if message.holder else f"it is {message.state}"


def _move(state: State, event: Event) -> None:
    """It waits in another queue than was worked out."""
    message = _message(state, event)
    _require(event, message.state == "ready", f"it is {message.state}, not ready")
    queue = state.queues.get(event.queue)
    if queue is None:
        raise _refused(event, f"there is no queue {event.queue!r}")
    _take_away(state, message)
    queue.ready.append(message.id)
    state.messages[message.id] = message._replace(queue=event.queue, seen=event.seen)


def _requeue(state: State, event: Event) -> None:
    message = _message(state, event)
    _require(event, message.state == "unacked", f"it is {message.state}, not unacked")
    _take_away(state, message)
    state.messages[message.id] = message._replace(
        state="requeued", holder="", seen=event.seen, steps=(*message.steps[-STEPS:], ("requeued", event.t))
    )
    _put_back(state, message)


def _ending(state: State, event: Event) -> None:
    message = _message(state, event)
    sources, ending = _ENDINGS[event.kind]
    _require(event, message.state in sources, f"it is {message.state}, not {' or '.join(sources)}")
    _take_away(state, message)
    del state.messages[message.id]
    state.ended[ending] += 1
    ended = message._replace(state=ending, seen=event.seen, steps=(*message.steps[-STEPS:], (ending, event.t)))
    state.done.append(ended)
    if ending == "acked":
        consumer = state.consumers[message.queue, message.holder]
        consumer.done.append(ended)
        consumer.acked += 1
        waited, worked = times(ended)
        state.waiting += waited
        state.processing += worked
        state.measured.append((waited, worked))
    elif ending == "dropped" and (queue := state.queues.get(event.queue or message.queue)):
        queue.dropped += 1
    elif ending == "dropped" and (exchange := state.exchanges.get(message.exchange)):
        exchange.dropped += 1
    elif ending == "returned" and (sender := state.senders.get((message.exchange, message.producer))):
        sender.returned += 1


def times(message: Message) -> tuple[float, float]:
    """Return for how many seconds a message waited, until its last delivery, and was processed, from there on."""
    taken = next((t for state, t in reversed(message.steps) if state == "unacked"), message.steps[-1][1])
    return taken - message.steps[0][1], message.steps[-1][1] - taken


def _confirm(state: State, event: Event) -> None:
    """The broker answers for messages that were published: `facts` says how many, and whether it took them."""
    facts = event.facts or {}
    sender = state.senders.get((event.exchange, event.who))
    if sender is None:
        raise _refused(event, f"{event.who!r} has published nothing to {event.exchange!r}")
    if facts.get("refused"):
        sender.refused += 1
    else:
        sender.confirmed += 1


def _trouble(state: State, event: Event) -> None:
    state.trouble = event.why


def _frame(state: State, event: Event) -> None:
    """A frame that changes nothing here."""


def _message(state: State, event: Event) -> Message:
    message = state.messages.get(event.message)
    if message is None:
        raise _refused(event, f"no message {event.message!r} is ready or unacked")
    return message


def _take_away(state: State, message: Message) -> None:
    """Take a live message from its exchange, its queue or its holder."""
    if message.state == "unacked":
        del state.consumers[message.queue, message.holder].holding[message.id]
    elif message.state == "published":
        del state.exchanges[message.exchange].holding[message.id]
    else:
        state.queues[message.queue].ready.remove(message.id)


def _put_back(state: State, message: Message) -> None:
    """Put a requeued message at its old place, before everything published later.

    In a quorum queue it goes behind those that came back before, and before all others.
    """
    queue = state.queues[message.queue]
    before: Callable[[str], bool] = (
        (lambda id: state.messages[id].state == "requeued")
        if queue.type == "quorum"
        else (lambda id: state.messages[id].number < message.number)
    )
    queue.ready.insert(sum(1 for _ in takewhile(before, queue.ready)), message.id)


def _require(event: Event, holds: bool, why_not: str) -> None:
    if not holds:
        raise _refused(event, why_not)


def _refused(event: Event, why: str) -> TraceError:
    what = f"{event.kind} of {event.message!r}" if event.message else event.kind
    return TraceError(f"The trace cannot go on with {what}: {why}.")


_CHANGES: Mapping[str, Callable[[State, Any], None]] = {
    "declare": _declare,
    "exchange": _exchange,
    "delete": _delete,
    "bind": _bind,
    "unbind": _unbind,
    "connect": _connect,
    "disconnect": _disconnect,
    "open": _open,
    "close": _close,
    "qos": _qos,
    "confirms": _confirms,
    "block": _block,
    "unblock": _unblock,
    "produce": _produce,
    "consume": _consume,
    "cancel": _cancel,
    "wait": _wait,
    "go-on": _go_on,
    "publish": _publish,
    "route": _route,
    "confirm": _confirm,
    "move": _move,
    "deliver": _deliver,
    "requeue": _requeue,
    **dict.fromkeys(_ENDINGS, _ending),
    "trouble": _trouble,
    "frame": _frame,
}
KINDS = tuple(_CHANGES)
