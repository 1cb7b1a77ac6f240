"""The tap as a process of its own, so that neither a busy notebook slows the traffic nor the traffic the notebook.

The first line of its input says what to tap, each later one what to do (JSON); the end of its input is its end. Its
output is a sequence of messages, each a length (4 bytes) and a pair (kind, content) by marshal.
"""

from __future__ import annotations

import asyncio
import json
import marshal
import signal
import struct
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any

from mqlab.broker.node import Node
from mqlab.saving import state_to_json
from mqlab.tap.firehose import QUEUE, Firehose
from mqlab.tap.links import Record
from mqlab.tap.proxy import Proxy
from mqlab.tap.witness import Witness

FLUSH = 0.005  # seconds in which events gather
TICK = 0.05  # seconds between two looks at what time has done
BACKLOG = 64 << 20  # bytes that may wait for a slow reader; then it gets the state instead of the events
RUSH, CALM = 500, 50  # messages a second from which on the firehose is left alone, and below which it is read again
TRIES = 5  # in vain, after which the firehose is not asked for any more


class Mouth(threading.Thread):
    """Writes to the reader, in a thread: a slow one keeps nobody waiting."""

    def __init__(self) -> None:
        super().__init__(name="mouth", daemon=True)
        self._messages: deque[bytes] = deque()
        self._some = threading.Condition()
        self.unsent = 0  # bytes

    def say(self, kind: str, content: Any) -> None:
        data = marshal.dumps((kind, content))
        with self._some:
            self._messages.append(struct.pack(">I", len(data)) + data)
            self.unsent += len(data)
            self._some.notify()

    def forget(self) -> None:
        """What is not sent yet is not worth saying any more."""
        with self._some:
            self._messages.clear()
            self.unsent = 0

    def run(self) -> None:
        while True:
            with self._some:
                while not self._messages:
                    self._some.wait()
                data = b"".join(self._messages)
                self._messages.clear()
            try:
                sys.stdout.buffer.write(data)
                sys.stdout.buffer.flush()
            except OSError:
                return  # nobody reads any more: the input ends too
            with self._some:
                self.unsent = max(0, self.unsent - len(data))


