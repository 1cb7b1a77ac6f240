"""What a scenario gets: an empty virtual host on some broker, clients for it, and the transcript they write."""

import contextlib
import json
import re
import secrets
import time
import urllib.error
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pika
from wire import LIMIT, Channel, Wire

from mqlab.broker import space
from mqlab.broker.node import Node, in_path

ANSWERS = Path(__file__).with_name("answers.json")  # of RabbitMQ 4.3, by scenario; made by record.py
AT_ONCE = 6
SCENARIOS: dict[str, "Scenario"] = {}
# What 3.10 has otherwise in many scenarios. All the rest of its answer has to be the same there.
NO_LAST_DEATH = "3.10 writes no x-last-death headers and marks no dead letter as redelivered"
OTHER_COUNTS = "3.10 counts in x-delivery-count alone, and from 0 on"
BOTH = "3.10 has neither the headers of the last death nor 4.3's counts of deliveries"
OTHERWISE = {
    NO_LAST_DEATH: ("x-last-death", "redelivered"),
    OTHER_COUNTS: ("x-delivery-count", "x-acquired-count"),
    BOTH: ("x-last-death", "redelivered", "x-delivery-count", "x-acquired-count"),
}


@dataclass(frozen=True)
class Scenario:
    """A client program; where it restarts the broker, a generator that does so at its `yield`.

    Reasons, where there are any: `differs`, why RabbitMQ 3.10 answers otherwise; `absent`, why it is not even asked: it
    knows nothing of the matter and would only let us wait; `ours`, why the embedded broker answers otherwise.
    `chance`: why RabbitMQ itself may answer otherwise now and then; it is played again then, some times.
    `either`: where it has two words for one thing and chance tells one of them, the other one and the one recorded.
    `alone`: it wants a broker to itself, of which it needs this: limits, alarms, stop or kill.
    """

    name: str
    play: Callable[[Any], Any]
    differs: str = ""
    absent: str = ""
    ours: str = ""
    alone: str = ""
    chance: str = ""
    either: tuple[tuple[str, str], ...] = ()


def scenario(play: Callable[[Any], Any] | None = None, suffix: str = "", **reasons: Any) -> Any:
    """Collect a function of a `World` under the name of its file and its own."""

    def collect(play: Callable[[Any], Any]) -> Callable[[Any], Any]:
        name = f"{play.__module__.rpartition('.')[2]}-{play.__name__}{suffix}"
        assert name not in SCENARIOS
        SCENARIOS[name] = Scenario(name, play, **reasons)
        return play

    return collect(play) if play else collect


class World:
    """An empty virtual host for one scenario."""

    def __init__(self, node: Node, vhost: str) -> None:
        self.node = node
        self.vhost = vhost
        self.log: list[Any] = []
        self.wires: list[Wire] = []
        self.connections: list[pika.BlockingConnection] = []

    def note(self, *entry: Any) -> None:
        self.log.append(list(entry))

    def dial(self, polite: bool = True) -> Wire:
        """A connection on which nothing was said yet."""
        self.wires.append(Wire(self.node.port, self.note, polite))
        return self.wires[-1]

    def connect(self, polite: bool = True, **options: Any) -> Wire:
        """An open connection."""
        wire = self.dial(polite)
        heard = wire.log_in(self.node, self.vhost, **options)
        if heard[0] != "Connection.OpenOk":
            self.note("not open", *heard)
        return wire

    def channel(self) -> Channel:
        """A channel on an open connection of its own."""
        return self.connect().channel()

    def fill(self, queue: str, *bodies: str, **properties: Any) -> None:
        """Put messages into a queue, silently; they are there when this returns."""
        channel = self.channel()
        channel.confirms()
        for body in bodies:
            channel.publish("", queue, body, **properties)
        until = time.monotonic() + LIMIT
        tag = 0
        while tag < len(bodies) and time.monotonic() < until:
            heard = channel.wire.hear(channel.number, lambda entry: True)
            if heard[0] != "Basic.Ack":
                self.note("not put", *heard)
                return
            tag = heard[1]["delivery_tag"]
        channel.wire.close()

    def pika(self, **options: Any) -> pika.BlockingConnection:
        """A connection of the client that learners use."""
        parameters = pika.URLParameters(space.address(self.node, self.vhost))
        for name, value in options.items():
            setattr(parameters, name, value)
        self.connections.append(pika.BlockingConnection(parameters))
        return self.connections[-1]

    def transcript(self) -> list[Any]:
        """What was noted, evened out."""
        return even(json.loads(json.dumps(self.log)), self.vhost)

    def close(self) -> None:
        for wire in self.wires:
            wire.close()
        for connection in self.connections:
            with contextlib.suppress(pika.exceptions.AMQPError, OSError):
                connection.close()


