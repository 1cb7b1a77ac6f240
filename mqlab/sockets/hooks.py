"""Sockets and contexts of pyzmq that write down what is done with them; all else is pyzmq's own."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import zmq
import zmq.asyncio

from mqlab.sockets.pipes import End, key

if TYPE_CHECKING:
    from mqlab.sockets import Watch

NATIVE: Any = zmq.Socket.__mro__[1]  # pyzmq's compiled socket: `send` and `recv` without any Python
Count = Callable[[], tuple[int, int]]
SUBSCRIBES = (zmq.SUBSCRIBE, zmq.UNSUBSCRIBE)


def _bytes(part: Any) -> bytes:
    return key(bytes(part.bytes if isinstance(part, zmq.Frame) else part))


class Hooks:
    """What both kinds of sockets have in common."""

    _watch: Watch | None = None
    _end: End | None = None
    _tee: Any = None  # the learner's own monitor
    _depth = 0
    _nothing: list[Any] | None = None

    def _name(self) -> End:
        assert self._watch
        if self._end is None:
            self._end = self._watch.new_end(self)
        return self._end

    def _note(self, what: str, *more: Any) -> None:
        if self._watch:
            self._watch.note([what, self._name(), *more])

    def _note_nothing(self) -> None:
        """It has looked and found nothing; said once for as long as nothing else happens, however often it looks."""
        watch = self._watch
        if watch and watch.last is self._nothing and self._nothing is not None:
            self._nothing[2] = time.monotonic()
        elif watch:
            self._nothing = ["nothing", self._name(), time.monotonic()]
            watch.note(self._nothing)

    def bind(self, addr: str) -> Any:
        """Bind, as pyzmq does."""
        if self._watch:
            self._watch.opening(self, addr)
        result = super().bind(addr)  # type: ignore[misc]
        self._note("bound", self._place(self.LAST_ENDPOINT.decode().rstrip("\0")))  # type: ignore[attr-defined]
        return result

    def connect(self, addr: str) -> Any:
        """Connect, as pyzmq does."""
        if self._watch:
            self._watch.opening(self, addr)
        self._note("connected", self._place(addr))
        return super().connect(addr)  # type: ignore[misc]

    def unbind(self, addr: str) -> None:
        """Unbind, as pyzmq does."""
        super().unbind(addr)  # type: ignore[misc]
        self._note("parted", self._place(addr))

    def disconnect(self, addr: str) -> None:
        """Disconnect, as pyzmq does."""
        super().disconnect(addr)  # type: ignore[misc]
        self._note("parted", self._place(addr))

    def close(self, linger: int | None = None) -> None:
        """Close, as pyzmq does."""
        if self._watch and self._end and not self.closed:  # type: ignore[attr-defined]
            self._watch.closing(self)
            self._note("closed")
        super().close(linger=linger)  # type: ignore[misc]

    def setsockopt(self, option: int, value: Any) -> None:
        """Set an option, as pyzmq does."""
        self.set(option, value)

    def subscribe(self, topic: str | bytes) -> None:
        """Subscribe, as pyzmq does."""
        self.set(zmq.SUBSCRIBE, topic.encode() if isinstance(topic, str) else topic)

    def unsubscribe(self, topic: str | bytes) -> None:
        """Unsubscribe, as pyzmq does."""
        self.set(zmq.UNSUBSCRIBE, topic.encode() if isinstance(topic, str) else topic)

    def set(self, option: int, value: Any) -> None:
        """Set an option, as pyzmq does."""
        super().set(option, value)  # type: ignore[misc]
        if option in SUBSCRIBES and self._watch:
            prefix = value.encode() if isinstance(value, str) else bytes(value)
            self._note("subscribed" if option == zmq.SUBSCRIBE else "unsubscribed", prefix)

    def get_monitor_socket(self, events: int | None = None, addr: str | None = None) -> Any:
        """Return a socket with the monitor's events, as pyzmq does; the watch goes on to get them too."""
        if self._watch is None or addr is not None:
            return super().get_monitor_socket(events, addr)  # type: ignore[misc]
        if self._tee is None or self._tee.closed:
            self._tee = self._watch.tee(self)
        return self._tee

    def disable_monitor(self) -> None:
        """End the monitor, as pyzmq does; the watch keeps its own."""
        if self._watch is None:
            super().disable_monitor()  # type: ignore[misc]
        else:
            self._watch.untee(self)
            self._tee = None

    def _place(self, addr: str) -> str:
        """Return an address by which both ends of a pipe are known."""
        kind, _, rest = addr.partition("://")
        if kind == "tcp":
            return f"tcp:{rest.rpartition(':')[2]}"
        return f"{addr} {self.context.underlying}" if kind == "inproc" else addr  # type: ignore[attr-defined]


