"""A message's properties as they came over the wire: read without decoding what nobody asks for, and written again."""

import re
import struct
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

from pamqp import decode, encode

# In the order of the wire; the first has flag bit 15, the next 14, and so on.
NAMES = (
    "content_type",
    "content_encoding",
    "headers",
    "delivery_mode",
    "priority",
    "correlation_id",
    "reply_to",
    "expiration",
    "message_id",
    "timestamp",
    "type",
    "user_id",
    "app_id",
    "cluster_id",
)
FLAGS = {name: 1 << 15 - place for place, name in enumerate(NAMES)}
FIXED = {"delivery_mode": 1, "priority": 1, "timestamp": 8}
TEN_YEARS = 315_360_000_000  # milliseconds
SHORT, LONG = struct.Struct(">H"), struct.Struct(">I")

# Bytes of each type of a table's value that has a fixed length; the others begin with their length.
SIZES = dict(zip(b"tbBsuIifdlLTDV", (1, 1, 1, 2, 2, 4, 4, 4, 8, 8, 8, 8, 5, 0), strict=True))
COUNTED = frozenset(b"SxAF")
TYPES = {
    ord(letter): name
    for letter, name in {
        **{"t": "bool", "b": "byte", "B": "unsignedbyte", "s": "short", "u": "unsignedshort", "I": "signedint"},
        **{"i": "unsignedint", "l": "long", "f": "float", "d": "double", "T": "timestamp", "D": "decimal", "V": "void"},
        **{"S": "longstr", "x": "binary", "F": "table", "A": "array"},
    }.items()
}


def split(raw: bytes) -> dict[str, bytes]:
    """The properties there are, each as its bytes on the wire; ValueError when they are damaged."""
    flags = SHORT.unpack_from(raw)[0] if len(raw) >= 2 else 1
    if flags & 1:
        raise ValueError("more than two bytes of property flags")
    fields, at = {}, 2
    for name, flag in FLAGS.items():
        if not flags & flag:
            continue
        if name in FIXED:
            end = at + FIXED[name]
        elif name == "headers":
            end = at + 4 + LONG.unpack_from(raw, at)[0] if at + 4 <= len(raw) else len(raw) + 1
        else:
            end = at + 1 + raw[at] if at < len(raw) else len(raw) + 1
        if end > len(raw):
            raise ValueError(f"property {name} is cut off")
        fields[name], at = raw[at:end], end
    if at != len(raw):
        raise ValueError("bytes after the last property")
    return fields


def join(fields: dict[str, bytes]) -> bytes:
    """The opposite of split."""
    flags = sum(FLAGS[name] for name in fields)
    return SHORT.pack(flags) + b"".join(fields[name] for name in NAMES if name in fields)


