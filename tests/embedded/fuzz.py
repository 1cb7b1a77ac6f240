"""Broken input for the embedded broker: a client's session, cut, swapped, stretched, invented; the same for a seed."""

import random
import struct
from datetime import UTC, datetime
from decimal import Decimal

from pamqp import body, commands, frame, header, heartbeat

from mqlab.broker.embedded.model import Broker
from mqlab.broker.embedded.session import Session

Basic, Channel, Connection, Exchange, Queue = (
    getattr(commands, name) for name in ("Basic", "Channel", "Connection", "Exchange", "Queue")
)
USER, PASSWORD = "ana", "secret"
EVERY_TYPE = {
    "yes": True,
    "small": 1,
    "large": 2**40,
    "float": 1.5,
    "decimal": Decimal("1.25"),
    "text": "課",
    "bytes": bytearray(b"\xff\x00"),
    "time": datetime(2026, 1, 1, tzinfo=UTC),
    "table": {"deep": {"deeper": [1, "two", {"three": None}]}},
    "nothing": None,
}
LOG_IN = 4  # so many frames come before a channel is open; most inputs leave them whole


def frames(password: str = PASSWORD, user: str = USER, vhost: str = "/") -> list[bytes]:
    """Return what a client sends that does a little of everything, the protocol header first."""
    dead = {"x-dead-letter-exchange": "amq.fanout", "x-max-length": 5, "x-message-ttl": 60_000}
    properties = commands.Basic.Properties(delivery_mode=2, headers={"CC": ["comments"], "n": 1}, expiration="9000")
    content = [
        (1, header.ContentHeader(0, 5, properties)),
        (1, body.ContentBody(b"Amina")),
    ]
    methods = [
        (0, Connection.StartOk({"capabilities": {"basic.nack": True}}, "PLAIN", f"\0{user}\0{password}", "en_US")),
        (0, Connection.TuneOk(2047, 131072, 60)),
        (0, Connection.Open(vhost)),
        (1, Channel.Open()),
        (1, Exchange.Declare(0, "campus", "topic", durable=True)),
        (1, Queue.Declare(0, "sign-ups", durable=True, arguments=dead)),
        (1, Queue.Declare(0, "", exclusive=True)),
        (1, Queue.Bind(0, "sign-ups", "campus", "user.#")),
        (1, Exchange.Bind(0, "amq.headers", "campus", "*.new", arguments={"x-match": "any", "n": 1})),
        (1, commands.Confirm.Select()),
        (1, Basic.Publish(0, "campus", "user.new", mandatory=True)),
        *content,
        (1, Basic.Publish(0, "", "sign-ups")),
        *content,
        # Gets, as a client cannot know when a consumer's deliveries come.
        (1, Basic.Get(0, "sign-ups")),
        (1, Basic.Ack(1, False)),
        (1, Basic.Get(0, "sign-ups")),
        (1, Basic.Nack(2, True, True)),
        (1, Basic.Recover(True)),
        (1, Basic.Get(0, "sign-ups")),
        (1, Basic.Reject(3, False)),
        (1, Basic.Qos(0, 10, False)),
        (1, Basic.Consume(0, "sign-ups", "worker")),
        (1, Basic.Cancel("worker")),
        (2, Channel.Open()),
        (2, commands.Tx.Select()),
        (2, commands.Tx.Commit()),
        (2, Channel.Flow(True)),
        (1, Basic.Publish(0, "amq.headers", "")),
        (1, header.ContentHeader(0, 0, commands.Basic.Properties(headers=EVERY_TYPE))),
        (0, Connection.UpdateSecret("new", "old one expires")),
        (0, heartbeat.Heartbeat()),
        (1, Queue.Unbind(0, "sign-ups", "campus", "user.#")),
        (1, Queue.Purge(0, "sign-ups")),
        (1, Queue.Delete(0, "sign-ups", if_unused=True)),
        (1, Exchange.Delete(0, "campus")),
        (2, Channel.Close(200, "", 0, 0)),
        (0, Connection.Close(200, "", 0, 0)),
    ]
    return [b"AMQP\0\0\x09\x01", *(frame.marshal(method, channel) for channel, method in methods)]


def cut(one: bytes, chance: random.Random) -> bytes:
    """Leave out the end."""
    return one[: chance.randrange(len(one))]


def flip(one: bytes, chance: random.Random) -> bytes:
    """Change a few bytes anywhere."""
    changed = bytearray(one)
    for _ in range(chance.choice((1, 1, 2, 5))):
        changed[chance.randrange(len(changed))] = chance.randrange(256)
    return bytes(changed)


