"""What holds at one moment: the fold of a trace's events up to there."""

from __future__ import annotations

from bisect import insort
from collections import Counter, deque
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mqlab.trace import Event

ENDED = ("acked", "dead-lettered", "expired", "dropped", "returned")
SHOWN_DONE = 12  # a consumer remembers this many of the messages it has finished

# What may end a message, from which states, and what it is called then.
_ENDINGS = {
    "ack": (("unacked",), "acked"),
    "dead-letter": (("ready", "requeued", "unacked"), "dead-lettered"),
    "expire": (("ready", "requeued"), "expired"),
    "drop": (("ready", "requeued", "unacked"), "dropped"),
    "return": (("ready",), "returned"),
}
KINDS = ("declare", "produce", "consume", "cancel", "publish", "deliver", "requeue", *_ENDINGS)


class TraceError(ValueError):
    """An event that cannot follow the ones before it."""


@dataclass(frozen=True, slots=True)
class Message:
    """One message: `state` is ready, requeued or unacked while it lives, then one of ENDED."""

    id: str
    label: str
    queue: str
    producer: str
    number: int  # counts the queue's messages in the order of publishing
    state: str = "ready"
    holder: str = ""
    deliveries: int = 0


@dataclass(slots=True)
class Queue:
    """A queue: the ids of its ready messages, the first to be delivered first."""

    name: str
    ready: list[str] = field(default_factory=list)
    published: int = 0


@dataclass(slots=True)
class Consumer:
    """A consumer of one queue: what it holds unacked, and the last messages it has acked."""

    name: str
    queue: str
    holding: list[str] = field(default_factory=list)
    done: deque[Message] = field(default_factory=lambda: deque(maxlen=SHOWN_DONE))
    acked: int = 0


@dataclass(slots=True)
class State:
    """Queues, producers, consumers and live messages after `moment` events.

    `producers` maps (queue, name) to the number of messages it has published there; `consumers` has the same keys.
    `ended` counts the messages that are no more, by how they ended.
    """

    moment: int = 0
    queues: dict[str, Queue] = field(default_factory=dict)
    producers: dict[tuple[str, str], int] = field(default_factory=dict)
    consumers: dict[tuple[str, str], Consumer] = field(default_factory=dict)
    messages: dict[str, Message] = field(default_factory=dict)
    ended: Counter[str] = field(default_factory=Counter)

    @property
    def published(self) -> int:
        """Messages published so far, in all queues."""
        return sum(queue.published for queue in self.queues.values())

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
        return State(
            self.moment,
            {k: Queue(q.name, q.ready.copy(), q.published) for k, q in self.queues.items()},
            self.producers.copy(),
            {k: Consumer(c.name, c.queue, c.holding.copy(), c.done.copy(), c.acked) for k, c in self.consumers.items()},
            self.messages.copy(),
            self.ended.copy(),
        )

    def __str__(self) -> str:
        parts = []
        for queue in self.queues.values():
            ready = ", ".join(self.messages[m].label for m in queue.ready[:8]) or "nothing"
            more = f" and {len(queue.ready) - 8:,} more" if len(queue.ready) > 8 else ""
            parts.append(f"{queue.name}: {ready}{more} ready")
        for consumer in self.consumers.values():
            held = ", ".join(self.messages[m].label for m in consumer.holding[:8])
            if held:
                parts.append(f"{consumer.name} holds {held}")
        return "; ".join(parts) or "nothing yet"


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
    if event.kind in ("declare", "produce", "consume"):
        _require(event, bool(event.queue), "it names no queue")
        state.queues.setdefault(event.queue, Queue(event.queue))
        if event.kind == "produce":
            state.producers.setdefault((event.queue, event.who), 0)
        elif event.kind == "consume":
            state.consumers.setdefault((event.queue, event.who), Consumer(event.who, event.queue))
    elif event.kind == "publish":
        _publish(state, event)
    elif event.kind == "cancel":
        consumer = state.consumers.get((event.queue, event.who))
        _require(event, consumer is not None, f"{event.who!r} does not consume from {event.queue!r}")
        _require(event, not (consumer and consumer.holding), f"{event.who!r} still holds messages")
        del state.consumers[event.queue, event.who]
    else:
        _require(event, event.kind in KINDS, f"no such kind; there are {', '.join(KINDS)}")
        message = state.messages.get(event.message)
        if message is None:
            raise _refused(event, f"no message {event.message!r} is ready or unacked")
        if event.kind == "deliver":
            _deliver(state, event, message)
        elif event.kind == "requeue":
            _require(event, message.state == "unacked", f"it is {message.state}, not unacked")
            _take_away(state, message)
            _put_back(state, message)
        else:
            sources, ending = _ENDINGS[event.kind]
            _require(event, message.state in sources, f"it is {message.state}, not {' or '.join(sources)}")
            _take_away(state, message)
            _end(state, message, ending)
    state.moment += 1


def _publish(state: State, event: Event) -> None:
    _require(event, bool(event.queue), "it names no queue")
    _require(event, bool(event.message), "it names no message")
    _require(event, event.message not in state.messages, "that message is in a queue already")
    queue = state.queues.setdefault(event.queue, Queue(event.queue))
    key = (event.queue, event.who)
    state.producers[key] = state.producers.get(key, 0) + 1
    queue.published += 1
    label = event.label or event.message
    state.messages[event.message] = Message(event.message, label, event.queue, event.who, queue.published)
    queue.ready.append(event.message)


def _deliver(state: State, event: Event, message: Message) -> None:
    _require(event, message.state != "unacked", f"{message.holder!r} holds it")
    _require(event, event.queue in ("", message.queue), f"it is in {message.queue!r}")
    state.queues[message.queue].ready.remove(message.id)
    key = (message.queue, event.who)
    consumer = state.consumers.setdefault(key, Consumer(event.who, message.queue))
    consumer.holding.append(message.id)
    state.messages[message.id] = replace(message, state="unacked", holder=event.who, deliveries=message.deliveries + 1)


def _take_away(state: State, message: Message) -> None:
    """Take a live message from its queue or its holder."""
    if message.state == "unacked":
        state.consumers[message.queue, message.holder].holding.remove(message.id)
    else:
        state.queues[message.queue].ready.remove(message.id)


def _put_back(state: State, message: Message) -> None:
    """Put a requeued message at its old place: before everything published later."""
    ready = state.queues[message.queue].ready
    insort(ready, message.id, key=lambda id: state.messages[id].number)
    state.messages[message.id] = replace(message, state="requeued", holder="")


def _end(state: State, message: Message, ending: str) -> None:
    del state.messages[message.id]
    state.ended[ending] += 1
    if ending == "acked":
        consumer = state.consumers[message.queue, message.holder]
        consumer.done.append(replace(message, state="acked"))
        consumer.acked += 1


def _require(event: Event, holds: bool, why_not: str) -> None:
    if not holds:
        raise _refused(event, why_not)


def _refused(event: Event, why: str) -> TraceError:
    what = f"{event.kind} of {event.message!r}" if event.message else event.kind
    return TraceError(f"The trace cannot go on with {what}: {why}.")