def entries(table: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Name and value (type and bytes) of each entry of a table without its length; ValueError when it is damaged."""
    at = 0
    while at < len(table):
        name = at + 1 + table[at]
        end = value_end(table, name)
        yield table[at + 1 : name], table[name:end]
        at = end


def value_end(table: bytes, at: int) -> int:
    """Where the value that begins at `at` with its type ends."""
    if at >= len(table):
        raise ValueError("a table is cut off")
    kind = table[at]
    if kind in COUNTED:
        if at + 5 > len(table):
            raise ValueError("a table is cut off")
        end = at + 5 + LONG.unpack_from(table, at + 1)[0]
    elif kind in SIZES:
        end = at + 1 + SIZES[kind]
    else:
        raise ValueError(f"unknown type {kind} in a table")
    if end > len(table):
        raise ValueError("a table is cut off")
    if kind == ord("F"):
        for _ in entries(table[at + 5 : end]):
            pass
    elif kind == ord("A"):
        inner, place = table[at + 5 : end], 0
        while place < len(inner):
            place = value_end(inner, place)
    return end


class Facts:
    """What the broker must know of a message's properties; `raw` are the properties as they will be delivered."""

    __slots__ = (
        "bcc",
        "cc",
        "deaths",
        "expiration",
        "failures",
        "headers",
        "persistent",
        "priority",
        "raw",
        "reply_to",
        "user_id",
        "wrong",
    )

    def __init__(self, raw: bytes) -> None:
        fields = split(raw)
        self.raw = raw
        self.persistent = fields.get("delivery_mode") == b"\2"
        self.priority: int | None = fields["priority"][0] if "priority" in fields else None
        self.wrong: str | None = None  # why nobody may publish this, if so
        self.expiration: int | None = None  # milliseconds
        if "expiration" in fields:
            self.expiration = self.life(text(fields["expiration"]))
            fields["expiration"] = short(str(self.expiration))
            self.raw = join(fields)
        self.reply_to = text(fields["reply_to"]) if "reply_to" in fields else None
        self.user_id = text(fields["user_id"]) if "user_id" in fields else None
        self.headers: bytes | None = None  # the table, without its length
        self.cc: tuple[str, ...] = ()  # more routing keys, in the headers CC and BCC; the latter nobody sees
        self.bcc: tuple[str, ...] = ()
        self.deaths: tuple = ()  # see deadletter.py
        self.failures = 0  # deliveries that failed before it died
        if "headers" in fields:
            self.read_headers(fields)

    def life(self, expiration: str) -> int | None:
        """The property expiration in milliseconds; None and `wrong` where it is none."""
        number = re.match(r"[+-]?[0-9]+", expiration)
        wrong = "no_integer"
        if number and number.end() < len(expiration):
            wrong = f'{{leftover_string,"{expiration[number.end() :]}"}}'
        elif number and int(expiration) < 0:
            wrong = f"{{value_negative,{int(expiration)}}}"
        elif number and int(expiration) > TEN_YEARS:
            wrong = f"{{value_too_large,{int(expiration)}}}"
        elif number:
            return int(expiration)
        self.wrong = f"invalid expiration '{expiration}': {wrong}"
        return None

    def read_headers(self, fields: dict[str, bytes]) -> None:
        """As RabbitMQ does: sorted by name, the first of equal names counts, BCC is taken out."""
        self.headers = fields["headers"][4:]
        found = list(entries(self.headers))
        table = dict(reversed(found))
        self.cc, self.bcc = more_keys(table, b"CC"), more_keys(table, b"BCC")
        for name in (b"CC", b"BCC"):
            if name in table and table[name][:1] != b"A":
                kind = TYPES[table[name][0]]
                self.wrong = f'invalid message: {{unacceptable_type_in_header,"{name.decode()}",{kind}}}'
                return
        table.pop(b"BCC", None)
        if found != sorted(table.items()):
            self.headers = headers_of(table)
            self.raw = join({**fields, "headers": long(self.headers)})

    def with_headers(self, more: dict[str, int]) -> bytes:
        """The properties with these numbers among the headers."""
        table = dict(entries(self.headers or b""))
        table |= {name.encode(): b"l" + encode.long_long_int(value) for name, value in more.items()}
        return join({**split(self.raw), "headers": long(headers_of(table))})

    def table(self) -> dict[str, Any]:
        """The headers, decoded."""
        return {name.decode(errors="surrogateescape"): value_of(value) for name, value in entries(self.headers or b"")}


def value_of(typed: bytes) -> Any:
    """A table's value, decoded; as bytes where it cannot be."""
    try:
        return decode.embedded_value(typed)[1]
    except (struct.error, ValueError, OverflowError, OSError):
        return typed


def headers_of(table: dict[bytes, bytes]) -> bytes:
    """A table of names and typed values as it goes over the wire, without its length."""
    return b"".join(bytes((len(name),)) + name + value for name, value in sorted(table.items()))


def long(data: bytes) -> bytes:
    """Bytes with their length before them."""
    return LONG.pack(len(data)) + data


def long_string(text: str) -> bytes:
    """A text as a value of a table; its bytes stay as they came, whatever they are."""
    return b"S" + long(text.encode(errors="surrogateescape"))


def more_keys(table: dict[bytes, bytes], name: bytes) -> tuple[str, ...]:
    """The strings in the array of this name."""
    if table.get(name, b"")[:1] != b"A":
        return ()
    inner, keys, at = table[name][5:], [], 0
    while at < len(inner):
        end = value_end(inner, at)
        if inner[at] == ord("S"):
            keys.append(inner[at + 5 : end].decode(errors="surrogateescape"))
        at = end
    return tuple(keys)


def short(words: str) -> bytes:
    """Text as a short string of the wire."""
    data = words.encode(errors="surrogateescape")
    return bytes((len(data),)) + data


def text(short: bytes) -> str:
    """A short string of the wire as text."""
    return short[1:].decode(errors="surrogateescape")


cached = lru_cache(maxsize=1024)(Facts)


def facts(raw: bytes) -> Facts:
    """The Facts of these properties; ValueError when they are damaged."""
    return cached(raw) if len(raw) <= 128 else Facts(raw)
