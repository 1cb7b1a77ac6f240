"""The frames that move messages, read and written by hand, since there are so many of them; all others are pamqp's."""

import struct
from functools import lru_cache
from typing import NamedTuple

from mqlab.broker.embedded.errors import AmqpError

METHOD, HEADER, BODY, HEARTBEAT = 1, 2, 3, 8
END = b"\xce"
PUBLISH, ACK = b"\x00\x3c\x00\x28", b"\x00\x3c\x00\x50"
DELIVER, GET_OK, RETURN = b"\x00\x3c\x00\x3c", b"\x00\x3c\x00\x47", b"\x00\x3c\x00\x32"
PULSE = b"\x08\x00\x00\x00\x00\x00\x00" + END

HEAD = struct.Struct(">BHI")  # type, channel, size
TAG = struct.Struct(">QB")  # delivery tag, flags
CLASS = struct.Struct(">HHQ")  # a content header: class, weight, size of the body
CONTENT = struct.Struct(">BBHIHHQ")  # end of the method; then type, channel, size; class, weight, size of the body
CHUNK = struct.Struct(">BBHI")  # end of the frame before; then type, channel, size
SETTLED = struct.Struct(">BHIIQBB")  # a whole basic.ack or basic.nack
DECLARE_OK = b"\x00\x32\x00\x0b"
ACK_INDEX, NACK_INDEX = 0x003C0050, 0x003C0078


def cannot_decode(payload: bytes) -> AmqpError:
    """The refusal of a method whose fields cannot be read."""
    return AmqpError("FRAME_ERROR", f"cannot decode <<{','.join(map(str, payload[4:]))}>>", payload[:4])


def known(kind: int, payload: bytes) -> bool:
    """Is it a frame at all?"""
    return (
        (kind == METHOD and len(payload) >= 4)
        or (kind == HEADER and len(payload) >= 12)
        or kind == BODY
        or (kind == HEARTBEAT and not payload)
    )


def refused(kind: int, payload: bytes, *why: object) -> AmqpError:
    """The refusal of a frame; `why`: the name of the reason and its values."""
    text = f"{snippet(kind, payload)}: "
    told = [str(each) for each in why]
    column = len(text) - text.rfind("\n") - 1
    reason = told[0] if len(told) == 1 else wrapped("{", told, "}", column, 76)
    return AmqpError("FRAME_ERROR", text + reason, b"\0\0\0\0")


def snippet(kind: int, payload: bytes) -> str:
    """A frame, as RabbitMQ's refusals tell of it."""
    text = f"type {kind}, {'all' if len(payload) <= 16 else 'first 16'} octets = "
    return text + erlang(payload[:16], len(text))


LETTERS = {*range(32, 127), *range(160, 256), *b"\b\t\n\v\f\r\x1b"}  # what Erlang takes for text
ESCAPES = {8: "b", 9: "t", 10: "n", 11: "v", 12: "f", 13: "r", 27: "e", 34: '"', 92: "\\"}


def erlang(data: bytes, column: int) -> str:
    """Bytes as Erlang's ~tp prints them in this column: text in quotes, others as numbers, broken into lines."""
    try:
        text, kind = data.decode(), "" if data.isascii() else "/utf8"
    except UnicodeDecodeError:
        text, kind = data.decode("latin-1"), ""
    if not data or not {ord(letter) for letter in text} <= LETTERS:
        return wrapped("<<", [str(byte) for byte in data], ">>", column, 78)
    quoted = "".join(f"\\{ESCAPES[ord(letter)]}" if ord(letter) in ESCAPES else letter for letter in text)
    return f'<<"{quoted}"{kind}>>'


def wrapped(opening: str, items: list[str], closing: str, column: int, width: int) -> str:
    """A list as Erlang prints it: what does not fit begins a new line below the first item."""
    text, start = opening, column + len(opening)
    at = start
    for number, item in enumerate(items, 1):
        last = number == len(items)
        if at > start and at + len(item) > width + last:
            text += "\n" + " " * start
            at = start
        text += item if last else f"{item},"
        at += len(item) + 1
    return text + closing


class Publish(NamedTuple):
    """A basic.publish; `address` is exchange and routing key as on the wire."""

    exchange: str
    key: str
    address: bytes
    mandatory: bool
    immediate: bool


NO_PUBLISH = Publish("", "", b"", False, False)  # stands for a method with content that is none


@lru_cache(maxsize=4096)
def read_publish(payload: bytes) -> Publish:
    """Reads the payload of a basic.publish."""
    if len(payload) < 9:
        raise cannot_decode(payload)
    key = 7 + payload[6]
    if len(payload) <= key or len(payload) != key + 2 + payload[key]:
        raise cannot_decode(payload)
    exchange = payload[7:key].decode(errors="surrogateescape")
    routing_key = payload[key + 1 : -1].decode(errors="surrogateescape")
    return Publish(exchange, routing_key, payload[6:-1], bool(payload[-1] & 1), bool(payload[-1] & 2))


def content(
    channel: int, method: tuple[bytes, ...], properties: bytes, body: bytes, frame_max: int
) -> tuple[bytes, ...]:
    """A method with a message behind it, ready for the wire."""
    size = len(body)
    head = HEAD.pack(METHOD, channel, sum(map(len, method)))
    header = CONTENT.pack(0xCE, HEADER, channel, 12 + len(properties), 60, 0, size)
    if not size:
        return (head, *method, header, properties, END)
    if size <= frame_max - 8:
        return (head, *method, header, properties, CHUNK.pack(0xCE, BODY, channel, size), body, END)
    parts = [head, *method, header, properties]
    for at in range(0, size, frame_max - 8):
        chunk = body[at : at + frame_max - 8]
        parts += (CHUNK.pack(0xCE, BODY, channel, len(chunk)), chunk)
    return (*parts, END)


def declare_ok(queue: bytes, messages: int, consumers: int) -> bytes:
    """The payload of a queue.declare-ok: pamqp refuses names that RabbitMQ takes."""
    return DECLARE_OK + bytes((len(queue),)) + queue + struct.pack(">II", messages, consumers)


def settled(channel: int, index: int, tag: int, multiple: bool) -> bytes:
    """A basic.ack or basic.nack to a publisher."""
    return SETTLED.pack(METHOD, channel, 13, index, tag, multiple, 0xCE)
