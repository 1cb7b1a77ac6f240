"""What happened to messages, in order: the trace that keeps events, and queues that tell theirs."""

from __future__ import annotations

import json
import threading
import time
from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from itertools import chain, count
from pathlib import Path
from queue import Empty, Full, Queue
from typing import Any, Protocol

from mqlab.event import Event
from mqlab.saving import event_from_json, event_to_json, state_from_json, state_to_json
from mqlab.state import State, TraceError, apply

CHECKPOINT = 256  # a state is kept every so many events, or fewer times where it is large
LIMIT = 100_000  # events that a trace keeps unless told otherwise
FORMAT = 1  # of a saved trace


class Trace:
    """A growing list of events that always make sense together; any thread may add to it.

    It keeps the newest `limit` events, or a few more. Older ones are folded into the state that it begins with, and
    counted: `first` is the number of the first moment that can still be shown.
    """

    def __init__(
        self,
        events: Iterable[Event] = (),
        *,
        clock: Callable[[], float] = time.monotonic,
        limit: int = LIMIT,
        base: State | None = None,
    ) -> None:
        """Begin with the state `base` and `events`; `clock` gives the seconds for what `tell` adds."""
        self._lock = threading.RLock()
        self._clock = clock
        self._limit = limit
        self._began: float | None = None
        self._events: list[Event] = []
        self._now = base.copy() if base else State()
        self._checkpoints = [self._now.copy()]  # the first is the state before the oldest event that is kept
        self._listeners: list[Callable[[], None]] = []
        self.extend(events)

    @property
    def first(self) -> int:
        """The first moment that can be shown: so many events have been folded away."""
        return self._checkpoints[0].moment

    @property
    def events(self) -> tuple[Event, ...]:
        """The events that are kept, the oldest first."""
        with self._lock:
            return tuple(self._events)

    def __len__(self) -> int:
        """How many events there have been, those folded away among them: the number of the newest moment."""
        return self._now.moment

    def __getitem__(self, n: int) -> Event:
        """Return event `n`, the one that leads from moment n to moment n + 1."""
        with self._lock:
            n = n + len(self) if n < 0 else n
            if not self.first <= n < len(self):
                raise IndexError(f"This trace has the events {self.first} to {len(self) - 1}, not {n}.")
            return self._events[n - self.first]

    def __iter__(self) -> Iterator[Event]:
        return iter(self.events)

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
        self.extend((event,))

    def extend(self, events: Iterable[Event]) -> None:
        """Append events; raises TraceError at the first that cannot follow, when those before it are in."""
        try:
            with self._lock:
                for event in events:
                    self._add(event)
        finally:
            self._notify()

    def _add(self, event: Event) -> None:
        apply(self._now, event)
        self._events.append(event)
        # A checkpoint costs as much as the state is large: of a large one there are fewer, but enough to fold away by.
        apart = max(CHECKPOINT, min(len(self._now.messages), min(self._limit, LIMIT) // 2))
        if self._now.moment - self._checkpoints[-1].moment >= apart:
            self._checkpoints.append(self._now.copy())
            if len(self._events) > self._limit + self._limit // 8:
                self._fold_away()

    def restart(self, base: State) -> None:
        """Go on from this state: what led to it is not known, and all of it counts as folded away."""
        with self._lock:
            self._now = base.copy()
            self._events.clear()
            self._checkpoints = [base.copy()]
        self._notify()

    def _fold_away(self) -> None:
        """Forget the oldest events, up to a checkpoint that leaves about `limit` of them."""
        begin = len(self) - self._limit
        n = bisect_right(self._checkpoints, begin, key=lambda state: state.moment) - 1
        if n > 0:
            del self._events[: self._checkpoints[n].moment - self.first]
            del self._checkpoints[:n]

    def state(self, moment: int | None = None) -> State:
        """Return the state after the first `moment` events, or after all of them; raises IndexError."""
        with self._lock:
            if moment is None or moment == len(self):
                return self._now.copy()
            return next(self.states(moment, 1))

    def states(self, first: int, count: int) -> Iterator[State]:
        """Give the states of `count` moments from `first` on, as many as there are: one state, which goes on changing.

        Raises IndexError where `first` is not among the moments of this trace.
        """
        with self._lock:
            if not self.first <= first <= len(self):
                raise IndexError(f"This trace has the moments {self.first} to {len(self)}, not {first}.")
            if first == len(self):
                yield self._now.copy()
                return
            last = min(first + count - 1, len(self))
            n = bisect_right(self._checkpoints, first, key=lambda state: state.moment) - 1
            state = self._checkpoints[n].copy()
            events = self._events[state.moment - self.first : last - self.first]
        for event in events:
            if state.moment >= first:
                yield state
            apply(state, event)
        yield state

    def moment(self, t: float) -> int:
        """Return the number of events that had happened at `t` seconds."""
        with self._lock:
            return self.first + bisect_right(self._events, t, key=lambda event: event.t)

    def find(self, kinds: Iterable[str], after: int, back: bool = False) -> int | None:
        """Return the next moment after `after` (before it, with `back`) to which an event of these kinds led."""
        with self._lock:
            wanted, first = frozenset(kinds), self.first
            moments = range(after - 1, first, -1) if back else range(max(after, first) + 1, len(self) + 1)
            return next((k for k in moments if self._events[k - 1 - first].kind in wanted), None)

    def story(self, message: str) -> list[tuple[int, Event]]:
        """Return the events of a message, and of what it was a copy of, each with the moment to which it led."""
        ids = {message, message.partition("/")[0]}
        with self._lock:
            first = self.first + 1
            return [(k, event) for k, event in enumerate(self._events, first) if event.message in ids]

    def listen(self, callback: Callable[[], None]) -> Callable[[], None]:
        """Call `callback()` after each append, in the appending thread; the function returned ends that."""
        self._listeners.append(callback)
        return lambda: self._listeners.remove(callback) if callback in self._listeners else None

    def _notify(self) -> None:
        for callback in tuple(self._listeners):
            callback()

    def save(self, path: str | Path) -> Path:
        """Write the trace to a file, as `lines` gives it; return the file's path."""
        path = Path(path)
        with path.open("w", encoding="utf-8", newline="\n") as file:
            file.writelines(self.lines())
        return path

    def lines(self) -> Iterator[str]:
        """Give the trace as JSON lines: first what it is and the state it begins with, then its events."""
        with self._lock:
            events, base = self.events, self._checkpoints[0]
        head: dict[str, Any] = {"mqlab": "trace", "format": FORMAT}
        if base.moment:
            head["base"] = state_to_json(base)
        for line in chain((head,), map(event_to_json, events)):
            yield json.dumps(line, ensure_ascii=False, separators=(",", ":")) + "\n"


def load(path: str | Path) -> Trace:
    """Return the trace that was saved to a file; raises ValueError that says what is wrong with it, and where."""
    path = Path(path)
    n = 1  # the line that is being read
    try:
        with path.open(encoding="utf-8") as file:
            head = json.loads(next(file, ""))
            if head.get("mqlab") != "trace" or head.get("format") != FORMAT:
                raise ValueError("it is not a trace of MQ Lab, or one of a newer version")
            trace = Trace(base=state_from_json(head["base"]) if "base" in head else State(), limit=10**9)
            for n, line in enumerate(file, 2):  # noqa: B007
                trace.append(event_from_json(json.loads(line)))
    except OSError as error:
        raise ValueError(f"There is no trace to read at {path}: {error.strerror}.") from None
    except TraceError as error:
        raise ValueError(f"Line {n} of {path} does not fit: {error}") from None
    except (ValueError, TypeError, KeyError, AttributeError, IndexError) as error:
        raise ValueError(f"This trace cannot be read: line {n} of {path} is broken ({error}).") from None
    return trace


class Traced(Protocol):
    """What has a trace: a watched queue, a tap."""

    trace: Trace


def trace_of(what: Trace | Traced) -> Trace:
    """Return a trace itself, or that of what has one."""
    return what if isinstance(what, Trace) else what.trace


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


class Blocking:
    """A bounded `queue.Queue` whose every put, get and wait is told to a trace; made by `watch_blocking`."""

    def __init__(self, queue: Queue[Any], name: str, trace: Trace) -> None:
        self.queue, self.name, self.trace = queue, name, trace
        # Held while the queue changes and while that is told: so the order is true.
        self._changed = threading.Condition()
        self._inside: deque[tuple[str, Any]] = deque()
        self._held: dict[str, list[str]] = {}
        self._count = 0
        self._closed = False
        trace.tell("declare", queue=name, facts={"limit": queue.maxsize})

    def put(self, item: Any, by: str = "producer", timeout: float = 10) -> None:
        """Put `item` into the queue as `by`; wait while it is full, at most `timeout` seconds, then raise Full."""
        with self._changed:
            self._waiting(lambda: self.queue.put_nowait(item), Full, "put", by, timeout)
            self._count += 1
            message = f"{self.name}:{self._count}"
            self._inside.append((message, item))
            self.trace.tell("publish", message=message, queue=self.name, who=by, label=str(item))
            self._changed.notify_all()

    def get(self, by: str = "consumer", timeout: float = 10) -> Any:
        """Take the next item as `by`; wait while there is none, at most `timeout` seconds, then raise Empty.

        It is in `by`'s hands until `by` says that it is `done`, or takes the next one.
        """
        with self._changed:
            self.done(by)
            item = self._waiting(self.queue.get_nowait, Empty, "get", by, timeout)
            place = next(n for n, (_, inside) in enumerate(self._inside) if inside is item)
            message, _ = self._inside[place]
            del self._inside[place]
            self._held.setdefault(by, []).append(message)
            self.trace.tell("deliver", message=message, queue=self.name, who=by)
            self._changed.notify_all()
            return item

    def done(self, by: str = "consumer") -> None:
        """Say that `by` has finished what it has taken."""
        with self._changed:
            for message in self._held.pop(by, []):
                self.trace.tell("ack", message=message, queue=self.name, who=by)

    def close(self) -> None:
        """Let nobody wait any longer: who does, or would have to, gets Full or Empty at once."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _waiting(self, act: Callable[[], Any], refusal: type[Exception], verb: str, by: str, timeout: float) -> Any:
        """Return what `act` does, once it is not refused any more; tell the wait, if there is one."""
        end: float | None = None
        while True:
            try:
                result = act()
            except refusal:
                if end is None:
                    end = time.monotonic() + timeout
                    if timeout > 0:
                        self.trace.tell("wait", queue=self.name, who=by, why=verb)
                left = end - time.monotonic()
                if left > 0 and not self._closed and self._changed.wait(left):
                    continue
                if timeout > 0:
                    self.trace.tell("go-on", queue=self.name, who=by)
                raise
            if end is not None:
                self.trace.tell("go-on", queue=self.name, who=by)
            return result

    def __len__(self) -> int:
        return len(self._inside)

    def __repr__(self) -> str:
        return f"{self.name}: {len(self)} of {self.queue.maxsize} places taken"


def watch_blocking(queue: Queue[Any], name: str = "buffer", *, trace: Trace | None = None) -> Blocking:
    """Return a `queue.Queue` with put and get that wait as its own do; each of them, and each wait, is told to `trace`.

    Times are real seconds here, unlike in `watch`: who waits for how long is what counts.
    """
    return Blocking(queue, name, trace if trace is not None else Trace())


def ticking() -> Trace:
    """Return a trace whose clock moves on by one second an event."""
    ticks = count()
    return Trace(clock=lambda: float(next(ticks)))
