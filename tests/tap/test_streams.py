"""Bytes in passing become methods and messages again, however they are cut up."""

import struct
import tracemalloc
from hashlib import blake2b
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from pamqp import commands

from mqlab.tap.streams import BEGINNING, LONGEST, Stream


def frame(kind: int, channel: int, payload: bytes) -> bytes:
    return struct.pack(">BHI", kind, channel, len(payload)) + payload + b"\xce"


def method(channel: int, command: Any) -> bytes:
    return frame(1, channel, struct.pack(">I", command.index) + command.marshal())


def message(channel: int, body: bytes, size: int = 4096) -> list[bytes]:
    """A publish as frames, its body in pieces."""
    header = struct.pack(">HHQH", 60, 0, len(body), 0)
    pieces = [body[at : at + size] for at in range(0, len(body), size)]
    publish = method(channel, commands.Basic.Publish(exchange="", routing_key="q"))
    return [publish, frame(2, channel, header), *(frame(3, channel, piece) for piece in pieces)]


def told(stream: Stream, parts: list[bytes]) -> list[tuple[int, bytes, bytes, int, bytes]]:
    units = [unit for n, part in enumerate(parts) for unit in stream.feed(part, n)]
    return [(unit.channel, unit.frame[:4], unit.body, unit.size, unit.digest) for unit in units]


bodies = st.lists(st.tuples(st.integers(1, 3), st.binary(max_size=600)), min_size=1, max_size=6)


@settings(max_examples=200, deadline=None)
@given(bodies, st.lists(st.integers(1, 200), max_size=60), st.randoms(use_true_random=False))
def test_however_it_is_cut_up_it_is_the_same(bodies: list[tuple[int, bytes]], cuts: list[int], random: object) -> None:
    """Messages of several channels, their frames interleaved, arrive in pieces of any size."""
    queues = [message(channel, body, 100) for channel, body in bodies]
    by_channel: dict[int, list[bytes]] = {}
    for (channel, _), frames in zip(bodies, queues, strict=True):
        by_channel.setdefault(channel, []).extend(frames)
    data = b"AMQP\x00\x00\x09\x01"
    while by_channel:
        channel = random.choice(sorted(by_channel))  # type: ignore[attr-defined]
        data += by_channel[channel].pop(0)
        if not by_channel[channel]:
            del by_channel[channel]
    data += method(0, commands.Connection.CloseOk())
    parts, rest = [], data
    for cut in cuts:
        parts, rest = [*parts, rest[:cut]], rest[cut:]
    whole = told(Stream(None, ">"), [data])
    assert told(Stream(None, ">"), [*parts, rest]) == whole
    assert len(whole) == len(bodies) + 1
    for channel in (1, 2, 3):
        assert [unit[2:4] for unit in whole[:-1] if unit[0] == channel] == [
            (body[:BEGINNING], len(body)) for n, body in bodies if n == channel
        ]
    assert {unit[4] for unit in whole[:-1] if unit[3]} == {
        blake2b(body, digest_size=8).digest() for _, body in bodies if body
    }


def test_a_large_body_is_not_kept() -> None:
    body = bytes(range(256)) * 4096 * 16  # 16 MiB
    parts = message(1, body, 131_000)
    stream = Stream(None, ">")
    stream.feed(b"AMQP\x00\x00\x09\x01", 0)
    tracemalloc.start()
    units = [unit for part in parts for unit in stream.feed(part, 0)]
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert [(unit.size, unit.body, unit.digest) for unit in units] == [
        (len(body), body[:BEGINNING], blake2b(body, digest_size=8).digest())
    ]
    assert most < 2_000_000


def test_what_is_no_amqp_is_left_alone() -> None:
    for broken in (
        frame(1, 1, b"\x00\x14\x00\x0a\x00")[:-1] + b"X",
        struct.pack(">BHI", 1, 1, LONGEST + 1),
        b"GET / HTTP/1.1\r\n\r\n" + b"\xff" * 50,
    ):
        stream = Stream(None, ">")
        good = method(1, commands.Channel.Open())
        assert len(stream.feed(b"AMQP\x00\x00\x09\x01" + good, 0)) == 1
        assert stream.feed(broken, 0) == []
        assert stream.deaf
        assert stream.feed(good, 0) == []
        assert stream._rest == b""


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=300))
def test_no_bytes_upset_it(data: bytes) -> None:
    stream = Stream(None, "<")
    for at in range(0, len(data), 7):
        stream.feed(data[at : at + 7], 0)
