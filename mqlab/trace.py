"""What happened to messages, in order: events, the trace that keeps them, and a queue that tells its trace."""

from __future__ import annotations

import threading
import time
from bisect import bisect_right
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import count
from typing import Any, Protocol

from mqlab.state import State, apply

CHECKPOINT = 256  # a state is kept every so many events, so that any moment is a short fold away


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened.

    `kind` is one of `mqlab.state.KINDS`; `t` is in seconds since the trace began; `who` is the producer or the
    consumer; `label` is the short text that a picture puts on the message; `seen` says how we know of it.
    """

    kind: str
    t: float = 0.0
    message: str = ""
    queue: str = ""
    who: str = ""
    label: str = ""
    seen: str = "simulated"


class Trace:
    """A growing list of events that always make sense together; any thread may add to it."""

    def __init__(self, events: Iterable[Event] = (), *, clock: Callable[[], float] = time.monotonic) -> None:
        """Begin with `events`; `clock` gives the seconds for what `tell` adds."""
        self._lock = threading.RLock()
        self._clock = clock
        self._began: float | None = None
        self._events: list[Event] = []
        self._now = State()
        self._checkpoints = [State()]
        self._listeners: list[Callable[[], None]] = []
        for event in events:
            self.append(event)

    @property
    def events(self) -> tuple[Event, ...]:
        """The events so far."""
        with self._lock:
            return tuple(self._events)

    def __len__(self) -> int:
        return len(self._events)

    def __getitem__(self, n: int) -> Event:
        return self._events[n]

    def __repr__(self) -> str:
        return f"Trace of {len(self)} events: {self._now}"

    def tell(self, kind: str, **fields: Any) -> Event:
        """Append an event that happens now, and return it."""
        with self._lock:
            now = self._clock()
            if self._began is None:
                self._began = now
            event = Event(kind, t=now - self._began, **fields)
            self._add(event)
        self._notify()
        return event

    def append(self, event: Event) -> None:
        """Append an event; raises TraceError, and keeps nothing of it, when it cannot follow the others."""
        with self._lock:
            self._add(event)
        self._notify()

    def _add(self, event: Event) -> None:
        apply(self._now, event)
        self._events.append(event)
        if len(self._events) % CHECKPOINT == 0:
            self._checkpoints.append(self._now.copy())

    def state(self, moment: int | None = None) -> State:
        """Return the state after the first `moment` events (0 to len), or after all of them."""
        with self._lock:
            if moment is None:
                return self._now.copy()
            if not 0 <= moment <= len(self._events):
                raise IndexError(f"This trace has the moments 0 to {len(self._events)}, not {moment}.")
            state = self._checkpoints[moment // CHECKPOINT].copy()
            for event in self._events[state.moment : moment]:
                apply(state, event)
            return state

    def moment(self, t: float) -> int:
        """Return the number of events that had happened at `t` seconds."""
        return bisect_right(self._events, t, key=lambda event: event.t)

    def listen(self, callback: Callable[[], None]) -> Callable[[], None]:
        """Call `callback()` after each append, in the appending thread; the function returned ends that."""
        self._listeners.append(callback)
        return lambda: self._listeners.remove(callback) if callback in self._listeners else None

    def _notify(self) -> None:
        for callback in tuple(self._listeners):
            callback()


class PutGet(Protocol):
    """What `watch` needs of a queue: the learner's own class will do."""

    def put(self, item: Any, /) -> object: ...
    def get(self) -> Any: ...


class Watched:
    """A queue of any kind whose every `put` and `get` is told to a trace; made by `watch`."""

    def __init__(self, queue: PutGet, name: str, trace: Trace, producer: str, consumer: str) -> None:
        self.queue, self.name, self.trace = queue, name, trace
        self._producer, self._consumer = producer, consumer
        self._waiting: list[tuple[str, Any]] = []
        self._count = 0
        trace.tell("produce", queue=name, who=producer)
        trace.tell("consume", queue=name, who=consumer)

    def put(self, item: Any, by: str | None = None) -> None:
        """Put `item` into the queue, as the producer `by`."""
        self.queue.put(item)
        self._count += 1
        message = f"{self.name}:{self._count}"
        self._waiting.append((message, item))
        label = item[-1] if isinstance(item, tuple) else item  # (priority, name): the name is what one reads
        self.trace.tell("publish", message=message, queue=self.name, who=by or self._producer, label=str(label))

    def get(self, by: str | None = None) -> Any:
        """Take the next item from the queue, as the consumer `by`; errors of the queue come through."""
        item = self.queue.get()
        who = by or self._consumer
        message = next((m for m, x in self._waiting if x is item), None) or next(
            (m for m, x in self._waiting if x == item), None
        )
        if message is None:
            raise ValueError(f"{self.name} gave {item!r}, which nobody has put into it. What does its get() return?")
        self._waiting = [(m, x) for m, x in self._waiting if m != message]
        self.trace.tell("deliver", message=message, queue=self.name, who=who)
        self.trace.tell("ack", message=message, queue=self.name, who=who)
        return item

    def __len__(self) -> int:
        return len(self._waiting)

    def __repr__(self) -> str:
        return f"{self.name}: {len(self)} waiting"


def watch(
    queue: PutGet,
    name: str = "queue",
    *,
    trace: Trace | None = None,
    producer: str = "producer",
    consumer: str = "consumer",
) -> Watched:
    """Return `queue` with the same `put` and `get`, each of which is told to `trace` (a new one where none is given).

    Queues that share a trace are drawn side by side.
    """
    # One event a second: what counts here is the order, not how fast the cell ran.
    return Watched(queue, name, trace if trace is not None else ticking(), producer, consumer)


def ticking() -> Trace:
    """Return a trace whose clock moves on by one second an event."""
    ticks = count()
    return Trace(clock=lambda: float(next(ticks)))
