"""RabbitMQ's firehose: while it is on, what is published and delivered is told in messages to amq.rabbitmq.trace."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from pamqp import encode

from mqlab.broker.embedded.properties import FIXED, facts, join, long, long_string, short, split
from mqlab.broker.embedded.queues import Message

if TYPE_CHECKING:
    from mqlab.broker.embedded.channel import Channel
    from mqlab.broker.embedded.model import VirtualHost

EXCHANGE = "amq.rabbitmq.trace"
NODE = "mqlab@localhost"
KEY_SIZE = 255  # bytes of a routing key, at most


def published(channel: Channel, message: Message, queues: Iterable[Any]) -> None:
    """Tells of a message that a client published, and of the queues it goes to.

    As in RabbitMQ this is before the commit of a transaction, and the default exchange names its queues without
    looking whether they are there.
    """
    if message.exchange:
        routed = sorted({queue.name.encode(errors="surrogateescape") for queue in queues}, reverse=True)
    else:
        routed = sorted(set(keys_of(message)))
    more = {**who(channel), b"routed_queues": array(routed)}
    tell(channel.vhost, b"publish." + message.exchange, message, message.properties, more)


def delivered(channel: Channel, queue: str, message: Message, properties: bytes, redelivered: bool) -> None:
    """Tells of a message that a client got from a queue, by basic.deliver or by basic.get."""
    more = {**who(channel), b"redelivered": number(bytes((redelivered,)))}
    tell(channel.vhost, b"deliver." + queue.encode(errors="surrogateescape"), message, properties, more)


def tell(vhost: VirtualHost, key: bytes, message: Message, properties: bytes, more: dict[bytes, bytes]) -> None:
    """Publishes a record, unless it would tell of a record."""
    if message.exchange == EXCHANGE.encode() or vhost.telling:
        return
    table = {
        b"exchange_name": string(message.exchange),
        b"routing_keys": array(keys_of(message)),
        b"properties": b"F" + long(properties_table(properties)),
        b"node": long_string(NODE),
        **more,
    }
    known = facts(join({"headers": long(entries_of(table))}))
    if len(key) > KEY_SIZE:  # the name alone may be as long as that
        key = key[:KEY_SIZE].decode(errors="ignore").encode()  # without half a letter, which clients cannot read
    record = Message(short(EXCHANGE) + bytes((len(key),)) + key, known.raw, message.body, known)
    # A full queue of records may dead-letter one to a queue with a consumer: that would tell of it without end.
    vhost.telling = True
    try:
        for queue in vhost.route(EXCHANGE, key.decode(errors="surrogateescape"), known):
            queue.put(record)
    finally:
        vhost.telling = False


def who(channel: Channel) -> dict[bytes, bytes]:
    """Where it happened."""
    return {
        b"vhost": long_string(channel.vhost.name),
        b"connection": long_string(channel.session.name),
        b"channel": number(encode.short_uint(channel.number)),
        b"user": long_string(channel.session.user),
    }


def keys_of(message: Message) -> list[bytes]:
    """All routing keys of a message: its own, those of CC and those of BCC."""
    more = (*message.facts.cc, *message.facts.bcc)
    return [message.routing_key, *(key.encode(errors="surrogateescape") for key in more)]


def properties_table(raw: bytes) -> bytes:
    """A message's properties as a table, the last one first, as RabbitMQ writes them."""
    return entries_of({name.encode(): typed(name, value) for name, value in reversed(split(raw).items())})


def typed(name: str, value: bytes) -> bytes:
    """A property's bytes on the wire as a value of a table."""
    if name == "headers":
        return b"F" + value
    return number(value) if name in FIXED else string(value[1:])


def number(value: bytes) -> bytes:
    """An integer as a value of 32 bits; of longer ones RabbitMQ keeps the last bits too."""
    return b"I" + value[-4:].rjust(4, b"\0")


def string(value: bytes) -> bytes:
    return b"S" + long(value)


def array(values: Iterable[bytes]) -> bytes:
    return b"A" + long(b"".join(map(string, values)))


def entries_of(table: dict[bytes, bytes]) -> bytes:
    return b"".join(bytes((len(name),)) + name + value for name, value in table.items())
