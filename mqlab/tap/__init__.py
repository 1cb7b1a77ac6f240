"""A tap: a second address of a broker, on which everything is passed on unchanged and told to a trace."""

from __future__ import annotations

import contextlib
import json
import marshal
import os
import queue
import struct
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from dataclasses import asdict
from itertools import count
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urlsplit, urlunsplit

from mqlab.broker import watch
from mqlab.broker.node import BrokerError, Node, in_path
from mqlab.saving import state_from_json
from mqlab.state import SLOW, STOPPED
from mqlab.trace import LIMIT, Event, Trace

NOT_OURS = "This broker is not one of this course's own, so it is not stopped from here."
START = 20.0  # seconds that the tap's process may take to be ready
Act = Callable[[], object]
_open: dict[str, Tap] = {}


class Tap:
    """What passes `url` reaches the broker unchanged, and is told to `trace`. Made by `rabbit.watch()`.

    The trace keeps the newest `limit` events; `problems` are frames that the tap did not understand.
    """

    def __init__(
        self,
        url: str,
        node: Node | None,
        *,
        halt: Act | None = None,
        resume: Act | None = None,
        firehose: bool = True,
        limit: int = LIMIT,
    ) -> None:
        parts = urlsplit(url)
        if parts.scheme != "amqp":
            raise BrokerError("watch() cannot look into an encrypted connection. Use an amqp:// address, not amqps://.")
        self.trace = Trace(limit=limit)
        self._halt, self._resume = halt, resume  # stop the broker, start it again; None where it is not ours
        self.problems: list[str] = []
        self._closing = False
        self._words = tempfile.TemporaryFile()  # noqa: SIM115 - what its process says when it fails
        self._settled: queue.SimpleQueue[int] = queue.SimpleQueue()
        self._numbers = count(1)
        self._ready: queue.SimpleQueue[int | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        vhost = unquote(parts.path[1:]) or "/"
        wanted = {
            "host": parts.hostname or "localhost",
            "port": parts.port or 5672,
            "url": url,
            "vhost": vhost,
            "vhost_path": in_path(vhost),
            "node": asdict(node) if node else None,
            "firehose": firehose,
            "speakers": _speakers(node) if node else {},
        }
        here = str(Path(__file__).parents[2])  # the tap is of this very code
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, [here, os.environ.get("PYTHONPATH")]))}
        self._process = subprocess.Popen(
            [sys.executable, "-m", __name__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._words,
            env=environment,
            start_new_session=True,  # Ctrl-C in the learner's terminal is not for it
        )
        self._order(wanted)
        threading.Thread(target=self._read, name="mqlab-tap", daemon=True).start()
        try:
            port = self._ready.get(timeout=START)
        except queue.Empty:
            port = None
        if port is None:
            self.close()
            raise BrokerError("The tap did not start. Run the cell again; if it fails again, restart the kernel.")
        self.port = port
        self.url = urlunsplit(parts._replace(netloc=f"{parts.netloc.rpartition('@')[0]}@127.0.0.1:{port}"))
        watch.also("127.0.0.1", port)

    def url_as(self, name: str) -> str:
        """Return the address with a name for who connects: the pictures call the connection so."""
        properties = quote(repr({"connection_name": name}), safe="")
        return f"{self.url}{'&' if urlsplit(self.url).query else '?'}client_properties={properties}"

    def settle(self, limit: float = 5.0) -> Trace:
        """Wait until all that has passed is in the trace, for `limit` seconds at most; return the trace."""
        number = next(self._numbers)
        self._order({"settle": number})
        with contextlib.suppress(queue.Empty):
            while self._settled.get(timeout=limit) < number:
                pass
        return self.trace

    def cut(self, name: str) -> None:
        """Cut the connection of this name, as a broken cable does."""
        self._order({"cut": name, "why": "cut off"})

    def slow(self, seconds: float) -> None:
        """Let what passes take so many seconds longer, each way; 0 for no longer."""
        why = f"{SLOW}: {seconds * 1000:,.0f} ms each way" if seconds else "The network is fast again"
        self._order({"slow": seconds, "why": why})

    @property
    def can_stop_broker(self) -> bool:
        """Whether the broker is one of this course's own, which can be stopped and started again."""
        return self._halt is not None

    def stop_broker(self) -> None:
        """Stop the broker of this course, whoever uses it; `start_broker` starts it again. Raises BrokerError."""
        if self._halt is None:
            raise BrokerError(NOT_OURS)
        self.tell(STOPPED)
        self._halt()

    def start_broker(self) -> None:
        """Start the broker again, with what it has kept on disk; returns when it answers. Raises BrokerError."""
        if self._resume is None:
            raise BrokerError(NOT_OURS)
        self._resume()
        self._order({"restarted": "The broker is there again"})

    def tell(self, why: str) -> None:
        """Note in the trace, in words, what was done to the broker."""
        self._order({"trouble": why})

    @property
    def ended(self) -> bool:
        """Whether nothing passes any more."""
        return self._process.poll() is not None

    def close(self) -> None:
        """End the tap; its connections are cut, the trace stays."""
        self._closing = True
        watch.no_more("127.0.0.1", getattr(self, "port", 0))
        with contextlib.suppress(OSError):
            assert self._process.stdin
            self._process.stdin.close()
        try:
            self._process.wait(8)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(5)

    def __repr__(self) -> str:
        state = self.trace.state()
        connections = sum(connection.open for connection in state.connections.values())
        s = "" if connections == 1 else "s"
        return f"A tap with {connections} open connection{s}. {self.trace!r}"

    def _order(self, order: dict[str, Any]) -> None:
        assert self._process.stdin
        with self._lock:
            try:
                self._process.stdin.write(json.dumps(order).encode() + b"\n")
                self._process.stdin.flush()
            except (OSError, ValueError):
                raise BrokerError("This tap is closed. Make a new one with rabbit.watch().") from None

    def _read(self) -> None:
        """Take what the tap's process tells, in a thread."""
        stream = self._process.stdout
        assert stream
        while len(head := stream.read(4)) == 4:
            size = struct.unpack(">I", head)[0]
            data = stream.read(size)
            if len(data) < size:  # it was killed in the middle of a word
                break
            kind, content = marshal.loads(data)
            if kind == "events":
                self.trace.extend(map(Event._make, content))
            elif kind == "base":
                self.trace.restart(state_from_json(content))
            elif kind == "port":
                self._ready.put(content)
            elif kind == "settled":
                self._settled.put(content)
            else:
                self.problems.append(content)
        self._process.wait()
        if not self._closing:
            self._words.seek(0)
            last = self._words.read().decode(errors="replace").strip()[-500:]
            self.problems.append(f"The tap has ended. Make a new one with rabbit.watch(). Its last words: {last}")
        self._ready.put(None)


def _speakers(node: Node) -> dict[str, int]:
    """Return the broker's own ports of its other protocols, by their names in the picture."""
    own = {"mqtt": 1883, "stomp": 61613} if node.kind == "docker" else node.ports  # in a container they are the usual
    return {name.upper(): own[name] for name in ("mqtt", "stomp") if name in own}


def open_tap(url: str, node: Node | None, *, shared: bool = True, **options: Any) -> Tap:
    """Return a new tap to this address; the one that this process had before is closed (not with `shared` false)."""
    if not shared:
        return Tap(url, node, **options)
    old = _open.pop(url, None)
    if old:
        old.close()
    _open[url] = Tap(url, node, **options)
    return _open[url]
