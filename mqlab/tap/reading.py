"""Reading single frames: short strings, tags, what a declaration and a message's properties say."""

from __future__ import annotations

import re
import struct
from collections.abc import Mapping
from typing import Any

from mqlab.broker.embedded.properties import FLAGS, Facts, facts, split
from mqlab.state import DEFAULT
from mqlab.tap.streams import Unit

TOLD = FLAGS["headers"] | FLAGS["expiration"]
LABEL = re.compile(rb'"(?:name|student|title)"\s*:\s*"([^"\\]{1,40})"')


def dotted(name: str) -> str:
    """Return a method's name as AMQP writes it: basic.get-empty."""
    first, _, rest = name.partition("_")
    return f"{first}.{rest.replace('_', '-')}"


def clean(name: str) -> str:
    """Return a name in which bytes that are no UTF-8 are replaced."""
    return name if name.isascii() else name.encode(errors="surrogateescape").decode(errors="replace")


def short(payload: bytes, at: int) -> tuple[str, int]:
    """Return the short string that begins there, and where it ends."""
    end = at + 1 + payload[at]
    return payload[at + 1 : end].decode(errors="replace"), end


def tags(known: Mapping[int, Any], tag: int, multiple: bool) -> list[int]:
    """Return which of the known tags, in their order, are meant."""
    if not multiple:
        return [tag] if tag in known else []
    found = []
    for each in known:
        if tag and each > tag:
            break
        found.append(each)
    return found


def properties_of(header: bytes) -> Facts | None:
    """Return what a message's properties say that matters here; None where nothing does."""
    if len(header) < 14 or not int.from_bytes(header[12:14], "big") & TOLD:
        return None
    try:
        return facts(header[12:])
    except (ValueError, struct.error):
        return None


def persistent(header: bytes) -> bool:
    """Whether a message's properties ask for it to be kept on disk."""
    if len(header) < 14 or not int.from_bytes(header[12:14], "big") & FLAGS["delivery_mode"]:
        return False
    try:
        return split(header[12:]).get("delivery_mode") == b"\2"
    except ValueError:
        return False


def label_of(unit: Unit, number: object) -> str:
    """Return the short name of a message: a name in its JSON, its text when it is short, else its number."""
    body = unit.body
    if body[:1] == b"{" and (found := LABEL.search(body)):
        return found[1].decode(errors="replace")
    if 0 < unit.size <= 16:
        try:
            text = body.decode()
        except UnicodeDecodeError:
            return str(number)
        if text.isprintable() and not text.isspace():
            return text
    return str(number)


def exchange_facts(kind: str, durable: bool, auto_delete: bool, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a trace tells of an exchange."""
    told = {"type": kind, "durable": bool(durable), "auto_delete": bool(auto_delete)}
    told |= {"alternate": arguments.get("alternate-exchange", "")}
    return {name: value for name, value in told.items() if value}


def queue_facts(durable: bool, exclusive: bool, auto_delete: bool, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a trace tells of a queue; `ttl` in milliseconds."""
    told: dict[str, Any] = {"type": arguments.get("x-queue-type", "classic")}
    told |= {"durable": bool(durable), "exclusive": bool(exclusive), "auto_delete": bool(auto_delete)}
    told = {name: value for name, value in told.items() if value}
    names = {
        "x-max-length": "limit",
        "x-overflow": "overflow",
        "x-message-ttl": "ttl",
        "x-delivery-limit": "delivery_limit",
    }
    names |= {"x-max-priority": "priorities", "x-expires": "expires"}
    told |= {short: arguments[name] for name, short in names.items() if name in arguments}
    if "x-dead-letter-exchange" in arguments:
        told["dead_to"] = [arguments["x-dead-letter-exchange"] or DEFAULT, arguments.get("x-dead-letter-routing-key")]
    return told


def binding_facts(arguments: Mapping[str, Any], to: str) -> dict[str, Any]:
    """Return what a trace tells of a binding: the exchange it leads to, what its arguments ask for."""
    match = ", ".join(f"{name}={value}" for name, value in sorted(arguments.items()))
    return ({"to": to} if to else {}) | ({"match": match} if match else {})
