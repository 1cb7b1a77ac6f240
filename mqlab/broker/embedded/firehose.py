"""RabbitMQ's firehose: while tracing is on in a virtual host, a record of each message published or delivered there."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from pamqp import encode

from mqlab.broker.embedded.properties import (
    FIXED,
    LONG,
    facts,
    headers_of,
    join,
    long,
    long_string,
    short,
    split,
)
from mqlab.broker.embedded.queues import Message

if TYPE_CHECKING:
    from mqlab.broker.embedded.channel import Channel

EXCHANGE = "amq.rabbitmq.trace"
NODE = "mqlab@localhost"
OWN = short(EXCHANGE)


def published(channel: Channel, queues: Iterable[Any], message: Message) -> None:
    """Record a message that a channel has published, and the queues it goes to."""
    routed = b"".join(long_string(queue.name) for queue in queues)
    record(channel, f"publish.{name_of(message)}", message, {b"routed_queues": b"A" + long(routed)})


def delivered(channel: Channel, queue: str, redelivered: bool, message: Message) -> None:
    """Record a message that a channel has got from a queue."""
    record(channel, f"deliver.{queue}", message, {b"redelivered": integer(redelivered)})


def record(channel: Channel, key: str, message: Message, more: dict[bytes, bytes]) -> None:
    """Publish the record of a message; of records there is none."""
    if message.address.startswith(OWN):
        return
    vhost, exchange = channel.vhost, name_of(message)
    first = message.routing_key.decode(errors="surrogateescape")
    keys = (first, *message.facts.cc, *message.facts.bcc)
    told = {
        b"exchange_name": long_string(exchange),
        b"routing_keys": b"A" + long(b"".join(map(long_string, keys))),
        b"properties": b"F" + long(headers_of(dict(properties(message.properties)))),
        b"node": long_string(NODE),
        b"vhost": long_string(vhost.name),
        b"connection": long_string(channel.session.name),
        b"channel": integer(channel.number),
        b"user": long_string(channel.session.user),
    }
    known = facts(join({"headers": long(headers_of(told | more))}))
    trace = Message(OWN + short(key[:255]), known.raw, message.body, known)
    for queue in vhost.route(EXCHANGE, key, known):
        queue.put(trace)


def name_of(message: Message) -> str:
    """The name of the exchange that a message was published to."""
    return message.address[1 : 1 + message.address[0]].decode(errors="surrogateescape")


def properties(raw: bytes) -> Iterable[tuple[bytes, bytes]]:
    """A message's properties as entries of a table."""
    for name, value in split(raw).items():
        if name == "headers":
            yield name.encode(), b"F" + value
        elif name in FIXED:
            yield name.encode(), integer(int.from_bytes(value, "big"))
        else:
            yield name.encode(), b"S" + LONG.pack(len(value) - 1) + value[1:]


def integer(value: int) -> bytes:
    """A number as a value of a table, in 32 bits as RabbitMQ does it."""
    return b"I" + encode.long_int((value + (1 << 31)) % (1 << 32) - (1 << 31))
