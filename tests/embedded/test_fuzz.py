"""Broken frames and sessions: each is answered, the broker lives, nobody else notices. More in benchmarks/fuzz.py."""

import logging
import random
import socket

import pytest
from fuzz import Attacked, broken, close_code, frames
from program import LIMIT, running

INPUTS, SOCKETS = 3_000, 300
# 541 only where RabbitMQ says it too: for a queue neither durable nor exclusive.
KNOWN = {None, 320, 403, 404, 405, 406, 501, 502, 503, 504, 505, 530, 540, 541}


def test_broken_input_is_answered_and_nobody_else_notices(caplog: pytest.LogCaptureFixture) -> None:
    chance, attacked, codes = random.Random(1), Attacked(), set()
    with caplog.at_level(logging.ERROR):
        for n in range(INPUTS):
            codes.add(attacked.take(broken(chance, attacked.whole), chance))
            ours = [record for record in caplog.records if record.name.startswith("mqlab")]
            assert not ours, f"the broker made a mistake at input {n}"
            if n % 100 == 0:
                assert attacked.witness_is_served()
                attacked.tidy()
    assert codes <= KNOWN
    assert {501, 503, 504, 505, None} <= codes
    attacked.tidy()
    assert attacked.broker.memory == 0, "what was in the queues is given back"
    assert list(attacked.broker.vhosts["/"].queues) == ["witness"]


def test_broken_input_over_sockets() -> None:
    chance, whole = random.Random(2), frames()
    with running() as program:
        witness = program.connect()
        channel = witness.channel()
        channel.queue_declare("witness", durable=True)
        ended = 0
        for n in range(SOCKETS):
            with socket.create_connection(("127.0.0.1", program.port), LIMIT) as client:
                try:
                    client.sendall(broken(chance, whole))
                    client.shutdown(socket.SHUT_WR)
                    answer = b"".join(iter(lambda client=client: client.recv(65536), b""))
                    ended += close_code(answer) in KNOWN
                except ConnectionError:  # closed while we were still sending
                    ended += 1
            if n % 50 == 0:
                channel.basic_publish("", "witness", b"Chidi")
                assert next(channel.consume("witness", auto_ack=True, inactivity_timeout=LIMIT))[2] == b"Chidi"
        assert ended == SOCKETS
        channel.cancel()
        witness.close()
        assert program.end() == (0, "")
