"""A `zmq.proxy` in a thread of its own, whose capture socket tells the watch what it has passed on."""

from __future__ import annotations

import contextlib
import threading
from itertools import count
from typing import TYPE_CHECKING, Any

import zmq

from mqlab.sockets.monitor import plain
from mqlab.sockets.pipes import End, Frames, key

if TYPE_CHECKING:
    from mqlab.sockets import Watch

_numbers = count(1)


class Proxy:
    """Passes on what comes to `frontend` and `backend`, in a thread; made by `watch.proxy`."""

    def __init__(self, watch: Watch, frontend: Any, backend: Any) -> None:
        self._sockets = (frontend, backend)
        self._ends: tuple[End, End] = (frontend._name(), backend._name())
        self._watch = watch
        self._context = plain(frontend.context)
        number = next(_numbers)
        self.ear, self._capture = self._pair(f"inproc://mqlab.capture.{number}", zmq.PULL, zmq.PUSH)
        self._control, self._order = self._pair(f"inproc://mqlab.control.{number}", zmq.PAIR, zmq.PAIR)
        self._thread = threading.Thread(target=self._run, name="mqlab-proxy", daemon=True)

    def _pair(self, address: str, binds: int, connects: int) -> tuple[Any, Any]:
        one, two = self._context.socket(binds), self._context.socket(connects)
        for each in (one, two):
            each.linger = 0
            each.hwm = 0
        one.bind(address)
        two.connect(address)
        return one, two

    def start(self) -> None:
        """Begin to pass on."""
        self._thread.start()

    def _run(self) -> None:
        frontend, backend = self._sockets
        try:
            with contextlib.suppress(zmq.ZMQError):
                zmq.proxy_steerable(frontend, backend, self._capture, self._control)
        finally:
            for each in (self._capture, self._control):
                each.close(0)
            if self._watch.ended:
                frontend.close(0)
                backend.close(0)

    def passed(self) -> tuple[End, Frames] | None:
        """Return the next message that was passed on: from which socket, and its parts."""
        if self.ear is None:
            return None
        while True:
            try:
                frames = tuple(map(key, self.ear.recv_multipart(zmq.NOBLOCK)))
            except zmq.ZMQError:
                return None
            if frames[0][:1] in (b"\0", b"\1") and self._ends[1].type == "XPUB" and len(frames) == 1:
                continue  # a subscription on its way to the publisher
            return self._from(frames), frames

    def _from(self, frames: Frames) -> End:
        """Tell from which side a message has come: where it was waiting, else where it can only have come from."""
        front, back = self._ends
        for end in (front, back):
            if self._watch._pipes.find(end, frames):
                return end
        return back if back.type in ("PULL", "SUB", "XSUB") or not front.ins else front

    def stop(self) -> None:
        """Pass on nothing more; the sockets stay open."""
        if self._thread.is_alive():
            with contextlib.suppress(zmq.ZMQError):
                self._order.send(b"TERMINATE", zmq.NOBLOCK)
        self.join()

    def join(self) -> None:
        """Wait until the thread has ended."""
        self._thread.join(5)
        self._order.close(0)

    @property
    def alive(self) -> bool:
        """Whether it still passes on."""
        return self._thread.is_alive()

    def close_ear(self) -> None:
        """Take no more copies."""
        ear, self.ear = self.ear, None
        if ear is not None:
            ear.close(0)
