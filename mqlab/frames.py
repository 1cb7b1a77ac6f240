"""What a frame of AMQP 0-9-1 says, in words: its name, its fields, and what of it tells the most."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any

from pamqp import frame
from pamqp.exceptions import AMQPError, UnmarshalingException

from mqlab.event import Event

UNREADABLE = (
    AMQPError, UnmarshalingException, struct.error, ValueError, LookupError, TypeError, OverflowError, OSError,
    RecursionError, AttributeError,
)  # fmt: skip
TELLING = {
    "connection.start-ok": ("mechanism",),
    "connection.tune": ("channel_max", "frame_max", "heartbeat"),
    "connection.tune-ok": ("channel_max", "frame_max", "heartbeat"),
    "connection.open": ("virtual_host",),
    "connection.close": ("reply_code", "reply_text"),
    "connection.blocked": ("reason",),
    "channel.close": ("reply_code", "reply_text"),
    "exchange.declare": ("exchange", "exchange_type"),
    "exchange.delete": ("exchange",),
    "exchange.bind": ("source", "destination", "routing_key"),
    "exchange.unbind": ("source", "destination", "routing_key"),
    "queue.declare": ("queue",),
    "queue.declare-ok": ("queue", "message_count"),
    "queue.delete": ("queue",),
    "queue.purge": ("queue",),
    "queue.bind": ("queue", "exchange", "routing_key"),
    "queue.unbind": ("queue", "exchange", "routing_key"),
    "basic.qos": ("prefetch_count",),
    "basic.consume": ("queue",),
    "basic.get": ("queue",),
    "basic.publish": ("exchange", "routing_key"),
    "basic.deliver": ("delivery_tag", "redelivered"),
    "basic.get-ok": ("delivery_tag", "redelivered"),
    "basic.return": ("reply_code", "reply_text"),
    "basic.ack": ("delivery_tag", "multiple"),
    "basic.nack": ("delivery_tag", "multiple", "requeue"),
    "basic.reject": ("delivery_tag", "requeue"),
}
START_OK = 0x000A000B
HIDDEN = (START_OK, 0x000A0015, 0x000A0046)  # with secure-ok and update-secret: there are passwords in them


def name(event: Event) -> str:
    """Return the method's name as AMQP writes it: basic.get-ok."""
    method = _method(event.frame)
    if method is None:
        return "unreadable"
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "-", str(method.name)).lower()


def fields(event: Event) -> list[tuple[str, str]]:
    """Return each field with its value in words; of a message also its properties and the beginning of its body."""
    payload = without_secrets(event.frame)
    method = _method(payload)
    if method is None:
        return [("bytes", payload.hex(" "))]
    told = [(key.replace("_", "-"), shown(value)) for key, value in method if not key.startswith("ticket")]
    if event.header:
        header = _header(event.header)
        told += [(key.replace("_", "-"), shown(value)) for key, value in header.items() if value not in (None, "")]
        size = int.from_bytes(event.header[4:12], "big")
        words = f"{size:,} byte{'' if size == 1 else 's'}"
        told.append(("body", words + (f", {_text(event.body)}" if size else "")))
    return told


def telling(event: Event) -> str:
    """Return in a few words what tells the most of a frame: the names and numbers that matter."""
    method, words = _method(event.frame), []
    if method is None:
        return ""
    for key in TELLING.get(name(event), ()):
        value = getattr(method, key, None)
        if isinstance(value, bool):
            words += [key] if value else []
        elif key == "exchange" and value == "" and name(event) == "basic.publish":
            words.append("(default)")
        elif value not in (None, ""):
            words.append(f"{key.replace('_', '-')} {value:,}" if isinstance(value, int) else str(value))
    if event.header:
        size = int.from_bytes(event.header[4:12], "big")
        words.append(f"+ header + body of {size:,} B")
    return " · ".join(words)


def shown(value: Any) -> str:
    """Return a value in words: bytes as text where they are text, tables as k=v."""
    if isinstance(value, (bytes, bytearray)):
        return _text(bytes(value))
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key}={shown(each)}" for key, each in value.items()) + "}"
    if isinstance(value, str):
        return value if value.isprintable() and value.strip() == value and value else repr(value)
    if isinstance(value, Iterable):
        return "[" + ", ".join(map(shown, value)) + "]"
    return {True: "yes", False: "no", None: "–"}[value] if value is None or isinstance(value, bool) else str(value)


def without_secrets(payload: bytes) -> bytes:
    """Return a method's payload, passwords in it replaced by as many stars."""
    index = int.from_bytes(payload[:4], "big")
    if index not in HIDDEN:
        return payload
    try:
        at = 4
        if index == START_OK:  # after a table and a short string
            at += 4 + int.from_bytes(payload[at : at + 4], "big")
            at += 1 + payload[at]
        end = at + 4 + int.from_bytes(payload[at : at + 4], "big")
        return payload[: at + 4] + b"*" * (min(end, len(payload)) - at - 4) + payload[end:]
    except IndexError:
        return payload[:4]


@lru_cache(maxsize=4096)
def _method(payload: bytes) -> Any:
    try:
        return frame.unmarshal(struct.pack(">BHI", 1, 0, len(payload)) + payload + b"\xce")[2]
    except UNREADABLE:
        return None


@lru_cache(maxsize=4096)
def _header(payload: bytes) -> dict[str, Any]:
    try:
        content: Any = frame.unmarshal(struct.pack(">BHI", 2, 1, len(payload)) + payload + b"\xce")[2]
        return dict(content.properties)
    except UNREADABLE:
        return {"properties": payload[12:]}


def _text(data: bytes) -> str:
    try:
        text = data.decode()
    except UnicodeDecodeError:
        return data[:32].hex(" ") + (" …" if len(data) > 32 else "")
    return text if text.isprintable() else repr(text)
