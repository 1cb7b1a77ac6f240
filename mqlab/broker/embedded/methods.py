"""Methods that do not come often: pamqp reads them, and what it cannot read is refused as RabbitMQ refuses it."""

from __future__ import annotations

import re
import struct
from typing import Any

from pamqp import commands
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


def read_method(payload: bytes) -> Any:
    """A method that pamqp knows; RabbitMQ ends the connection without a word where it knows none."""
    method = commands.INDEX_MAPPING.get(int.from_bytes(payload[:4], "big"))
    if method is None:
        raise Unanswered
    read = method()
    try:
        read.unmarshal(payload[4:])
        if length(method, payload) != len(payload):
            raise IndexError("bytes behind the method")
        if hasattr(read, "arguments"):
            read.arguments = Arguments(read.arguments, arguments_table(payload))
    except UnicodeDecodeError as error:
        raise AmqpError("FRAME_ERROR", "Malformed UTF-8 in shortstr", NOTHING) from error
    except UNREADABLE as error:
        if int.from_bytes(payload[:4], "big") in LAYOUT and broken(payload):
            raise Unanswered from error
        raise frames.cannot_decode(payload) from error
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


def length(method: Any, payload: bytes) -> int:
    """How many bytes of the payload the method's fields take."""
    at, bits = 4, 0
    for name in method.__slots__:
        kind = method.amqp_type(name)
        if kind == "bit":
            at += bits % 8 == 0  # eight of them share a byte
            bits += 1
            continue
        bits = 0
        if kind == "shortstr":
            at += 1 + payload[at]
        else:
            at += SIZES.get(kind) or 4 + int.from_bytes(payload[at : at + 4])
    return at


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


def broken(payload: bytes) -> bool:
    """Is it the table of arguments that cannot be read? RabbitMQ has no words for that."""
    try:
        table = arguments_table(payload)
    except IndexError:
        return False
    try:
        return not list(entries(table))
    except ValueError:
        return True