class Socket(Hooks, zmq.Socket):  # type: ignore[misc]
    """A watched socket."""

    _sending: list[bytes] | None = None
    _receiving: list[bytes] | None = None

    def send(self, data: Any, flags: int = 0, copy: bool = True, track: bool = False, **more: Any) -> Any:  # type: ignore[override]
        """Send one part of a message, as pyzmq does."""
        watch = self._watch
        if watch is None or self._depth:
            return super().send(data, flags, copy, track, **more)
        parts = [*(self._sending or ()), _bytes(data)]
        if flags & zmq.SNDMORE:
            result = super().send(data, flags, copy, track, **more)
            self._sending = parts
            return result
        self._sending = None
        return self._told(parts, super().send, data, flags, copy, track, **more)

    def send_multipart(
        self, msg_parts: Any, flags: int = 0, copy: bool = True, track: bool = False, **more: Any
    ) -> Any:
        """Send the parts of a message, as pyzmq does."""
        if self._watch is None:
            return super().send_multipart(msg_parts, flags, copy, track, **more)
        msg_parts = list(msg_parts)
        try:
            parts = [_bytes(part) for part in msg_parts]
        except TypeError:  # pyzmq says what is wrong with it
            return super().send_multipart(msg_parts, flags, copy, track, **more)
        return self._told(parts, super().send_multipart, msg_parts, flags, copy, track, **more)

    def _told(self, parts: list[bytes], send: Any, data: Any, flags: int, *how: Any, **more: Any) -> Any:
        watch = self._watch
        assert watch
        now = time.monotonic()
        record: list[Any] = ["sent", self._name(), tuple(parts), now, None]
        watch.note(record)  # before it is sent: who receives it must not be known earlier
        watch.busy[self] = ("put", now)
        self._depth += 1
        try:
            result = send(data, flags, *how, **more)
            record[4] = True
            return result
        except BaseException as error:
            record[4] = False
            watch.note(["refused", record[1], now, isinstance(error, zmq.Again)])
            self._ended(error)
            raise
        finally:
            self._depth -= 1
            watch.busy.pop(self, None)

    def recv(self, flags: int = 0, copy: bool = True, track: bool = False) -> Any:
        """Receive one part of a message, as pyzmq does."""
        watch = self._watch
        if watch is None or self._depth:
            return super().recv(flags, copy, track)
        part = self._took(super().recv, flags, copy, track)
        parts = [*(self._receiving or ()), _bytes(part)]
        self._receiving = parts if self.getsockopt(zmq.RCVMORE) else None
        if self._receiving is None:
            self._note("received", tuple(parts), time.monotonic())
        return part

    def recv_multipart(self, flags: int = 0, copy: bool = True, track: bool = False) -> Any:
        """Receive the parts of a message, as pyzmq does."""
        if self._watch is None:
            return super().recv_multipart(flags, copy, track)
        parts = self._took(super().recv_multipart, flags, copy, track)
        begun = self._receiving or ()
        self._receiving = None
        self._note("received", (*begun, *map(_bytes, parts)), time.monotonic())
        return parts

    def _took(self, receive: Any, *how: Any) -> Any:
        watch = self._watch
        assert watch
        watch.busy[self] = ("get", time.monotonic())
        self._depth += 1
        try:
            return receive(*how)
        except zmq.Again:
            self._note_nothing()
            raise
        except BaseException as error:
            self._ended(error)
            raise
        finally:
            self._depth -= 1
            watch.busy.pop(self, None)

    def poll(self, timeout: int | None = None, flags: int = zmq.POLLIN) -> int:
        """Look whether there is something, as pyzmq does."""
        found = super().poll(timeout, flags)
        if not found and flags & zmq.POLLIN:
            self._note_nothing()
        return found

    def _ended(self, error: BaseException) -> None:
        """Its context is terminated: nothing else can be done with it, and the context waits for its end."""
        if isinstance(error, zmq.ContextTerminated) and self._watch and self._watch.ended:
            self.close(0)

    def write_down(self) -> None:
        """Write down each message again."""
        for name in ("send", "recv", "recv_multipart", "send_multipart"):
            self.__dict__.pop(name, None)

    def only_count(self) -> Count:
        """From now on only count what is sent and received; return a function that tells how many so far.

        These take the place of pyzmq's own Python around the compiled calls, so they cost next to nothing.
        """
        self.write_down()
        send, receive, receive_all = NATIVE.send.__get__(self), NATIVE.recv.__get__(self), super().recv_multipart
        whole, more = super().send, int(zmq.SNDMORE)
        sent = received = 0

        def count_send(
            data: Any, flags: int = 0, copy: bool = True, track: bool = False, routing_id: Any = None, group: Any = None
        ) -> Any:
            nonlocal sent
            if not flags & more:
                sent += 1  # before it is sent: who receives it must not be known earlier
            try:
                if routing_id is None and group is None:
                    return send(data, flags, copy, track)
                return whole(data, flags, copy, track, routing_id, group)
            except BaseException:
                if not flags & more:
                    sent -= 1
                raise

        def count_recv(flags: int = 0, copy: bool = True, track: bool = False) -> Any:
            nonlocal received
            part = receive(flags, copy, track)
            received += 1
            return part

        def count_recv_multipart(flags: int = 0, copy: bool = True, track: bool = False) -> Any:
            nonlocal received
            parts = receive_all(flags, copy, track)
            received -= len(parts) - 1
            return parts

        mine = self.__dict__
        mine["send"], mine["recv"], mine["recv_multipart"] = count_send, count_recv, count_recv_multipart
        mine["send_multipart"] = super().send_multipart
        return lambda: (sent, received)