class Program:
    """The proxy, the witness and the firehose, told what to do and telling what happens."""

    def __init__(self, wanted: dict[str, Any]) -> None:
        self.wanted = wanted
        began = time.monotonic()
        self.witness = Witness(lambda: time.monotonic() - began)
        self.witness.speakers = {port: name for name, port in wanted.get("speakers", {}).items()}
        self.proxy = Proxy((wanted["host"], wanted["port"]), self.witness, self.seen)
        self.node = Node(**wanted["node"]) if wanted.get("node") else None
        self.mouth = Mouth()
        self.hose: Firehose | None = None
        self.flushing = self.ticking = self.behind = False
        self.counted = (time.monotonic(), 0)  # when the rate was looked at, how many messages there were
        self.said = 0  # problems
        self.tries = 0  # to open the firehose, in vain

    async def main(self) -> None:
        """Tap until the input ends."""
        self.loop = asyncio.get_running_loop()
        self.over = self.loop.create_future()
        self.mouth.start()
        await self.loop.run_in_executor(None, self.look)
        port = await self.proxy.start()
        if self.node and self.wanted.get("firehose"):
            self.open_hose()
            await asyncio.wait([self.loop.create_task(self.hosed.wait())], timeout=5)
        self.mouth.say("port", port)
        threading.Thread(target=self.listen, name="ear", daemon=True).start()
        await self.over
        self.proxy.close()
        if self.hose:
            self.hose.close()
            await self.loop.run_in_executor(None, self.hose.join, 6)

    def look(self) -> None:
        """Ask the broker what is there already."""
        if self.node is None:
            return
        try:
            vhost = self.wanted["vhost_path"]
            found = [self.node.api("GET", f"{kind}/{vhost}", limit=5) for kind in ("exchanges", "queues", "bindings")]
            exchanges, queues, bindings = found
            queues = [each for each in queues if not each["name"].startswith(QUEUE)]
            bindings = [each for each in bindings if not each["destination"].startswith(QUEUE)]
            self.witness.seed(exchanges, queues, bindings)
        except (OSError, LookupError, TypeError):
            pass  # it does not say: then what the tap sees is all there is

    def listen(self) -> None:
        """Hear what to do, in a thread."""
        for line in sys.stdin:
            self.loop.call_soon_threadsafe(self.obey, json.loads(line))
        self.loop.call_soon_threadsafe(self.over.set_result, None)

    def obey(self, order: dict[str, Any]) -> None:
        match order:
            case {"cut": str(name), "why": str(why)}:
                self.proxy.cut(name, why)
            case {"slow": float() | int() as delay, "why": str(why)}:
                self.proxy.delay = delay
                self.witness.trouble(why)
            case {"trouble": str(why)}:
                self.witness.trouble(why)
            case {"restarted": str(why)}:
                self.witness.restarted(why)
            case {"settle": int(number)}:
                self.loop.create_task(self.settle(number))
        self.seen()

    async def settle(self, number: int) -> None:
        """Answer when nothing has passed for a while; in a second at the latest."""
        quiet, count, end = 0, -1, self.loop.time() + 2
        while quiet < 4 and self.loop.time() < end:
            await asyncio.sleep(FLUSH)
            now = self.witness.state.moment
            quiet = quiet + 1 if now == count and not self.witness.pending else 0
            count = now
        self.flush()
        self.mouth.say("settled", number)

    # ---- what is seen goes to the reader

    def seen(self) -> None:
        if not self.flushing:
            self.flushing = True
            self.loop.call_later(FLUSH, self.flush)
        if not self.ticking and (self.witness.pending or self.witness.due):
            self.ticking = True
            self.loop.call_later(TICK, self.tick)

    def tick(self) -> None:
        self.ticking = False
        self.witness.tick()
        self.seen()

    def flush(self) -> None:
        self.flushing = False
        events, self.witness.out = self.witness.out, []
        for problem in self.witness.problems[self.said :]:
            self.mouth.say("problem", problem)
        self.said = len(self.witness.problems)
        if self.mouth.unsent > self.wanted.get("backlog", BACKLOG):
            self.mouth.forget()
            self.behind = True
        if self.behind and self.mouth.unsent == 0:
            self.behind = False
            self.mouth.say("base", state_to_json(self.witness.state))
        elif events and not self.behind:
            self.mouth.say("events", [tuple(event) for event in events])
        if self.behind:
            self.flushing = True
            self.loop.call_later(TICK, self.flush)
        if self.node and self.wanted.get("firehose"):
            self.look_at_rate()

    # ---- the firehose, while it costs little

    def look_at_rate(self) -> None:
        when, before = self.counted
        now = time.monotonic()
        if now - when < 0.5:
            return
        rate = (self.witness.count - before) / (now - when)
        self.counted = (now, self.witness.count)
        if rate > RUSH and self.hose:
            self.hose.close()
            self.hose = None
            self.witness.listen(False)
        elif rate < CALM and self.hose is None and self.tries < TRIES:
            self.open_hose()

    def open_hose(self) -> None:
        assert self.node
        self.hosed = asyncio.Event()
        hose = self.hose = Firehose(
            self.node,
            self.wanted["vhost"],
            self.wanted["url"],
            self.in_loop(self.record),
            self.in_loop(lambda on: self.hose_ready(hose, on)),
        )
        hose.start()

    def hose_ready(self, hose: Firehose, on: bool) -> None:
        self.hosed.set()
        if hose is self.hose:
            self.witness.listen(on)
            self.tries = 0 if on else self.tries + 1
            self.hose = hose if on else None
            self.seen()

    def record(self, record: Record) -> None:
        self.witness.record(record)
        self.seen()

    def in_loop(self, function: Callable[[Any], object]) -> Callable[[Any], object]:
        return lambda value: self.loop.call_soon_threadsafe(function, value)


def main() -> None:
    """Read what to tap, and tap it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the notebook
    asyncio.run(Program(json.loads(sys.stdin.readline())).main())


if __name__ == "__main__":
    main()
