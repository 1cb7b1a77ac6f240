"""The sockets of the embedded broker: listens on loopback, keeps time, holds back publishers when memory is short."""

from __future__ import annotations

import asyncio
import time

from pamqp import commands

from mqlab.broker.embedded import frames
from mqlab.broker.embedded.errors import AmqpError
from mqlab.broker.embedded.model import Broker
from mqlab.broker.embedded.session import Limits, Session

Connection = commands.Connection
HOST = "127.0.0.1"
CLOGGED = 8 << 20  # bytes of answers a client has not read, from which nothing more is read from it
HANDSHAKE = 10.0  # seconds a client has to log in and open its connection
FAREWELL = 3.0  # seconds a client has to agree that its connection is closed


class Link(asyncio.Protocol):
    """One socket and the session behind it."""

    transport: asyncio.Transport

    def __init__(self, server: Server) -> None:
        self.server = server
        self.session = Session(server.broker, server.user, server.password, server.wake, server.limits)
        self.made = self.received = self.sent = server.now()
        self.closing_since: float | None = None
        self.clogged = False  # nothing is read until the client has read

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.server.links[self.session] = self
        ends = [transport.get_extra_info(end) or ("?", 0) for end in ("peername", "sockname")]
        self.session.name = " -> ".join(f"{host}:{port}" for host, port, *_ in ends)
        self.session.crowded = len(self.server.links) > self.server.limits.connections
        if len(self.server.links) > 2 * self.server.limits.connections:
            transport.abort()

    def connection_lost(self, error: Exception | None) -> None:
        self.session.lost()
        self.server.forget(self)
        self.server.schedule()

    def data_received(self, data: bytes) -> None:
        self.received = self.server.now()
        self.session.receive(data)
        self.server.schedule()  # also where nothing is answered: what was rejected may have to come back in time
        if self.session.blocked:
            self.server.blocked = True
            self.transport.pause_reading()

    def pause_writing(self) -> None:
        self.session.paused = True

    def resume_writing(self) -> None:
        self.session.paused = False
        self.session.serve()
        if self.clogged:
            self.clogged = False
            if not self.session.blocked:
                self.transport.resume_reading()

    def flush(self) -> None:
        """Sends what has gathered; a connection whose end is agreed is closed."""
        if data := self.session.take_output():
            self.transport.write(data)
            self.sent = self.server.now()
            if self.transport.get_write_buffer_size() > CLOGGED:  # it asks and asks, and does not read the answers
                self.clogged = True
                self.transport.pause_reading()
        if self.session.state == "closed":
            self.transport.close()
        else:
            self.session.serve()

    def beat(self, now: float) -> None:
        """Heartbeats: sends one after half the time without a word; ends a connection that is silent for two times."""
        session = self.session
        if session.state in ("header", "start", "tune", "open") and now - self.made > HANDSHAKE:
            self.transport.abort()
        if session.state == "closing":
            self.closing_since = self.closing_since or now
            if now - self.closing_since > FAREWELL:
                self.transport.abort()
        if not session.heartbeat or session.state not in ("open", "running"):
            return
        if now - self.received > 2 * session.heartbeat and not (session.blocked or self.clogged):
            self.transport.abort()
        elif now - self.sent >= session.heartbeat / 2:
            self.transport.write(frames.PULSE)
            self.sent = now


class Server:
    """Serves a broker to AMQP clients of this machine."""

    def __init__(self, broker: Broker, user: str, password: str, limits: Limits | None = None) -> None:
        self.broker = broker
        self.user = user
        self.password = password
        self.limits = limits or Limits()
        self.links: dict[Session, Link] = {}
        self.awake: list[Session] = []  # those with something to send
        self.alarm: asyncio.TimerHandle | None = None
        self.blocked = False
        self.idle_since = self.now()

    now = staticmethod(time.monotonic)

    async def start(self, port: int = 0) -> int:
        """Listens; the port (a free one where none is asked for)."""
        self.loop = asyncio.get_running_loop()
        self.listener = await self.loop.create_server(lambda: Link(self), HOST, port)
        self.beats = self.loop.create_task(self.beat())
        self.schedule()
        return self.listener.sockets[0].getsockname()[1]

    async def close(self) -> None:
        """Tells every client that the broker shuts down, waits shortly for their answers, ends."""
        self.listener.close()
        self.beats.cancel()
        if self.alarm is not None:
            self.alarm.cancel()
        for session in list(self.links):
            session.close(AmqpError("CONNECTION_FORCED", "broker forced connection closure with reason 'shutdown'"))
        self.flush()
        end = self.now() + FAREWELL
        while self.links and self.now() < end:
            await asyncio.sleep(0.01)
        for link in list(self.links.values()):
            link.transport.abort()
        await asyncio.sleep(0)
        self.broker.write_down()
        self.commit()

    def idle(self) -> float:
        """Seconds since the last connection went; 0 while there is one."""
        return 0.0 if self.links else self.now() - self.idle_since

    def cut(self, vhost: str) -> None:
        """A virtual host was deleted: its connections are closed."""
        for session in list(self.links):
            if session.vhost is not None and session.vhost.name == vhost:
                session.close(AmqpError("CONNECTION_FORCED", f"vhost '{vhost}' is deleted"))

    def forget(self, link: Link) -> None:
        self.links.pop(link.session, None)
        if not self.links:
            self.idle_since = self.now()

    # Turns of the event loop.

    def wake(self, session: Session) -> None:
        """A session has something to send: all of them do so at the end of this turn."""
        if not self.awake:
            self.loop.call_soon(self.flush)
        self.awake.append(session)

    def flush(self) -> None:
        """First the journal, then the answers: what is confirmed is on disk."""
        awake, self.awake = self.awake, []
        self.commit()
        for session in awake:
            if (link := self.links.get(session)) is not None:
                link.flush()
        self.schedule()
        if self.blocked and not self.broker.blocked:
            self.blocked = False
            self.unblock()

    def commit(self) -> None:
        if self.broker.journal is not None:
            self.broker.journal.commit()

    def schedule(self) -> None:
        """Sets the clock for what the broker has to do next."""
        due = self.broker.due()
        if due is None:
            return
        delay = max(0.0, due - self.broker.clock())
        if self.alarm is None or self.alarm.cancelled() or self.alarm.when() > self.loop.time() + delay:
            if self.alarm is not None:
                self.alarm.cancel()
            self.alarm = self.loop.call_later(delay, self.tick)

    def tick(self) -> None:
        self.alarm = None
        self.broker.tick()
        self.commit()
        self.schedule()
        if self.blocked and not self.broker.blocked:
            self.blocked = False
            self.unblock()

    async def beat(self) -> None:
        while True:
            await asyncio.sleep(0.5)
            now = self.now()
            for link in list(self.links.values()):
                link.beat(now)

    def unblock(self) -> None:
        """There is memory again: who had to wait goes on."""
        for link in self.links.values():
            if link.session.blocked:
                link.session.unblock()
                if link.session.blocked:  # what it had sent already was too much again
                    self.blocked = True
                elif not link.clogged:
                    link.transport.resume_reading()
