"""The bench of the ZeroMQ checks: sockets of a check's own around an answer, and a limit on everything."""

from __future__ import annotations

import ctypes
import socket as plain
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, TypeVar

import zmq

from mqlab.exercises.guard import Overtime, limit, raise_when_caught
from mqlab.exercises.outcome import NotYet

SECONDS = 2.5  # for one call of an answer
PATIENCE = 2_000  # ms that a socket of the check waits for a message
LINGER = 1_000  # ms that a closed socket of an answer tries on, at most
LOOPBACK = "tcp://127.0.0.1"

Answer = TypeVar("Answer")


class _LentSocket(zmq.Socket[bytes]):
    """A plain socket, but one that is closed lingers for a while only: else nobody could end its context."""

    def close(self, linger: int | None = None) -> None:
        if not self.closed:
            wanted = int(self.linger) if linger is None else linger
            linger = wanted if 0 <= wanted <= LINGER else LINGER
        super().close(linger)


class Lent(zmq.Context[_LentSocket]):
    """The context for an answer: plain, but it remembers every socket that was made with it."""

    _socket_class = _LentSocket

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.__dict__["made"] = []
        self.__dict__["ending"] = threading.Lock()

    def socket(self, *args: Any, **kwargs: Any) -> Any:
        made = super().socket(*args, **kwargs)
        self.__dict__["made"].append(made)  # kept, so that no collector closes what the answer leaves open
        return made

    def term(self) -> None:
        """End the context, as pyzmq does; who comes second only waits, for two at once make libzmq abort."""
        with self.__dict__["ending"]:
            if not self.closed:
                super().term()

    @property
    def open(self) -> list[str]:
        """The kinds of the sockets that are open, such as ["PULL", "PUSH"]."""
        return [zmq.SocketType(made.type).name for made in self.__dict__["made"] if not made.closed]


class Stage:
    """What one act of a check needs: a context of its own, one to lend, and threads that play the other programs."""

    def __init__(self) -> None:
        self.context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self.lent = Lent()
        self._players: list[_Player] = []
        self._made: list[zmq.Socket[bytes]] = []
        self._reserved: list[plain.socket] = []
        self._over = False
        self._theirs: list[threading.Thread] = []  # threads that the answer has started

    # ---- what a check prepares

    def socket(self, kind: int, **options: Any) -> zmq.Socket[bytes]:
        """Return a socket of the check's own that waits PATIENCE at most; options are set by name (subscribe=b"")."""
        made = self.context.socket(kind)
        self._made.append(made)
        made.linger, made.rcvtimeo, made.sndtimeo = 0, PATIENCE, PATIENCE
        for name, value in options.items():
            setattr(made, name, value)
        return made

    def bind(self, kind: int, at: str = "", **options: Any) -> tuple[zmq.Socket[bytes], str]:
        """Return a socket that is bound, and its address: on a free port of loopback, or where `free()` said."""
        made = self.socket(kind, **options)
        if at:
            self._release(at)
        made.bind(at or f"{LOOPBACK}:*")
        return made, made.getsockopt_string(zmq.LAST_ENDPOINT)

    def connect(self, kind: int, address: str, **options: Any) -> zmq.Socket[bytes]:
        made = self.socket(kind, **options)
        made.connect(address)
        return made

    def free(self) -> str:
        """Return an address that nobody has bound, and that nobody else will get until `bind(at=...)` or `release`."""
        held = plain.socket()
        held.bind(("127.0.0.1", 0))
        self._reserved.append(held)
        return f"{LOOPBACK}:{held.getsockname()[1]}"

    def free_for_answer(self) -> str:
        """Return an address that the answer is to bind itself."""
        address = self.free()
        self._release(address)
        return address

    def _release(self, address: str) -> None:
        port = int(address.rpartition(":")[2])
        for held in list(self._reserved):
            if held.getsockname()[1] == port:
                held.close()
                self._reserved.remove(held)

    # ---- the other programs

    def play(self, act: Callable[..., Any], *args: Any) -> _Player:
        """Run `act(*args)` in a thread, joined when the stage is left; a zmq.Again in it just ends it."""
        player = _Player(act, args)
        self._players.append(player)
        player.start()
        return player

    # ---- the learner's code

    def lend(
        self, answer: Callable[[Lent], Answer], still_running: str | Callable[[], str], seconds: float = SECONDS
    ) -> Answer:
        """Return `answer(lent context)`, run in this thread.

        NotYet: with `still_running` (or what it says then) when the time is over, or about what ZeroMQ refused.
        """
        try:
            with limit(seconds), self._noting_threads():
                return answer(self.lent)
        except Overtime:
            raise NotYet(still_running if isinstance(still_running, str) else still_running()) from None
        except zmq.ZMQError as error:
            if question := refusal(error):
                raise NotYet(question) from None
            raise

    def expect_tidy(self, name: str = "Your function") -> None:
        """Ask (by NotYet) when the answer has left a socket open or a thread running."""
        if self.lent.closed:
            raise NotYet(f"{name} has ended the context that it was given. Whose is it, and who may still need it?")
        kinds = self.lent.open
        if kinds:
            raise NotYet(
                f"{name} came back and left {_several(kinds)} open. Who closes a socket, also when something fails? "
                "(A context cannot end before its last socket is closed.)"
            )
        running = self.threads_left(0.5)
        if running:
            raise NotYet(
                f"{name} came back, and {_several(running, 'thread')} of its own still runs. Who waits for it?"
            )

    @contextmanager
    def _noting_threads(self) -> Iterator[None]:
        """Note which threads this thread starts, and which those start; Jupyter may start some of its own meanwhile."""
        start, lending = threading.Thread.start, threading.current_thread()

        def noted(thread: threading.Thread) -> None:
            if threading.current_thread() in (lending, *self._theirs):
                self._theirs.append(thread)
            start(thread)

        threading.Thread.start = noted  # type: ignore[method-assign,assignment]
        try:
            yield
        finally:
            threading.Thread.start = start  # type: ignore[method-assign]

    def threads_left(self, seconds: float = 0.0) -> list[threading.Thread]:
        """Return the threads that the answer has started and that have not ended after so many seconds."""
        until = time.monotonic() + seconds
        for each in filter(threading.Thread.is_alive, self._theirs):
            each.join(max(0.0, until - time.monotonic()))
        return [each for each in self._theirs if each.is_alive()]

    # ---- the end

    def dismiss(self) -> None:
        """End the players, whatever they wait for on a socket, and the check's own sockets: the play is over."""
        if self._over:
            return
        self._over = True
        ending = self._end(self.context)
        for player in self._players:
            player.join(SECONDS)
        for made in self._made:
            made.close(0)
        ending.join(PATIENCE / 1000)

    def close(self) -> None:
        """End everything: the answer's threads and sockets, the players, and the check's own sockets."""
        ending = self._end(self.lent)
        for thread in self.threads_left(0.5):
            _stop(thread)
        for made in self.lent.__dict__["made"]:
            if not made.closed:
                made.close(0)
        self.dismiss()
        for held in self._reserved:
            held.close()
        ending.join(PATIENCE / 1000 + 1)
        self.threads_left(1.0)

    def _end(self, context: zmq.Context[Any]) -> threading.Thread:
        """End the context in a thread: who is blocked on one of its sockets gets ContextTerminated at once."""
        ending = threading.Thread(target=_term, args=(context,), name="mqlab end", daemon=True)
        ending.start()
        return ending