class AsyncSocket(Hooks, zmq.asyncio.Socket):  # type: ignore[misc]
    """A watched socket for asyncio."""

    def send(self, data: Any, flags: int = 0, copy: bool = True, track: bool = False, **more: Any) -> Any:  # type: ignore[override]
        """Send a message of one part, as pyzmq does."""
        return self._told([_bytes(data)], super().send(data, flags, copy, track, **more))

    def send_multipart(  # type: ignore[override]
        self, msg_parts: Any, flags: int = 0, copy: bool = True, track: bool = False, **more: Any
    ) -> Any:
        """Send the parts of a message, as pyzmq does."""
        msg_parts = list(msg_parts)
        parts = [_bytes(part) for part in msg_parts]
        return self._told(parts, super().send_multipart(msg_parts, flags, copy, track, **more))

    def _told(self, parts: list[bytes], future: Any) -> Any:
        if self._watch and isinstance(future, asyncio.Future):
            watch, record = self._watch, ["sent", self._name(), tuple(parts), time.monotonic(), None]
            watch.note(record)

            def ended(done: Any) -> None:
                record[4] = not done.cancelled() and done.exception() is None
                if not record[4]:
                    watch.note(["refused", record[1], record[3], True])

            if future.done():
                ended(future)
            else:
                future.add_done_callback(ended)
        return future

    def recv(self, *how: Any, **more: Any) -> Any:
        """Receive one part of a message, as pyzmq does."""
        return self._took(super().recv(*how, **more), lambda part: [part])

    def recv_multipart(self, *how: Any, **more: Any) -> Any:
        """Receive the parts of a message, as pyzmq does."""
        return self._took(super().recv_multipart(*how, **more), list)

    def _took(self, future: Any, parts_of: Any) -> Any:
        def ended(done: Any) -> None:
            if not done.cancelled() and done.exception() is None:
                self._note("received", tuple(map(_bytes, parts_of(done.result()))), time.monotonic())

        if self._watch and isinstance(future, asyncio.Future):
            if future.done():
                ended(future)
            else:
                future.add_done_callback(ended)
        return future

    def write_down(self) -> None:
        """It always does so."""

    def only_count(self) -> Count:
        """Nothing here is so fast that it has to be counted only."""
        return lambda: (0, 0)


class Context(zmq.Context):
    """A context whose sockets are watched."""

    _watch: Watch | None = None
    _socket_class = Socket

    def socket(self, socket_type: int, socket_class: Any = None, **more: Any) -> Any:
        """Make a socket, as pyzmq does."""
        made = super().socket(socket_type, socket_class, **more)
        if self._watch and isinstance(made, Hooks):
            self._watch.adopt(made)
        return made


class AsyncContext(zmq.asyncio.Context):
    """A context for asyncio whose sockets are watched."""

    _watch: Watch | None = None
    _socket_class = AsyncSocket

    def socket(self, socket_type: int, socket_class: Any = None, **more: Any) -> Any:
        """Make a socket, as pyzmq does."""
        made = super().socket(socket_type, socket_class, **more)
        if self._watch and isinstance(made, Hooks):
            self._watch.adopt(made)
        return made


__all__ = ["AsyncContext", "AsyncSocket", "Context", "Hooks", "Socket"]
