"""Lab 12, the checks that kill a server and that listen on the wire."""

from __future__ import annotations

import select
import socket as plain
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import zmq
from zmq.auth.thread import ThreadAuthenticator
from zmq.utils.monitor import recv_monitor_message

from mqlab import processes
from mqlab.exercises import zmq_bench as bench
from mqlab.exercises.guard import Overtime, limit
from mqlab.exercises.outcome import NotYet

SECONDS = 6.0  # for one call of an answer when a server dies, else 3
PATIENT = 2.5  # seconds, for a server that answers soon
WORK = 0.05  # seconds that it works: who takes PATIENT for milliseconds misses every answer, also on a slow machine
WAIT = 2_000  # milliseconds that a check waits for what must come
LATER = 350  # the same for what must not come: a socket connects anew every 100
_knock_numbers = count(1)  # an address of a monitor is free only some time after its socket has closed
HANDSHAKES = (  # how one ends: in, or turned away
    zmq.Event.HANDSHAKE_SUCCEEDED,
    zmq.Event.HANDSHAKE_FAILED_NO_DETAIL,
    zmq.Event.HANDSHAKE_FAILED_PROTOCOL,
    zmq.Event.HANDSHAKE_FAILED_AUTH,
)

# ---- 4 outlive your server


def serve(address: str, register: str, stuck_at: str) -> None:
    """Issue certificates, each number once, and note that on disk; never answer the one whose name is `stuck_at`."""
    import json
    import threading
    import time
    from pathlib import Path

    import zmq

    print("here")
    with zmq.Context() as context, context.socket(zmq.REP) as socket:
        until = time.monotonic() + 15
        while True:
            try:
                socket.bind(address)
                break
            except zmq.ZMQError:  # the server before this one is not dead yet
                if time.monotonic() > until:
                    raise
                time.sleep(0.01)
        print("at", socket.getsockopt_string(zmq.LAST_ENDPOINT))
        while True:
            number, name = socket.recv_multipart()
            print("asked", number.hex(), name.decode(errors="replace"))
            issued = json.loads(Path(register).read_text())
            if number.hex() not in issued:
                issued[number.hex()] = f"certificate {len(issued) + 1} for {name.decode(errors='replace')}"
                Path(register + ".draft").write_text(json.dumps(issued))
                Path(register + ".draft").replace(register)  # whole, or not at all
            print("issued", name.decode(errors="replace"))
            if name.decode(errors="replace") == stuck_at:
                threading.Event().wait()
            socket.send_multipart([number, issued[number.hex()].encode()])


def check_ask(_: Any, ask: Callable[..., object]) -> str:
    """Let the answer ask a server that answers, one that never does, nobody, and one that is killed at its work."""
    _expect_asked_once(ask)
    _expect_failure_reported(ask)
    with TemporaryDirectory(prefix="mqlab-lab12-", ignore_cleanup_errors=True) as folder:
        register = Path(folder, "register.json")
        register.write_text("{}")
        with processes.start(serve, "tcp://127.0.0.1:*", str(register), "Chidi", name="lab 12: first server") as first:
            address = first.wait_for("at ").split()[1]
            with processes.start(serve, address, str(register), "", name="lab 12: second server") as second:
                second.wait_for("here")
                _expect_survival(ask, address, first, second)
    return (
        "Who was answered had asked once. Chidi's server was killed at its work, and he has one certificate all "
        "the same."
    )


def _called(
    ask: Callable[..., object],
    address: str,
    name: str,
    patience: float,
    tries: int,
    stuck: str,
    seconds: float = 3.0,
) -> object:
    """Call the answer in a context of its own, in which it must leave nothing open."""

    def answer(own: zmq.Context[Any]) -> object:
        try:
            return ask(own, address, name, patience, tries)
        except zmq.ZMQError as error:
            if error.errno != zmq.EFSM:
                raise
            raise NotYet(
                "REQ said: Operation cannot be accomplished in current state. It has sent, and nothing was received. "
                "What can you do with a socket that waits for an answer that never comes?"
            ) from None

    with bench.stage() as stage:
        value = stage.lend(answer, stuck, seconds)
        stage.expect_tidy()
        return value


