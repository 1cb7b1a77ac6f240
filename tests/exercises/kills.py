"""For the kill runs of lab 12: its balancer and its client, while workers and servers are killed for real."""

import contextlib
import random
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import zmq
from answers import solution

from mqlab import processes
from mqlab.exercises.lab12_survive import serve

CLIENTS, REQUESTS, WORKERS = 3, 8, 3
PATIENCE, TRIES = 0.3, 20  # of each request


@dataclass
class Tally:
    """What became of the requests of a run."""

    asked: int = 0
    answered: int = 0
    failed: int = 0  # and reported so
    kills: int = 0
    again: int = 0  # tries after the first
    wrong: list[str] = field(default_factory=list)  # what must never be

    def __add__(self, other: "Tally") -> "Tally":
        mine, theirs = vars(self), vars(other)
        return Tally(**{name: mine[name] + theirs[name] for name in mine})

    def __str__(self) -> str:
        return (
            f"{self.asked} requests: {self.answered} answered, {self.failed} reported as failed, "
            f"{len(self.wrong)} wrong; {self.kills} kills, {self.again} tries after the first"
        )


def balancer(source: str) -> None:
    """Run the balancer whose source this is, for ever."""
    import zmq

    space: dict[str, Any] = {"zmq": zmq}
    exec(source, space)
    with zmq.Context() as context, context.socket(zmq.ROUTER) as front, context.socket(zmq.ROUTER) as back:
        front.bind("tcp://127.0.0.1:*")
        back.bind("tcp://127.0.0.1:*")
        print("at", *(each.getsockopt_string(zmq.LAST_ENDPOINT) for each in (front, back)))
        space["balance"](front, back, 1_000_000)


def worker(address: str, register: str) -> None:
    """Issue certificates, each number once: who is killed in the middle leaves a whole entry, or none."""
    import os
    import time
    from pathlib import Path

    import zmq

    with zmq.Context() as context, context.socket(zmq.REQ) as socket:
        socket.connect(address)
        socket.send(b"READY")
        print("ready")
        while True:
            client, _, number, name = socket.recv_multipart()
            time.sleep(0.005)  # the work
            entry, draft = Path(register, number.hex()), Path(register, f"draft-{os.getpid()}")
            if not entry.exists():
                draft.write_bytes(b"certificate for " + name)
                draft.replace(entry)
            time.sleep(0.005)
            socket.send_multipart([client, b"", number, entry.read_bytes()])


class Counting(zmq.Context):
    """A context that counts the sockets that were made of it."""

    _made = 0

    def socket(self, *args: Any, **options: Any) -> Any:
        self.__dict__["_made"] = self.__dict__.get("_made", 0) + 1
        return super().socket(*args, **options)


def answered(name: str, certificate: Any) -> bool:
    return isinstance(certificate, bytes) and certificate.endswith(b"for " + name.encode())


def clients(ask: Callable[..., Any], address: str, tally: Tally, killer: Callable[[], None]) -> list[str]:
    """Let clients ask, each in a thread, while the killer kills; return the names of those who were answered."""
    happy: list[str] = []
    lock = threading.Lock()

    def client(who: int) -> None:
        for n in range(REQUESTS):
            name, own = f"student {who}-{n}.", Counting()
            try:
                found = ask(own, address, name, PATIENCE, TRIES)
                tries = own.__dict__.get("_made", 0)
            except Exception as error:
                found, tries = error, 0
            own.destroy(linger=0)
            with lock:
                tally.asked += 1
                tally.again += max(0, tries - 1)
                if found is None:
                    tally.failed += 1
                elif answered(name, found):
                    tally.answered += 1
                    happy.append(name)
                else:
                    tally.wrong.append(f"{name} got {found!r}")

    threads = [threading.Thread(target=client, args=(who,)) for who in range(CLIENTS)]
    for thread in threads:
        thread.start()
    killer()
    for thread in threads:
        thread.join(REQUESTS * PATIENCE * TRIES)
        if thread.is_alive():
            tally.wrong.append("a client never came back")
    return happy


def issued_once(certificates: list[str], happy: list[str], tally: Tally) -> None:
    """Note everybody who was answered and has not exactly one certificate, and who has more than one."""
    names = [each.partition("for ")[2] for each in certificates]
    tally.wrong += [f"{name} has {names.count(name)} certificates" for name in happy if names.count(name) != 1]
    tally.wrong += [f"{name} has more than one certificate" for name in set(names) if names.count(name) > 1]


def killed_workers(seed: int) -> Tally:
    """Kill workers of the balancer at work, each replaced by a new one."""
    chance, tally, ask = random.Random(seed), Tally(), asking()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as register, contextlib.ExitStack() as all_:
        broker = all_.enter_context(processes.start(balancer, solution("12", 3), name="kills: balancer"))
        _, front, back = broker.wait_for("at ").split()

        def hire(n: int) -> processes.Worker:
            return all_.enter_context(processes.start(worker, back, register, name=f"kills: worker {n}"))

        team = [hire(n) for n in range(WORKERS)]
        for each in team:
            each.wait_for("ready")

        def killer() -> None:
            for n in range(2):
                time.sleep(chance.uniform(0, 0.15))  # any moment will do
                team.pop(chance.randrange(len(team))).kill()
                tally.kills += 1
                team.append(hire(WORKERS + n))

        happy = clients(ask, front, tally, killer)
        entries = [path.read_text() for path in Path(register).iterdir() if not path.name.startswith("draft")]
        issued_once(entries, happy, tally)
    return tally


def killed_server(seed: int) -> Tally:
    """Kill the one server that the clients ask; the next one takes its address as soon as it is free."""
    import json

    chance, tally, ask = random.Random(seed), Tally(), asking()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder, contextlib.ExitStack() as all_:
        register = Path(folder, "register.json")
        register.write_text("{}")

        def hire(n: int, address: str) -> processes.Worker:
            return all_.enter_context(processes.start(serve, address, str(register), "", name=f"kills: server {n}"))

        first = hire(1, "tcp://127.0.0.1:*")
        address = first.wait_for("at ").split()[1]
        second = hire(2, address)
        second.wait_for("here")

        def killer() -> None:
            time.sleep(chance.uniform(0, 0.15))
            first.kill()
            tally.kills += 1

        happy = clients(ask, address, tally, killer)
        issued_once(list(json.loads(register.read_text()).values()), happy, tally)
    return tally


def asking() -> Callable[..., Any]:
    """Return the client of the lab's solution."""
    import uuid

    space: dict[str, Any] = {"zmq": zmq, "uuid": uuid}
    exec(solution("12", 4), space)
    ask: Callable[..., Any] = space["ask"]
    return ask


def in_a_row(run: Callable[[int], Tally], runs: int) -> Tally:
    """Return the sum of so many runs, each with moments of its own."""
    return sum((run(seed) for seed in range(runs)), Tally())