def stretch(one: bytes, chance: random.Random) -> bytes:
    """Claim another size."""
    size = chance.choice((0, 1, len(one) + 1, 131_072, 2**31, 2**32 - 1))
    return one[:3] + struct.pack(">I", size) + one[7:]


def lie(one: bytes, chance: random.Random) -> bytes:
    """Another type, channel or end of the frame."""
    kind, channel = chance.choice((one[0], 0, 2, 3, 4, 8, 255)), chance.choice((0, 1, 2, 9, 65_535))
    return struct.pack(">BH", kind, channel) + one[3:-1] + chance.choice((b"\xce", b"\xce", b"\x00"))


def invent(one: bytes, chance: random.Random) -> bytes:
    """A whole frame with anything in it."""
    payload = chance.randbytes(chance.choice((0, 4, 12, 100)))
    return struct.pack(">BHI", chance.choice((1, 2, 3, 8)), chance.choice((0, 1, 7)), len(payload)) + payload + b"\xce"


def mistype(one: bytes, chance: random.Random) -> bytes:
    """Another method with the same fields."""
    method = chance.choice(list(commands.INDEX_MAPPING))
    return one[:7] + struct.pack(">I", method) + one[11:]


CHANGES = (cut, flip, stretch, lie, invent, mistype)


def broken(chance: random.Random, whole: list[bytes]) -> bytes:
    """Return a session that is broken in places."""
    return b"".join(broken_frames(chance, whole))


def broken_frames(chance: random.Random, whole: list[bytes]) -> list[bytes]:
    """Return a session of which one to three frames are changed, missing, doubled or in the wrong place."""
    parts = list(whole)
    first = 0 if chance.random() < 0.2 else LOG_IN
    for _ in range(chance.choice((1, 1, 2, 3))):
        at = chance.randrange(first, len(parts))
        kind = chance.randrange(10)
        if kind < 6:
            parts[at] = CHANGES[kind](parts[at], chance) if parts[at] else b""
        elif kind == 6:
            del parts[at]
        elif kind == 7:
            parts.insert(at, parts[at])
        elif kind == 8:
            parts.insert(chance.randrange(first, len(parts)), parts.pop(at))
        else:
            parts.insert(at, chance.randbytes(chance.choice((1, 8, 300))))
    return parts


def close_code(answer: bytes) -> int | None:
    """Return the code with which the broker closed the connection; None when it did not, or ended it without a word."""
    code = None
    while answer and not answer.startswith(b"AMQP"):
        kind, _, size = struct.unpack_from(">BHI", answer)
        if kind == 1 and answer[7:11] == b"\0\x0a\0\x32":
            (code,) = struct.unpack_from(">H", answer, 11)
        assert answer[7 + size] == 0xCE, "what the broker sends is in order"
        answer = answer[8 + size :]
    return code


class Attacked:
    """A broker without sockets that is sent broken input, and a well-behaved client on it all the while."""

    def __init__(self) -> None:
        self.broker = Broker()
        self.whole = frames()
        self.witness = self.session()
        self.say(b"".join(self.whole[: LOG_IN + 1]))
        self.say(frame.marshal(Queue.Declare(0, "witness", durable=True), 1))
        self.say(frame.marshal(Basic.Consume(0, "witness", no_ack=True), 1))

    def session(self) -> Session:
        return Session(self.broker, USER, PASSWORD, lambda session: None)

    def say(self, data: bytes) -> bytes:
        self.witness.receive(data)
        return self.witness.take_output()

    def take(self, data: bytes, chance: random.Random) -> int | None:
        """Send one input in pieces, then hang up; return how the broker closed the connection."""
        session, answer = self.session(), b""
        while data:
            size = chance.choice((1, 7, 8, 100, len(data), len(data)))
            session.receive(data[:size])
            answer += session.take_output()
            data = data[size:]
        session.lost()
        return close_code(answer)

    def witness_is_served(self) -> bool:
        """Tell whether the well-behaved client gets what it publishes."""
        publish = frame.marshal(Basic.Publish(0, "", "witness"), 1)
        publish += frame.marshal(header.ContentHeader(0, 5), 1) + frame.marshal(body.ContentBody(b"Chidi"), 1)
        return b"Chidi" in self.say(publish) and self.witness.state == "running"

    def tidy(self) -> None:
        """Delete the queues and exchanges that broken sessions have left behind."""
        vhost = self.broker.vhosts["/"]
        for queue in list(vhost.queues.values()):
            if queue.name != "witness":
                vhost.delete_queue(queue)
        for exchange in list(vhost.exchanges.values()):
            if exchange.name and not exchange.name.startswith("amq."):
                vhost.remove_exchange(exchange)