def _expect_asked_once(ask: Callable[..., object]) -> None:
    """Let the answer make three requests of a server that answers soon."""
    asked: list[list[bytes]] = []
    over = threading.Event()

    def answers(server: zmq.Socket[bytes]) -> None:
        issued: dict[bytes, bytes] = {}
        while not over.is_set():
            if not server.poll(50):
                continue
            asked.append(server.recv_multipart())
            if len(asked[-1]) != 2:
                server.send_multipart([b"?", b"?"])
                continue
            number, name = asked[-1]
            over.wait(WORK)
            issued.setdefault(number, b"certificate %d for %s" % (len(issued) + 1, name))
            server.send_multipart([number, issued[number]])

    stuck = "The server lives and has answered, and your function still runs after 3 s. What makes it stop?"
    with bench.stage() as stage:
        server, address = stage.bind(zmq.REP)
        stage.play(answers, server)
        try:
            found = [_called(ask, address, name, PATIENT, 3, stuck) for name in ("Amina", "Amina", "Björn")]
        except NotYet:
            _expect_two_parts(asked)
            raise
        finally:
            over.set()
    _expect_two_parts(asked)
    if None in found and asked:
        raise NotYet(
            "The server answers within a tenth of a second, and you gave up. In which unit does `poll` take its limit?"
        )
    if not asked:
        raise NotYet(
            "Your function came back, and the server has heard nothing. Who asks it? (If you do: in which unit does "
            "`poll` take its limit?)"
        )
    if len({number for number, _ in asked}) < 3:
        raise NotYet(
            "Amina needs two certificates, and got the first one twice: both requests had the same number. "
            "What makes a request a new one?"
        )
    if len(asked) > 3:
        raise NotYet(
            f"Three requests, each answered in time, and the server was asked {len(asked)} times. When must you "
            "ask again?"
        )
    wanted = [b"certificate 1 for Amina", b"certificate 2 for Amina", "certificate 3 for Björn".encode()]
    if found != wanted:
        raise NotYet(
            f"The server sent {wanted[0]!r}, as the second part of its answer. You gave back {found[0]!r}. Which part?"
        )


def _expect_two_parts(asked: list[list[bytes]]) -> None:
    if any(len(parts) != 2 for parts in asked):
        raise NotYet("The server got something that is not two parts, a number and a name. What do you send?")


def _expect_survival(
    ask: Callable[..., object], address: str, first: processes.Worker, second: processes.Worker
) -> None:
    def kill() -> None:
        with suppress(processes.ProcessError):
            first.wait_for("issued Chidi", SECONDS)
        first.kill()

    killer = threading.Thread(target=kill, daemon=True)
    killer.start()
    try:
        stuck = "The server was killed at work, another one took its place, and you still waited. Do you ask it?"
        found = _called(ask, address, "Chidi", 0.4, 12, stuck, SECONDS)
    finally:
        killer.join(2 * SECONDS)
    if found is None:
        raise NotYet(
            "The server was killed, a new one stood at the same address a moment later, and you gave up. Did you "
            "use all tries?"
        )
    numbers = {
        line.split()[1]
        for line in (first.output + "\n" + second.output).splitlines()
        if "Chidi" in line and line.startswith("asked")
    }
    if len(numbers) > 1:
        raise NotYet(
            f"Chidi asked for one certificate, and {len(numbers)} were issued: the first server had written his "
            "down before "
            "it was killed. How could the second one know that it is the same request?"
        )
    if found != b"certificate 1 for Chidi":
        raise NotYet(f"The server sent b'certificate 1 for Chidi', you gave back {found!r}. Which part of its answer?")


