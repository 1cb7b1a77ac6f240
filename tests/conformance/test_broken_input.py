"""Broken input, the same on the embedded broker and on RabbitMQ: they refuse it alike."""

import asyncio
import contextlib
import os
import random
import struct
import sys
from pathlib import Path
from typing import Any

import pytest
from wire import METHOD
from world import World, empty, even

from mqlab.broker.node import Node

sys.path.insert(0, str(Path(__file__).parents[1] / "embedded"))
from fuzz import broken_frames, frames

INPUTS = int(os.environ.get("MQLAB_BROKEN_INPUTS", "150"))
AT_ONCE = 50
PATIENCE = 4.0  # seconds; RabbitMQ waits for 3 before it ends some connections without a word
PAUSE = 0.01  # seconds between frames, so that RabbitMQ's channels, which work side by side, have done with one
REPEATS = 3
CHANNEL_CLOSE, CONNECTION_CLOSE, CONNECTION_CLOSE_OK = b"\0\x14\0\x28", b"\0\x0a\0\x32", b"\0\x0a\0\x33"


def endings(data: bytes) -> dict[str, list[Any]]:
    """How the broker closed each channel, and the connection (`0`): code, text and the method that it blames."""
    found: dict[str, list[Any]] = {}
    while len(data) > 8:
        if data.startswith(b"AMQP"):
            found["0"], data = ["another protocol"], data[8:]
            continue
        kind, channel, size = struct.unpack_from(">BHI", data)
        if len(data) < size + 8:
            break
        payload, data = data[7 : 7 + size], data[8 + size :]
        if kind != METHOD:
            continue
        if payload[:4] in (CHANNEL_CLOSE, CONNECTION_CLOSE):
            code, length = struct.unpack_from(">HB", payload, 4)
            text = payload[7 : 7 + length].decode("utf-8", "backslashreplace")
            found.setdefault(str(channel), []).append([code, text, *struct.unpack_from(">HH", payload, 7 + length)])
        elif payload[:4] == CONNECTION_CLOSE_OK:
            found.setdefault("0", []).append("agreed to the client's close")
        if "0" in found:
            break
    return found


async def ending(node: Node, parts: list[bytes], vhost: str) -> dict[str, list[Any]]:
    """Send it all, a frame at a time, and listen until the connection is closed or nothing more comes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", node.port)
    heard, ended = b"", False
    for part in parts:
        writer.write(part)
        with contextlib.suppress(TimeoutError, OSError):
            heard += await asyncio.wait_for(reader.read(1 << 16), PAUSE)
        if ended := reader.at_eof() or writer.is_closing():
            break
    while not ended and "0" not in endings(heard):
        try:
            chunk = await asyncio.wait_for(reader.read(1 << 16), PATIENCE)
        except (TimeoutError, OSError) as silence:
            ended = not isinstance(silence, TimeoutError)
            break
        if not chunk:
            ended = True
            break
        heard += chunk
    writer.transport.abort()
    found = endings(heard)
    found.setdefault("0", ["ended without a word" if ended else "left open"])
    return even([found], vhost)[0]


def play(node: Node, seeds: list[int]) -> list[dict[str, list[Any]]]:
    """Play the input of each seed in a virtual host of its own."""

    async def one(seed: int, turn: asyncio.Semaphore) -> dict[str, list[Any]]:
        async with turn:
            with contextlib.ExitStack() as leaving:
                world: World = await asyncio.to_thread(leaving.enter_context, empty(node))
                chance = random.Random(seed)
                # Of the same length everywhere, so that chance hits the same bytes.
                whole = frames("?" * 32, node.user, "!" * len(world.vhost))
                parts = [
                    part.replace(b"?" * 32, node.password.encode()).replace(
                        b"!" * len(world.vhost), world.vhost.encode()
                    )
                    for part in broken_frames(chance, whole)
                ]
                answer = await ending(node, parts, world.vhost)
                await asyncio.to_thread(leaving.close)
                return answer

    async def together() -> list[dict[str, list[Any]]]:
        turn = asyncio.Semaphore(AT_ONCE)
        return await asyncio.gather(*(one(seed, turn) for seed in seeds))

    assert len(node.password) == 32
    return asyncio.run(together())


def differences(small: Node, real: Node, seeds: list[int]) -> tuple[dict[int, list[Any]], int]:
    """The seeds of inputs that the brokers answer otherwise, with both answers; and how many are left to chance, as
    RabbitMQ, whose channels work side by side, answers them now so and now so."""
    ours, theirs = play(small, seeds), play(real, seeds)
    other = {seed: [our, [their]] for seed, our, their in zip(seeds, ours, theirs, strict=True) if our != their}
    for _ in range(REPEATS - 1 if other else 0):
        for (_, answers), again in zip(other.values(), play(real, list(other)), strict=True):
            answers.append(again)
    chance = [seed for seed, (_, answers) in other.items() if any(answer != answers[0] for answer in answers)]
    return {seed: [our, answers[0]] for seed, (our, answers) in other.items() if seed not in chance}, len(chance)


def test_broken_input_is_refused_alike(small_node: Node, real_node: Node) -> None:
    if real_node.asked_version().startswith("3."):
        pytest.skip("3.10 has other words for some of it")
    other, chance = differences(small_node, real_node, list(range(INPUTS)))
    assert not other
    assert chance <= INPUTS // 20