class _Player(threading.Thread):
    """Another program of the check; `error` is what it stopped with."""

    def __init__(self, act: Callable[..., Any], args: tuple[Any, ...]) -> None:
        super().__init__(name=f"mqlab player {act.__name__}", daemon=True)
        self._act, self._args = act, args
        self.value: Any = None
        self.error: BaseException | None = None

    def run(self) -> None:
        try:
            self.value = self._act(*self._args)
        except zmq.ZMQError as error:  # nobody came, or the stage was closed
            self.error = error

    def result(self, seconds: float = SECONDS) -> Any:
        """Wait for its end and return what it returned; None when it had to give up."""
        self.join(seconds)
        return self.value


@contextmanager
def stage() -> Iterator[Stage]:
    """Give a stage; at the end no socket, thread or context of it is left, whatever the answer has done."""
    opened = Stage()
    try:
        yield opened
    finally:
        with limit(3 * SECONDS), suppress(Overtime):
            opened.close()


def _term(context: zmq.Context[Any]) -> None:
    with suppress(zmq.ZMQError):
        if not context.closed:
            context.term()


class _Insisting(Overtime):
    """Made in the thread in which it is raised, and raised there again on the line that catches it."""

    def __init__(self, *args: object) -> None:
        super().__init__(*args)
        raise_when_caught(sys._getframe(1))


def _stop(thread: threading.Thread) -> None:
    """Raise Overtime in a thread of the answer's that does not end: the only way into its endless loop."""
    until = time.monotonic() + PATIENCE / 1000
    while thread.ident and thread.is_alive() and time.monotonic() < until:
        ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread.ident), ctypes.py_object(_Insisting))
        thread.join(0.05)


# ---- what is seen from outside


def take(socket: zmq.Socket[bytes], n: int, quiet: int = PATIENCE) -> list[list[bytes]]:
    """Return the next n messages, each as a list of frames; fewer when nothing has come for `quiet` ms."""
    taken: list[list[bytes]] = []
    while len(taken) < n and socket.poll(quiet):
        taken.append(socket.recv_multipart())
    return taken


def rest(socket: zmq.Socket[bytes], quiet: int = 100) -> list[list[bytes]]:
    """Return all that still comes, until nothing has come for `quiet` ms."""
    return take(socket, 100_000, quiet)


def refusal(error: zmq.ZMQError) -> str:
    """Return a question about what ZeroMQ refused; "" when there is nothing special to say."""
    if isinstance(error, zmq.Again):
        return (
            "A wait of yours came to its limit (zmq.Again), and nobody caught it. "
            "What should your function do when nothing comes?"
        )
    if isinstance(error, zmq.ContextTerminated):
        return "The context ended while you waited on a socket. Who ended it, and who should?"
    questions: dict[int, str] = {
        zmq.EADDRINUSE: (
            "The address is taken (EADDRINUSE): another program has bound it. Which side binds, which connects?"
        ),
        zmq.EFSM: (
            "A socket refused your call in its present state (EFSM). REQ sends, then receives; "
            "REP receives, then sends. In which order do you use yours?"
        ),
        zmq.ENOTSOCK: "You use a socket that is closed (ENOTSOCK). Where do you close it?",
        zmq.ENOTSUP: (
            "That socket cannot do what you ask of it (ENOTSUP): some only send, some only receive, and one that is "
            "closed does nothing. What did you ask, of which socket?"
        ),
        zmq.EINVAL: (
            "ZeroMQ does not understand an argument of yours (EINVAL). Is it an address such as the one you were given?"
        ),
    }
    return questions.get(error.errno or 0, "")


def _several(things: list[Any], what: str = "") -> str:
    if what:
        return f"{len(things)} {what}{'s' if len(things) > 1 else ''}"
    kinds = [
        f"{things.count(kind)} {kind} sockets" if things.count(kind) > 1 else f"a {kind} socket" for kind in things
    ]
    return " and ".join(dict.fromkeys(kinds))