def _expect_failure_reported(ask: Callable[..., object]) -> None:
    """Let the answer ask somebody who never answers, and then nobody: what it did not get rid of must not come "
    "later."""
    with bench.stage() as stage:
        silent, address = stage.bind(zmq.ROUTER)
        stuck = (
            "A server took every request and answered none. You were given 3 tries of 0.2 s, and still waited "
            "after 3 s. "
            "What ends a try, and what counts them?"
        )
        began = time.monotonic()
        found = _called(ask, address, "Diego", 0.2, 3, stuck)
        took = time.monotonic() - began
        heard = bench.take(silent, 10, quiet=0)
        if found is not None:
            raise NotYet(
                f"No server has answered, and you gave back {found!r}. What does your function return when all tries "
                "have failed?"
            )
        if took < 0.1:
            raise NotYet(
                "You were given 3 tries of 0.2 s each, and gave up almost at once. In which unit does `poll` "
                "take its limit?"
            )
        if len(heard) > 3:
            raise NotYet(f"You were given 3 tries, and asked {len(heard)} times. What do you count?")
        if len(heard) < 2:  # the third may have been too late for a slow machine
            raise NotYet("You were given 3 tries, and after the first you gave up. What happens when nothing comes?")
    with bench.stage() as stage:
        later = stage.free()
        stage.lend(lambda own: ask(own, later, "Emre", 0.05, 2), "Nobody was there, and you still waited. For whom?")
        late, _ = stage.bind(zmq.ROUTER, at=later)
        if late.poll(LATER):
            raise NotYet(
                "You had reported a failure and closed your sockets. Then a server came up, and your request "
                "arrived all "
                "the same: a certificate that nobody waits for. What may a closed socket still do, and for how long?"
            )


# ---- 5 turn strangers away


