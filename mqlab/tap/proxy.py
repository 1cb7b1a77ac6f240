"""The tap's sockets: passes bytes on in both directions, unchanged, and lets a witness see them."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

from mqlab.tap.links import Link
from mqlab.tap.streams import Stream
from mqlab.tap.witness import Witness

HOST = "127.0.0.1"
ANSWER = 5.0  # seconds that the broker has to take a connection


class End(asyncio.Protocol):
    """One of the two sockets of a connection; what it receives goes to the other one."""

    def __init__(self, pair: Pair, way: str) -> None:
        self.pair, self.way = pair, way
        self.transport: asyncio.Transport | None = None
        self.other: End
        self.stream = Stream(pair.link, way)
        self.late: deque[tuple[float, bytes | None]] = deque()  # when the network is slow: due, data (None: the end)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.pair.made(self)

    def data_received(self, data: bytes) -> None:
        delay = self.pair.proxy.delay
        if not delay and not self.late:
            self.pass_on(data)
        else:
            self.hold(data, delay)

    def connection_lost(self, error: Exception | None) -> None:
        if self.late:
            self.hold(None, 0)
        else:
            self.pair.end(self)

    def pause_writing(self) -> None:
        if self.other.transport:
            self.other.transport.pause_reading()

    def resume_writing(self) -> None:
        if self.other.transport:
            self.other.transport.resume_reading()

    def pass_on(self, data: bytes) -> None:
        """Send it first; what it means can wait."""
        transport = self.other.transport
        if transport is not None:
            transport.write(data)
        proxy = self.pair.proxy
        units = self.stream.feed(data, proxy.witness.now())
        if units:
            proxy.witness.see(units)
            proxy.seen()

    def hold(self, data: bytes | None, delay: float) -> None:
        """Keep what came for `delay` seconds, and no less than what came before it."""
        loop = self.pair.proxy.loop
        due = loop.time() + delay
        if self.late:
            due = max(due, self.late[-1][0])
        self.late.append((due, data))
        loop.call_at(due, self.let_go)

    def let_go(self) -> None:
        now = self.pair.proxy.loop.time()
        while self.late and self.late[0][0] <= now:
            _, data = self.late.popleft()
            if data is None:
                self.pair.end(self)
            else:
                self.pass_on(data)


class Pair:
    """A connection: the client's socket and ours to the broker."""

    def __init__(self, proxy: Proxy) -> None:
        self.proxy = proxy
        self.link: Link = proxy.witness.connected()
        self.client, self.broker = End(self, ">"), End(self, "<")
        self.client.other, self.broker.other = self.broker, self.client
        self.why = ""
        self.over = False

    def made(self, end: End) -> None:
        assert end.transport
        if end is self.client:
            self.proxy.pairs.add(self)
            end.transport.pause_reading()  # until there is somebody to pass it on to
            self.connecting = self.proxy.loop.create_task(self.connect())

    async def connect(self) -> None:
        """Connect to the broker; without one the client's connection ends."""
        try:
            connecting = self.proxy.loop.create_connection(lambda: self.broker, *self.proxy.upstream)
            await asyncio.wait_for(connecting, ANSWER)
        except OSError:
            self.why = "the broker does not answer"
            if self.client.transport:
                self.client.transport.abort()
            return
        if self.over or self.client.transport is None or self.client.transport.is_closing():
            self.end(self.client)
        else:
            self.client.transport.resume_reading()

    def end(self, end: End) -> None:
        """One side has gone: the other one is closed when it has got what was on its way."""
        other = end.other
        if other.transport and not other.transport.is_closing():
            other.transport.close()
        if not self.over:
            self.over = True
            self.proxy.pairs.discard(self)
            gone = "it went without a word" if end is self.client else "the broker has gone"
            self.proxy.witness.ended(self.link, self.why or gone)
            self.proxy.seen()

    def cut(self, why: str) -> None:
        """Cut the connection as a broken cable does: neither side is told why."""
        self.why = why
        self.link.why = why
        for end in (self.client, self.broker):
            end.late.clear()
            if end.transport:
                end.transport.abort()


class Proxy:
    """Listens on loopback; `upstream` is the broker's host and port; `seen` is called after something has passed."""

    def __init__(self, upstream: tuple[str, int], witness: Witness, seen: Callable[[], None]) -> None:
        self.upstream, self.witness, self.seen = upstream, witness, seen
        self.delay = 0.0  # seconds in each direction
        self.pairs: set[Pair] = set()

    async def start(self) -> int:
        """Listen; return the port."""
        self.loop = asyncio.get_running_loop()
        self.server = await self.loop.create_server(lambda: Pair(self).client, HOST, 0)
        return int(self.server.sockets[0].getsockname()[1])

    def cut(self, name: str, why: str) -> bool:
        """Cut the connection of this name; tell whether there is one."""
        found = [pair for pair in self.pairs if pair.link.name == name]
        for pair in found:
            pair.cut(why)
        return bool(found)

    def close(self) -> None:
        """Listen no more, and cut what is open."""
        self.server.close()
        for pair in list(self.pairs):
            pair.cut("the tap was closed")
