"""AMQP bytes in passing, put together again to methods and messages; nothing is changed and nothing is held back."""

from __future__ import annotations

from hashlib import blake2b
from typing import Any

from mqlab.broker.embedded.frames import BODY, HEAD, HEADER, METHOD

LONGEST = 1 << 26  # bytes of a frame; who sends a longer one does not speak AMQP
BEGINNING = 256  # bytes of a body that are kept
CONTENT = {
    b"\x00\x3c\x00\x28",
    b"\x00\x3c\x00\x32",
    b"\x00\x3c\x00\x3c",
    b"\x00\x3c\x00\x47",
}  # publish, return, deliver, get-ok


class Unit:
    """A method, and with it the message that it brings.

    `frame` is the method's payload, `header` that of the content header, `body` the beginning of the body, whose `size`
    is in bytes and whose `digest` stands for all of it. `routed` are the queues it went to, if the broker has said so;
    `asked`: it may still do so.
    """

    __slots__ = ("asked", "body", "channel", "digest", "frame", "header", "link", "routed", "size", "t", "way")

    def __init__(self, t: float, link: Any, way: str, channel: int, frame: bytes) -> None:
        self.t, self.link, self.way, self.channel, self.frame = t, link, way, channel, frame
        self.header = self.body = self.digest = b""
        self.size = 0
        self.routed: tuple[str, ...] | None = None
        self.asked = False


class Stream:
    """One direction of a connection: bytes in, units out."""

    def __init__(self, link: Any, way: str) -> None:
        self.link, self.way = link, way
        self.deaf = False  # what passes is no AMQP (any more), and nobody knows where the next frame begins
        self._rest = b""
        self._begun = False
        self._open: dict[int, tuple[Unit, Any, int]] = {}  # channel -> message on its way, its hash, bytes to come

    def feed(self, data: bytes, t: float) -> list[Unit]:
        """Take the bytes that passed at `t` seconds; return what is whole now."""
        units: list[Unit] = []
        if self.deaf:
            return units
        data = self._rest + data if self._rest else data
        at, end = 0, len(data)
        if not self._begun:
            if end < 8:
                self._rest = data
                return units
            self._begun = True
            at = 8 if data[:4] == b"AMQP" else 0
        unpack = HEAD.unpack_from
        while end - at >= 7:
            kind, channel, size = unpack(data, at)
            stop = at + 7 + size
            if size > LONGEST or (stop < end and data[stop] != 0xCE):
                self.deaf = True
                break
            if stop >= end:
                break
            payload = data[at + 7 : stop]
            at = stop + 1
            if kind == METHOD:
                unit = Unit(t, self.link, self.way, channel, payload)
                if payload[:4] in CONTENT:
                    self._open[channel] = (unit, None, 0)
                else:
                    units.append(unit)
            elif kind == HEADER and channel in self._open and len(payload) >= 14:
                unit = self._open[channel][0]
                unit.header, unit.size = payload, int.from_bytes(payload[4:12], "big")
                if not unit.size:
                    del self._open[channel]
                    units.append(unit)
                else:
                    self._open[channel] = (unit, blake2b(digest_size=8), unit.size)
            elif kind == BODY and channel in self._open:
                unit, digest, left = self._open[channel]
                if digest is None:
                    continue
                digest.update(payload)
                left -= len(payload)
                if len(unit.body) < BEGINNING:
                    unit.body += payload[: BEGINNING - len(unit.body)]
                if left > 0:
                    self._open[channel] = (unit, digest, left)
                else:
                    unit.digest, unit.t = digest.digest(), t
                    del self._open[channel]
                    units.append(unit)
        self._rest = b"" if self.deaf else data[at:]
        return units
