"""Watch ZeroMQ sockets: what plain pyzmq does on a watched context is told to a trace."""

from __future__ import annotations

import atexit
import contextlib
import socket as net
import threading
import time
import weakref
from collections import deque
from itertools import count
from typing import Any

import zmq

from mqlab.event import Event
from mqlab.sockets.hooks import AsyncContext, Context, Count, Hooks
from mqlab.sockets.monitor import Monitor
from mqlab.sockets.pipes import ARROW, DEALS, End, Pipes
from mqlab.sockets.proxy import Proxy
from mqlab.sockets.rush import counted
from mqlab.state import TraceError
from mqlab.trace import LIMIT, Trace

BURST, RUSH, CALM = 2_000, 500, 250  # messages told one by one at once; then in a second; when that begins again
TICK = 0.03  # seconds between two looks at what was written down, while there is something
LOOK = 0.25  # the same, while messages are only counted
PATIENCE = 0.15  # seconds that a send or receive may take before it is shown as waiting
TOO_FAST = f"More than {RUSH} messages a second: they are counted, and not shown one by one"
NONE: Count = lambda: (0, 0)  # noqa: E731
_open: dict[str, Watch] = {}


class Watch:
    """Contexts whose sockets are watched, and the trace of what they do; made by `watch`."""

    def __init__(self, limit: int = LIMIT) -> None:
        self.trace = Trace(limit=limit)
        self.problems: list[str] = []  # what did not make sense
        self.ended = False
        self.resting = True  # the thread sleeps until it is woken
        self.busy: dict[Any, tuple[str, float]] = {}  # sockets in the middle of a send ("put") or a receive ("get")
        self.last: list[Any] = []  # what was written down last
        self._records: deque[list[Any]] = deque()
        self._lock = threading.RLock()
        self._began = time.monotonic()
        self._pipes = Pipes(self._captured)
        self._sockets: weakref.WeakSet[Any] = weakref.WeakSet()
        self._contexts: list[Any] = []
        self._types: dict[str, count[int]] = {}
        self._proxies: list[Proxy] = []
        self._monitors: list[Monitor] = []
        self._counts: dict[End, Count] | None = None  # while messages are only counted
        self._told: dict[End, tuple[int, int]] = {}  # of them, those that the trace has
        self._late: dict[End, list[int]] = {}  # besides those: written down when counting had begun
        self._counting = False  # what was written down before that is told
        self._credit, self._credited = float(BURST), 0.0
        self._looked, self._seen = self._began, 0
        self._ear, self._mouth = net.socketpair()
        self._ear.setblocking(False)
        self._mouth.setblocking(False)
        self._thread = threading.Thread(target=self._run, name="mqlab-watch", daemon=True)
        self._thread.start()

    def context(self, *, asyncio: bool = False) -> Any:
        """Return a new `zmq.Context`, or a `zmq.asyncio.Context`, whose sockets are watched."""
        made: Any = AsyncContext() if asyncio else Context()
        made._watch = self
        made.linger = 0  # a notebook must be able to end
        self._contexts.append(made)
        return made

    def name(self, socket: Any, name: str) -> Any:
        """Call a socket `name` in the trace; return the socket. Raises ValueError when that comes too late."""
        if not isinstance(socket, Hooks) or socket._watch is not self:
            raise ValueError("This socket is not watched. Make it with `watch.context().socket(...)`.")
        if ARROW in name:
            raise ValueError(f"A name cannot have {ARROW!r} in it: pipes are called so.")
        with self._lock:
            if any(each.name == name and not each.closed for each in self._pipes.ends):
                raise ValueError(f"There is a socket {name!r} already. Close it, or choose another name.")
            end = socket._name()
            opened = any(r[1] is end and r[0] in ("bound", "connected") for r in self._records)
            if end.told or opened:
                raise ValueError(f"It is called {end.name!r} already: name a socket before it binds or connects.")
            end.name = name
        return socket

    def proxy(self, frontend: Any, backend: Any) -> Proxy:
        """Pass on what comes to either socket to the other one, as `zmq.proxy` does, in a thread of its own."""
        made = Proxy(self, frontend, backend)
        front, back = frontend._name(), backend._name()
        with self._lock:
            self.note(["joined", front, back])
            self._proxies.append(made)
        made.start()
        self.wake()
        return made

    def together(self, one: Any, other: Any) -> None:
        """Show two sockets as one program, which passes on what comes to either: a broker of the learner's own."""
        self.note(["together", one._name(), other._name()])

    def settle(self) -> Trace:
        """Tell all that has happened until now; return the trace."""
        with self._lock:
            if not self.ended:
                self._listen()
                self._process()
                self._count(True)
        return self.trace

    def close(self) -> None:
        """End the contexts with their sockets, and the thread; the trace stays."""
        if self.ended:
            return
        with contextlib.suppress(zmq.ZMQError):
            self.settle()
        self.ended = True
        for name in [name for name, each in _open.items() if each is self]:
            del _open[name]
        # Every call on a socket, in whichever thread, now ends with ContextTerminated: then it is safe to close it.
        terms = [
            threading.Thread(target=c.term, name="mqlab-term", daemon=True) for c in self._contexts if not c.closed
        ]
        for thread in terms:
            thread.start()
        self.wake()
        self._thread.join(5)
        for proxy in self._proxies:
            proxy.join()
        until = time.monotonic() + 1
        while self.busy and time.monotonic() < until:
            time.sleep(0.005)
        for socket in list(self._sockets):
            if not socket.closed:
                with contextlib.suppress(zmq.ZMQError):
                    socket.close(0)
        for thread in terms:
            thread.join(2)
        self._ear.close()
        self._mouth.close()

    def __enter__(self) -> Watch:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"A watch of {len(self._pipes.ends)} sockets. {self.trace!r}"

    # ---- what the sockets call

    def note(self, record: list[Any]) -> None:
        """Write down what happened; it is told later."""
        self.last = record
        self._records.append(record)
        if self.resting:
            self.wake()
        if len(self._records) > BURST and self._counts is None:
            self._rush()

    def wake(self) -> None:
        """Let the thread look."""
        self.resting = False
        with contextlib.suppress(OSError):
            self._mouth.send(b"x")

    def adopt(self, socket: Any) -> None:
        """Watch a new socket."""
        socket._watch = self
        self._sockets.add(socket)

    def new_end(self, socket: Any) -> End:
        """Return what stands for a socket, with a name until it gets a better one."""
        kind = zmq.SocketType(socket.type).name
        number = next(self._types.setdefault(kind, count(1)))
        return End(f"{kind} {number}", kind)

    def opening(self, socket: Any, addr: str) -> None:
        """A socket is about to bind or connect: what it was set to counts from here on."""
        end = socket._name()
        end.hwm = (socket.SNDHWM, socket.RCVHWM)
        end.identity = bytes(socket.ROUTING_ID) if end.type in ("REQ", "REP", "DEALER", "ROUTER") else b""
        if not addr.startswith("inproc") and not any(each.end is end for each in self._monitors):
            self._monitor(socket)

    def _monitor(self, socket: Any) -> Monitor:
        monitor = Monitor(socket, socket._name())
        with self._lock:
            self._monitors.append(monitor)
        self.wake()
        return monitor

    def closing(self, socket: Any) -> None:
        """A socket is about to close."""
        end = socket._name()
        for monitor in [each for each in self._monitors if each.end is end]:
            monitor.leave(socket)
        self.busy.pop(socket, None)

    def tee(self, socket: Any) -> Any:
        """Return a socket that gets the events of a socket's monitor, too."""
        end = socket._name()
        monitor = next((each for each in self._monitors if each.end is end), None) or self._monitor(socket)
        return monitor.tee(socket)

    def untee(self, socket: Any) -> None:
        """No more of them."""
        for monitor in self._monitors:
            if monitor.end is socket._end:
                monitor.untee()

    # ---- the thread: what was written down becomes events

    def _run(self) -> None:
        while not self.ended:
            poller = zmq.Poller()
            poller.register(self._ear, zmq.POLLIN)
            with self._lock:
                for source in self._sources():
                    if source.ear is not None:
                        poller.register(source.ear, zmq.POLLIN)
            self.resting = self._counts is None
            if self._records:
                self.resting = False
            with contextlib.suppress(zmq.ZMQError):  # a context was terminated: its sockets will say so
                # What is written down wakes this thread; who waits in a send or a receive is looked at now and then.
                poller.poll(int(PATIENCE * 1000) if self.resting else 0)
            if not self.resting:
                time.sleep(TICK)  # so much more is told at once
            with contextlib.suppress(OSError):
                while self._ear.recv(4096):
                    pass
            try:
                with self._lock:
                    self._listen()
                    self._process()
                    self._waits()
                    self._count(False)
            except Exception as error:
                self.problems.append(f"{type(error).__name__}: {error}")
        with self._lock:
            for source in self._sources():
                source.close_ear()
            self._monitors.clear()

    def _sources(self) -> list[Monitor | Proxy]:
        return [*self._monitors, *self._proxies]

    def _listen(self) -> None:
        """Take what monitors say. They come first: who was connected then was so when it was said, at the latest."""
        self._pipes.t = max(self._pipes.t, time.monotonic() - self._began)
        more = {monitor: monitor.hear(self._pipes) for monitor in self._monitors}
        for monitor, goes_on in more.items():
            monitor.tell(self._pipes)
            if not goes_on:
                monitor.close_ear()
                self._monitors.remove(monitor)
                self.note(["gone", monitor.end])

    def _process(self) -> None:
        pipes = self._pipes
        for record in [each for each in pipes.unsure if each[4] is not None]:
            pipes.unsure.remove(record)
            if record[4]:
                self._one(record)
        while self._records:
            self._one(self._records.popleft())
        while self._captured():
            pass
        self._flush()

    def _one(self, record: list[Any]) -> None:
        pipes, (what, end, *more) = self._pipes, record
        when = next((each for each in more if isinstance(each, float)), time.monotonic())
        pipes.t = max(pipes.t, when - self._began)
        self._credit = min(BURST, self._credit + (pipes.t - self._credited) * RUSH)
        self._credited = pipes.t
        if self._counting and what in ("bound", "connected", "parted", "closed", "gone", "nothing"):
            self._count(True)  # what was counted was before that
        match what:
            case "count":
                self._counting = self._counts is not None
            case "sent" | "received" if self._counting and record[-1]:
                self._late.setdefault(end, [0, 0])[what == "received"] += 1
            case "sent" if record[4] is None:
                pipes.unsure.append(record)
            case "sent" if record[4]:
                self._credit -= 1
                pipes.go_on(end, "put")
                pipes.sent(end, more[0])
            case "sent":
                pass
            case "refused" if more[1]:
                if (end, "put") not in pipes.waits:
                    pipes.wait(end, "put")
                pipes.go_on(end, "put")
            case "refused":
                pipes.go_on(end, "put")
            case "received":
                self._credit -= 1
                pipes.received(end, more[0])
            case "nothing":
                pipes.go_on(end, "get")
                pipes.nothing(end)
            case "joined":
                end.beyond, more[0].beyond = more[0], end
                pipes.together(end, more[0])
            case "gone" if not any(each._end is end for each in self._sockets):
                pipes.closed(end)
            case "gone":
                pass
            case _:
                getattr(pipes, what)(end, *more)
        if self._credit < 0 and self._counts is None:
            self._rush()

    def _captured(self) -> bool:
        """Take one more message that a proxy has passed on; False: there is none."""
        for proxy in self._proxies:
            if passed := proxy.passed():
                source, frames = passed
                self._pipes.t = max(self._pipes.t, time.monotonic() - self._began)
                self._pipes.received(source, frames, "capture")
                assert source.beyond
                self._pipes.sent(source.beyond, frames, "capture")
                return True
        return False

    def _flush(self) -> None:
        events, self._pipes.events = self._pipes.events, []
        while events:
            try:
                self.trace.extend(events)
                return
            except TraceError as error:  # the one that does not fit is left out
                self.problems.append(str(error))
                told = len(self.trace)
                events = self._rest(events, told)

    def _rest(self, events: list[Event], told: int) -> list[Event]:
        last = self.trace[told - 1] if told > self.trace.first else None
        place = next((n for n, event in enumerate(events) if event is last), -1)
        return events[place + 2 :]

    def _waits(self) -> None:
        """Tell who has waited for a while, and who does so no more."""
        now = time.monotonic()
        slow = {(socket._name(), verb) for socket, (verb, since) in list(self.busy.items()) if now - since > PATIENCE}
        self._pipes.t = max(self._pipes.t, now - self._began)
        for end, verb in slow:
            self._pipes.wait(end, verb)
        for end, verb in [each for each in self._pipes.waits if each not in slow]:
            self._pipes.go_on(end, verb)
        self._flush()

    # ---- many messages a second

    def _rush(self) -> None:
        with self._lock:
            if self._counts is not None or self.ended:
                return
            self._counts, self._told, self._late, self._counting = {}, {}, {}, False
            self._records.append(["count", None])
            for socket in list(self._sockets):
                if socket._end is not None:
                    self._counts[socket._end] = socket.only_count()
            self._looked, self._seen = time.monotonic(), 0
        self.wake()

    def _count(self, at_once: bool) -> None:
        """While messages are only counted: make the state from the counts; follow each again when there are few."""
        if self._counts is None or not self._counting:
            return
        since = time.monotonic() - self._looked
        if not at_once and since < LOOK:
            return
        self._seen += self._account(TOO_FAST)
        if since < LOOK:
            return
        calm = self._seen < CALM * since
        self._looked, self._seen = time.monotonic(), 0
        if calm:
            for socket in list(self._sockets):
                socket.write_down()
            self._account("")
            self._counts, self._counting = None, False
            self._credit = float(BURST)

    def _account(self, trouble: str) -> int:
        """Put into the trace's state what was counted since the last time; return how many messages that are."""
        assert self._counts is not None
        counts: dict[End, tuple[int, int]] = {}
        for end in self._counts.keys() | self._late.keys():
            late, told = self._late.get(end, (0, 0)), self._told.get(end, (0, 0))
            sent, received = (a + b for a, b in zip(self._counts.get(end, NONE)(), late, strict=True))
            self._told[end] = (sent, received)
            counts[end] = (sent - told[0], received - told[1])
            if sent and end.type in DEALS and not end.outs:
                self._pipes.strangers(end)
        self._pipes.t = max(self._pipes.t, time.monotonic() - self._began)
        self._flush()
        base = counted(self._pipes, self.trace.state(), counts)
        base.trouble = trouble
        self.trace.restart(base)
        return sum(map(sum, counts.values()))


def watch(name: str = "sockets", *, limit: int = LIMIT) -> Watch:
    """Return a new watch. One that was made before under the same name is closed, so a cell can be run again."""
    if name in _open:
        _open[name].close()
    _open[name] = made = Watch(limit)
    return made


@atexit.register
def close_all() -> None:
    """Close every watch that is open."""
    for each in list(_open.values()):
        each.close()
