"""What zmq's monitor says of a watched socket: who has connected, who has gone, whose handshake failed."""

from __future__ import annotations

import contextlib
import socket as net
from itertools import count
from typing import Any

import zmq
from zmq.utils.monitor import parse_monitor_message

from mqlab.sockets.pipes import End, Pipes

FAILED = {
    zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL: "the handshake failed",
    zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL: "the handshake failed: the two do not speak the same protocol, or keys differ",
    zmq.EVENT_HANDSHAKE_FAILED_AUTH: "the handshake failed: it was not let in",
}
_numbers = count(1)


def plain(context: Any) -> Any:
    """Return the same context without anything that watches it."""
    return zmq.Context.shadow(context.underlying)


def port(fd: int, there: bool) -> int:
    """Return the port at the other end of a connection of this process, or at this one; 0: it has none."""
    try:
        opened = net.socket(fileno=fd)
    except OSError:
        return 0
    try:
        name = opened.getpeername() if there else opened.getsockname()
        return name[1] if isinstance(name, tuple) else 0
    except OSError:
        return 0
    finally:
        opened.detach()


class Monitor:
    """The monitor of one socket; `ear` is where its events come."""

    def __init__(self, socket: Any, end: End) -> None:
        self.end = end
        address = f"inproc://mqlab.monitor.{next(_numbers)}"
        zmq.Socket.monitor(socket, address, zmq.EVENT_ALL)
        self._context = plain(socket.context)
        self.ear: Any = self._context.socket(zmq.PAIR)
        self.ear.linger = 0
        self.ear.connect(address)
        self._tee: Any = None
        self._accepted: list[int] = []
        self._ours = 0
        self._own: dict[int, int] = {}  # the connections that it has made itself, and their ports here
        self._heard: list[tuple[int, int]] = []

    def leave(self, socket: Any) -> None:
        """The socket is closed: its monitor says a last word."""
        with contextlib.suppress(zmq.ZMQError):
            zmq.Socket.monitor(socket, None, 0)

    def tee(self, socket: Any) -> Any:
        """Return a socket that gets a copy of each event from now on."""
        address = f"inproc://mqlab.tee.{next(_numbers)}"
        self.untee()
        tee = self._context.socket(zmq.PAIR)
        tee.linger = 0
        tee.bind(address)
        learners = socket.context.socket(zmq.PAIR)
        learners._watch = None  # it is not one of those to be shown
        learners.connect(address)
        self._tee = tee
        return learners

    def untee(self) -> None:
        """No more copies."""
        tee, self._tee = self._tee, None
        if tee is not None:
            tee.close(0)

    def hear(self, pipes: Pipes) -> bool:
        """Take all that has come; False: there will be no more."""
        while self.ear is not None:
            try:
                frames = self.ear.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return True
            except zmq.ZMQError:
                return False
            if self._tee is not None:
                with contextlib.suppress(zmq.ZMQError):
                    self._tee.send_multipart(frames, zmq.NOBLOCK)
            event = parse_monitor_message(frames)
            if event["event"] == zmq.EVENT_MONITOR_STOPPED:
                return False
            if event["event"] == zmq.EVENT_CONNECTED:
                self._own[event["value"]] = here = port(event["value"], False)
                pipes.ports.add(here)
            self._heard.append((event["event"], event["value"]))
        return False

    def tell(self, pipes: Pipes) -> None:
        """Tell what was heard, when all monitors have been heard: who has connected from here is known then."""
        heard, self._heard = self._heard, []
        end = self.end
        for event, value in heard:
            match event:
                case zmq.EVENT_ACCEPTED:
                    self._accepted.append(value)
                case zmq.EVENT_HANDSHAKE_SUCCEEDED if self._accepted:
                    number = self._accepted.pop(0)
                    there = port(number, True)
                    if not (there in pipes.ports if there else self._all_ours()):
                        pipes.peer(end, number, f"peer {next(pipes.visitors)} of {end.name}")
                case zmq.EVENT_HANDSHAKE_SUCCEEDED:
                    for number in self._own.keys() - end.peers.keys():
                        if pipes.outside(end):
                            pipes.peer(end, number, f"{end.name} to another process")
                case zmq.EVENT_DISCONNECTED:
                    pipes.ports.discard(self._own.pop(value, 0))
                    if value in self._accepted:
                        self._accepted.remove(value)
                    pipes.lost(end, value)
                case _ if event in FAILED:
                    if self._accepted:
                        self._accepted.pop(0)
                    pipes.refused(end, FAILED[zmq.Event(event)])

    def _all_ours(self) -> bool:
        """Tell, where there are no ports (ipc), whether no more have come than watched sockets have connected."""
        here = {pipe.to if pipe.source is self.end else pipe.source for pipe in (*self.end.ins, *self.end.outs)}
        ours = sum(other.watched for other in here)
        self._ours += 1
        return self._ours <= ours

    def close_ear(self) -> None:
        """Take no more events."""
        self.untee()
        ear, self.ear = self.ear, None
        if ear is not None:
            ear.close(0)