class Wiretap:
    """A way to another address, on which everything that passes is written down."""

    def __init__(self, port: int) -> None:
        self.heard = b""
        self._to = port
        self._listener = plain.create_server(("127.0.0.1", 0))
        self.address = f"tcp://127.0.0.1:{self._listener.getsockname()[1]}"
        self._end, self._ended = plain.socketpair()
        self._thread = threading.Thread(target=self._pass_on, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._end.close()
        self._thread.join(5)

    def _pass_on(self) -> None:
        other: dict[plain.socket, plain.socket] = {}
        try:
            while True:
                ready, _, _ = select.select([self._ended, self._listener, *other], [], [], 10)
                if not ready or self._ended in ready:
                    return
                if self._listener in ready:
                    here = self._listener.accept()[0]
                    there = plain.create_connection(("127.0.0.1", self._to), 2)
                    other |= {here: there, there: here}
                    continue
                for end in ready:
                    data = b""
                    with suppress(OSError):
                        data = end.recv(65536)
                    self.heard += data
                    if data and end in other:
                        with suppress(OSError):
                            other[end].sendall(data)
                    elif end in other:
                        mate = other.pop(end)
                        other.pop(mate)
                        end.close()
                        mate.close()
        except OSError:
            return
        finally:
            for each in (self._listener, self._ended, *other):
                each.close()


class Doorkeeper:
    """Lets everybody in, and notes the keys."""

    def __init__(self) -> None:
        self.keys: list[bytes] = []

    def callback(self, domain: str, key: bytes) -> bool:
        self.keys.append(key)
        return True


def check_desk(_: Any, open_desk: Callable[..., object], enter: Callable[..., object]) -> str:
    """Let a student in through a wiretap, and see that no stranger comes in and nothing can be read on the way."""
    desk_keys, mine = zmq.curve_keypair(), zmq.curve_keypair()
    with _doorkept() as (own, doorkeeper):
        desk = _socket(open_desk, own, zmq.PULL, "open_desk", desk_keys)
        address = desk.getsockopt_string(zmq.LAST_ENDPOINT)
        if not address.startswith("tcp://"):
            raise NotYet(
                "`open_desk` gave back a socket that is not bound to a TCP address. Where can the desk be reached?"
            )
        monitor = desk.get_monitor_socket(addr=f"inproc://lab-12-desk-{id(desk)}")
        tap = Wiretap(int(address.rpartition(":")[2]))
        try:
            student = _socket(enter, own, zmq.PUSH, "enter", tap.address, mine, desk_keys[0])
            student.sndtimeo = WAIT
            with suppress(zmq.Again):
                student.send(b"Amina has passed")
            arrived = _arrives(desk, monitor)
        finally:
            tap.close()
        stranger = _knocks(own, address)
        if not arrived:
            _ask_why_nothing_came(own, address, desk_keys, bool(desk.curve_server) and not stranger)
        if desk.recv() != b"Amina has passed":
            raise NotYet("The desk has received something else than the student sent. Who else sends?")
        if stranger:
            raise NotYet(
                "A stranger without any key came in. Which side was told to insist on keys, and was it told "
                "before `bind`?"
            )
        if b"Amina" in tap.heard:
            raise NotYet("Your message could be read on the wire. When were the sockets told their keys?")
        if mine[0] not in doorkeeper.keys:
            raise NotYet("The student came in, with other keys than the ones you were given. Whose are they?")
    return "The certificate arrived, nobody on the wire could read it, and a stranger was turned away."


def _arrives(desk: zmq.Socket[Any], monitor: zmq.Socket[Any]) -> bool:
    """Tell whether a message comes, before somebody is turned away or the time is over."""
    until = time.monotonic() + 2 * WAIT / 1000  # a certificate has a long way: two handshakes, a doorkeeper's word
    poller = zmq.Poller()
    for each in (desk, monitor):
        poller.register(each, zmq.POLLIN)
    while (left := until - time.monotonic()) > 0:
        heard = dict(poller.poll(int(left * 1000) + 1))
        if desk in heard:
            return True
        if monitor in heard and recv_monitor_message(monitor)["event"] in HANDSHAKES[1:]:
            return False
    return False


@contextmanager
def _doorkept() -> Iterator[tuple[zmq.Context[Any], Doorkeeper]]:
    own: zmq.Context[Any] = zmq.Context()
    own.linger = 0
    guard, doorkeeper = ThreadAuthenticator(own), Doorkeeper()
    try:
        guard.start()
        guard.configure_curve_callback(credentials_provider=doorkeeper)
        yield own, doorkeeper
    finally:
        guard.stop()
        own.destroy(linger=0)


def _socket(
    answer: Callable[..., object], own: zmq.Context[Any], kind: int, name: str, *arguments: Any
) -> zmq.Socket[Any]:
    try:
        with limit(WAIT / 1000):
            made = answer(own, *arguments)
    except Overtime:
        raise NotYet(f"`{name}` still ran after {WAIT / 1000:g} s. Does it wait for somebody?") from None
    if not isinstance(made, zmq.Socket):
        raise NotYet(f"`{name}` should give back a socket. It gave back {type(made).__name__}: is there a `return`?")
    if made.closed:
        raise NotYet(f"`{name}` gave back a socket that is closed. Who is to use it now?")
    if made.type != kind:
        raise NotYet(
            f"`{name}` should give back a {zmq.SocketType(kind).name}. It gave back a "
            f"{zmq.SocketType(int(made.type)).name}: why?"
        )
    return made


def _knocks(own: zmq.Context[Any], address: str, keys: dict[str, bytes] | None = None) -> bool:
    """Tell whether a client with these keys (none at all) comes in."""
    with own.socket(zmq.PUSH) as client:
        for name, key in (keys or {}).items():
            setattr(client, name, key)
        monitor = client.get_monitor_socket(addr=f"inproc://lab-12-knock-{next(_knock_numbers)}")
        try:
            client.connect(address)
            while monitor.poll(WAIT):
                event = zmq.Event(recv_monitor_message(monitor)["event"])
                if event in HANDSHAKES:
                    return bool(event == zmq.Event.HANDSHAKE_SUCCEEDED)
            return False
        finally:
            client.disable_monitor()


def _ask_why_nothing_came(own: zmq.Context[Any], address: str, desk_keys: tuple[bytes, bytes], insists: bool) -> None:
    """Ask (by NotYet) about the desk where a client with the right keys does not come in, else about the client."""
    if not insists:
        raise NotYet(
            "The student did not get in. Is the desk told that it is the server, and does it know its keys before it "
            "binds?"
        )
    public, secret = zmq.curve_keypair()
    right = {"curve_publickey": public, "curve_secretkey": secret, "curve_serverkey": desk_keys[0]}
    if not _knocks(own, address, right):
        raise NotYet(
            "A client that knows the desk's public key was turned away by your desk. Which of its two keys did you "
            "give to which option?"
        )
    raise NotYet(
        "Your desk is fine, but your student was turned away. Which three keys does a client need, whose are they, and "
        "does it know them before it connects?"
    )
