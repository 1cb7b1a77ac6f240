"""The tap's process as a proxy: it changes no byte, and no reader, however slow, stops the traffic."""

import json
import marshal
import os
import random
import socket
import struct
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_streams import message

PATIENCE = 20  # seconds


class Server:
    """Stands for a broker: answers what it gets by the same, upside down, and keeps all it got."""

    def __init__(self) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.got: list[bytearray] = []
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self) -> None:
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            self.got.append(bytearray())
            threading.Thread(target=self.serve, args=(client, self.got[-1]), daemon=True).start()

    def serve(self, client: socket.socket, got: bytearray) -> None:
        with client, suppress(ConnectionError):
            while data := client.recv(65536):
                got += data
                client.sendall(data[::-1])


class Tapped:
    """The tap's process, with a reader of ours."""

    def __init__(self, port: int, **more: Any) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "mqlab.tap"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=os.environ
        )
        self.order(host="127.0.0.1", port=port, vhost="/", vhost_path="%2F", url="", node=None, firehose=False, **more)
        kind, self.port = self.read()
        assert kind == "port"

    def order(self, **order: Any) -> None:
        assert self.process.stdin
        self.process.stdin.write(json.dumps(order).encode() + b"\n")
        self.process.stdin.flush()

    def read(self) -> Any:
        assert self.process.stdout
        head = self.process.stdout.read(4)
        return marshal.loads(self.process.stdout.read(struct.unpack(">I", head)[0])) if head else None

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE)


@contextmanager
def tapped(**more: Any) -> Iterator[tuple[Server, Tapped]]:
    server = Server()
    tap = Tapped(server.port, **more)
    try:
        yield server, tap
    finally:
        assert tap.process.stdin and tap.process.stdout
        tap.process.stdin.close()
        server.listener.close()
        tap.process.stdout.close()
        assert tap.process.wait(PATIENCE) == 0, "the end of its input is its end"


def exchanged(client: socket.socket, data: bytes) -> bytes:
    """Send the data from a thread, and return as many bytes as come back."""
    sender = threading.Thread(target=client.sendall, args=(data,))
    sender.start()
    got = bytearray()
    while len(got) < len(data):
        part = client.recv(65536)
        assert part
        got += part
    sender.join(PATIENCE)
    return bytes(got)


@pytest.fixture(scope="module")
def pair() -> Iterator[tuple[Server, Tapped]]:
    with tapped() as found:
        yield found


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.binary(min_size=1, max_size=3000), min_size=1, max_size=8), st.booleans())
def test_no_byte_is_changed(pair: tuple[Server, Tapped], parts: list[bytes], amqp: bool) -> None:
    """AMQP or anything else, in pieces of any size: the server gets what was sent, and its answers come back."""
    server, tap = pair
    sent = b"AMQP\x00\x00\x09\x01" if amqp else b""
    with closing(tap.connect()) as client:
        back = exchanged(client, sent) if sent else b""
        for part in parts:
            client.sendall(part)
            sent += part
            while len(back) < len(sent):
                back += client.recv(65536)
    assert bytes(server.got[-1]) == sent
    assert sorted(back) == sorted(sent)


def test_many_connections_and_large_bodies_at_once() -> None:
    random.seed(7)
    with tapped() as (server, tap):
        done: list[bool] = []
        sent: list[bytes] = []

        def talk(n: int) -> None:
            data = b"AMQP\x00\x00\x09\x01" + b"".join(message(n, random.randbytes(3 << 20), 131_000)) * 2
            with closing(tap.connect()) as client:
                back = exchanged(client, data)
            sent.append(data)
            done.append(Counter(back) == Counter(data))  # the server turns around what it gets, piece by piece

        threads = [threading.Thread(target=talk, args=(n,)) for n in range(1, 9)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert done == [True] * 8
        assert sorted(map(bytes, server.got)) == sorted(sent)


def test_a_reader_that_does_not_read_stops_nobody_and_is_told_the_state_later() -> None:
    start_ok = b"\x00\x0a\x00\x0b" + struct.pack(">I", 0) + b"\x05PLAIN" + struct.pack(">I", 0) + b"\x05en_US"
    with tapped(backlog=200_000) as (server, tap), closing(tap.connect()) as client:
        hello = b"AMQP\x00\x00\x09\x01" + struct.pack(">BHI", 1, 0, len(start_ok)) + start_ok + b"\xce"
        client.sendall(hello)
        messages = b"".join(b"".join(message(1, b"%06d" % n)) for n in range(20_000))
        began = time.monotonic()
        exchanged(client, messages)  # nobody reads what the tap tells of it
        assert time.monotonic() - began < PATIENCE
        assert len(server.got[0]) == len(hello) + len(messages)
        tap.order(settle=1)
        kinds = []
        while (told := tap.read())[0] != "settled":
            kinds.append(told[0])
        assert "base" in kinds


def test_a_slow_network_keeps_the_order_and_is_fast_again() -> None:
    with tapped() as (server, tap), closing(tap.connect()) as client:
        exchanged(client, b"x")
        tap.order(slow=0.15, why="slow")
        tap.order(settle=1)
        while tap.read() != ("settled", 1):
            pass
        began = time.monotonic()
        client.sendall(b"abc")
        time.sleep(0.05)
        tap.order(slow=0, why="fast")
        client.sendall(b"def")
        back = b""
        while len(back) < 6:
            back += client.recv(100)
        assert time.monotonic() - began >= 0.15
        assert bytes(server.got[0]) == b"xabcdef", "the fast ones do not overtake the slow ones"
        began = time.monotonic()
        exchanged(client, b"ghi")
        assert time.monotonic() - began < 0.1


def test_without_a_broker_the_client_is_hung_up_on() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    tap = Tapped(port)
    try:
        with closing(tap.connect()) as client, pytest.raises((ConnectionError, AssertionError)):
            exchanged(client, b"AMQP\x00\x00\x09\x01")
    finally:
        assert tap.process.stdin and tap.process.stdout
        tap.process.stdin.close()
        tap.process.stdout.close()
        assert tap.process.wait(PATIENCE) == 0
