"""Methods that do not come often: pamqp reads them, and what it cannot read is refused as RabbitMQ refuses it."""

from __future__ import annotations

import re
import struct
from typing import Any

from pamqp import commands, decode
from pamqp.exceptions import UnmarshalingException

from mqlab.broker.embedded import frames
from mqlab.broker.embedded.arguments import Arguments
from mqlab.broker.embedded.errors import AmqpError, Unanswered
from mqlab.broker.embedded.properties import entries

NOTHING = b"\0\0\0\0"  # no method to blame
# The names of Channel's methods: queue.declare is answered by `queue_declare`.
HANDLERS = {
    index: re.sub(r"(?<=[a-z])(?=[A-Z])|\.", "_", vars(method)["name"]).lower()
    for index, method in commands.INDEX_MAPPING.items()
}


def method_class(payload: bytes) -> Any:
    """The method's class in pamqp; RabbitMQ has no words for a method that it does not know: the connection ends."""
    if (method := commands.INDEX_MAPPING.get(int.from_bytes(payload[:4], "big"))) is None:
        raise Unanswered
    return method


def read_method(payload: bytes) -> Any:
    """A method. What is wrong with it is found in the order of RabbitMQ: lengths, names, tables."""
    index, method = int.from_bytes(payload[:4], "big"), method_class(payload)
    names = short_strings(method, payload)
    read = method()
    if index == commands.Basic.Publish.index:  # its names may be anything; see frames.read_publish
        return read
    try:
        for name in names:
            name.decode()
    except UnicodeDecodeError as error:
        raise AmqpError("FRAME_ERROR", "Malformed UTF-8 in shortstr", NOTHING) from error
    try:
        if index not in LAYOUT:
            read.unmarshal(payload[4:])
            return read
        table = arguments_table(payload)
        read.unmarshal(payload[4 : len(payload) - len(table) - 4] + bytes(4))
        read.arguments = Arguments(
            {name.decode(errors="surrogateescape"): decode.embedded_value(each)[1] for name, each in entries(table)},
            table,
        )
    except UNREADABLE as error:
        raise Unanswered from error
    return read


UNREADABLE = (
    struct.error,
    ValueError,
    LookupError,
    TypeError,
    OverflowError,
    OSError,
    RecursionError,
    UnmarshalingException,
)
# Before a method's arguments come: this many short strings, then a byte of bits or none.
LAYOUT = {
    commands.Exchange.Declare.index: (2, 1),
    commands.Exchange.Bind.index: (3, 1),
    commands.Exchange.Unbind.index: (3, 1),
    commands.Queue.Declare.index: (1, 1),
    commands.Queue.Bind.index: (3, 1),
    commands.Queue.Unbind.index: (3, 0),
    commands.Basic.Consume.index: (2, 1),
}


SIZES = {"octet": 1, "short": 2, "long": 4, "longlong": 8, "timestamp": 8}


def short_strings(method: Any, payload: bytes) -> list[bytes]:
    """The short strings of a method; it is refused where its fields have other lengths than they say."""
    at, bits, found = 4, 0, []
    try:
        for name in method.__slots__:
            kind = method.amqp_type(name)
            if kind == "bit":
                at += bits % 8 == 0  # eight of them share a byte
                bits += 1
                continue
            bits = 0
            if kind == "shortstr":
                found.append(payload[at + 1 : at + 1 + payload[at]])
                at += 1 + payload[at]
            else:
                at += SIZES.get(kind) or 4 + int.from_bytes(payload[at : at + 4])
    except IndexError:
        at = 0
    if at != len(payload):
        raise frames.cannot_decode(payload)
    return found


def arguments_table(payload: bytes) -> bytes:
    """The table of arguments in a method's payload, without its length; IndexError when there is none."""
    strings, bits = LAYOUT[int.from_bytes(payload[:4], "big")]
    at = 6  # class, method, ticket
    for _ in range(strings):
        at += 1 + payload[at]
    at += bits + 4
    if int.from_bytes(payload[at - 4 : at], "big") != len(payload) - at:
        raise IndexError("the table has another length than it says")
    return payload[at:]