@contextlib.contextmanager
def empty(node: Node, made: type["World"] = World) -> Iterator[World]:
    """A world on a virtual host of its own, which goes with it."""
    vhost = f"scenario-{secrets.token_hex(8)}"  # always as long, as RabbitMQ cuts long texts
    path = f"vhosts/{in_path(vhost)}"
    node.api("PUT", path, {})
    everything = {"configure": ".*", "write": ".*", "read": ".*"}
    node.api("PUT", f"permissions/{in_path(vhost)}/{in_path(node.user)}", everything)
    world = made(node, vhost)
    try:
        yield world
    finally:
        world.close()
        with contextlib.suppress(urllib.error.HTTPError):
            node.api("DELETE", path)


def run(scenario: Scenario, node: Node) -> list[Any]:
    """Play a scenario on an empty virtual host; its transcript, evened out."""
    with empty(node) as world:
        scenario.play(world)
    return world.transcript()


MADE = re.compile(r"amq\.(?:gen|ctag)-[\w-]+|amq\.rabbitmq\.reply-to\.[\w.+/=-]+")


def run_all(names: Iterable[str], node: Node) -> dict[str, list[Any] | Exception]:
    """Play scenarios side by side: some wait for seconds until a broker cuts the connection. Their transcripts."""
    with ThreadPoolExecutor(AT_ONCE) as pool:
        plays = {name: pool.submit(run, SCENARIOS[name], node) for name in names}
    return {name: play.exception() or play.result() for name, play in plays.items()}


# Debian's RabbitMQ 4.3, the stand-in where there is no registry of images, is patched to permit this by default. When
# it is told not to, it has other words for it than the official one.
PATCHED = (
    "Its use is not permitted per the configuration (overriding the default, which is permitted):\n"
    '    "deprecated_features.permit.transient_nonexcl_queues = false"\nIts use will not be permit...'
)
OFFICIAL = (
    "By default, this feature is not permitted anymore.\nThe feature will be removed from a future major RabbitMQ "
    "version, regardless of the configuration; actual version to be determined.\nTo..."
)


def without(log: Any, fields: tuple[str, ...]) -> Any:
    """A transcript without the fields whose names begin so, and without what is empty then."""
    if isinstance(log, list):
        return [without(each, fields) for each in log]
    if not isinstance(log, dict):
        return log
    kept = {name: without(value, fields) for name, value in log.items() if not name.startswith(fields)}
    return {name: value for name, value in kept.items() if value != {}}


def even(log: list[Any], vhost: str) -> list[Any]:
    """Give names that the broker makes, and the virtual host's, the same text everywhere."""
    made: dict[str, str] = {}

    def name(found: re.Match[str]) -> str:
        kind = "".join(re.findall(r"gen|ctag|reply-to", found[0]))
        return made.setdefault(found[0], f"<{kind} {len(made) + 1}>")

    text = json.dumps(log, ensure_ascii=False).replace(vhost, "<vhost>")
    text = text.replace(json.dumps(PATCHED)[1:-1], json.dumps(OFFICIAL)[1:-1])
    return json.loads(MADE.sub(name, text))
