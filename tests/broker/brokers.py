"""What the tests of brokers share besides fixtures."""

import os
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable

import pika
import pytest
from pika.adapters.blocking_connection import BlockingChannel

from mqlab import broker
from mqlab.broker import docker, embedded, local
from mqlab.broker.explain import explain
from mqlab.broker.node import Node

Start = Callable[..., broker.Broker]
LIMIT = 60  # seconds for anything of these tests
RUNNING = {"local": local.running, "docker": docker.running, "embedded": embedded.running}
Connect = Callable[[broker.Broker], pika.BlockingConnection]


def need(kind: str) -> None:
    """Skip a test whose broker is not asked for or not there; in CI what is not there fails."""
    asked = os.environ.get("MQLAB_BROKER", "auto")
    if asked in RUNNING and asked != kind:
        pytest.skip(f"MQLAB_BROKER={asked} asks for that broker alone")
    trouble = None
    if kind == "docker":
        trouble = docker.problem()
    elif kind == "local" and not local.find():
        trouble = "rabbitmq-server is not installed"
    if trouble and os.environ.get("MQLAB_REQUIRE"):
        pytest.fail(f"{trouble}, and MQLAB_REQUIRE is set")
    if trouble:
        pytest.skip(trouble)


def node_of(kind: str) -> Node:
    """Return the node that runs."""
    node = RUNNING[kind]()
    assert node
    return node


def frozen_or_dead(rabbit: broker.Broker, strike: Callable[[], object]) -> None:
    """Strike the broker while three cells wait for it, each in its way: each must get a pika error, explained."""
    ready = threading.Barrier(4)
    raised: dict[str, BaseException] = {}

    def consuming(channel: BlockingChannel) -> None:
        for _ in channel.consume("sign-ups", inactivity_timeout=1):
            pass

    def start_consuming(channel: BlockingChannel) -> None:
        channel.basic_consume("sign-ups", lambda *_: None)
        channel.start_consuming()

    def confirmed(channel: BlockingChannel) -> None:
        channel.confirm_delivery()
        while True:
            channel.basic_publish("", "comments", b"Ana")

    def cell(work: Callable[[BlockingChannel], None]) -> None:
        channel = pika.BlockingConnection(pika.URLParameters(rabbit.url)).channel()
        for queue in ("sign-ups", "comments"):
            channel.queue_declare(queue, durable=True, arguments={"x-max-length": 10})
        ready.wait(30)
        try:
            work(channel)
        except pika.exceptions.AMQPError as problem:
            raised[work.__name__] = problem

    works = (consuming, start_consuming, confirmed)
    threads = [threading.Thread(target=cell, args=(work,), daemon=True) for work in works]
    for thread in threads:
        thread.start()
    ready.wait(30)
    strike()
    for thread in threads:
        thread.join(45)
    assert sorted(raised) == sorted(work.__name__ for work in works)
    for problem in raised.values():
        assert "broker.start() again" in (explain(problem) or ""), repr(problem)


def stopped_and_started(rabbit: broker.Broker) -> None:
    """Stop a broker behind a tap, and start it again: what the client sees, what the tap tells, what is on disk."""
    tap = rabbit.watch()
    try:
        connection = pika.BlockingConnection(pika.URLParameters(tap.url_as("Campus")))
        channel = connection.channel()
        channel.queue_declare("kept", durable=True)
        channel.confirm_delivery()
        channel.basic_publish("", "kept", b"Ana", pika.BasicProperties(delivery_mode=2))
        channel.basic_publish("", "kept", b"Ben")
        assert tap.settle().state().ready == 2

        tap.stop_broker()
        with pytest.raises(pika.exceptions.AMQPError):
            for _ in range(100):
                connection.process_data_events(0.1)
        with pytest.raises((pika.exceptions.AMQPError, OSError)):
            pika.BlockingConnection(pika.URLParameters(tap.url))
        state = tap.settle().state()
        assert state.trouble == "The broker was stopped"
        assert not state.connections["Campus"].open
        assert state.connections["Campus"].why

        tap.start_broker()
        state = tap.settle().state()
        assert state.trouble == "The broker is there again"
        assert [state.messages[id].label for id in state.queues["kept"].ready] == ["Ana"], "Ben was transient"
        with pika.BlockingConnection(pika.URLParameters(tap.url_as("Olu"))) as again:
            channel = again.channel()
            assert [channel.basic_get("kept", auto_ack=True)[2] for _ in range(2)] == [b"Ana", None]
        state = tap.settle().state()
        assert (state.ended["acked"], state.ended["dropped"], state.ready) == (1, 1, 0)
        assert tap.problems == []
    finally:
        tap.close()


def learner(source: str, **environment: str) -> "subprocess.Popen[str]":
    """Start a process that starts the broker, then says on a line what `source` prints, and waits to be told to end."""
    script = "from mqlab import broker\nrabbit = broker.start()\n" + textwrap.dedent(source) + "\ninput()\n"
    return subprocess.Popen(
        [sys.executable, "-u", "-c", script],
        env=os.environ | environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        encoding="utf-8",
    )


def last_word(process: "subprocess.Popen[str]") -> str:
    """Return what the learner says on a line that begins with >."""
    assert process.stdout
    return next(line[1:].strip() for line in process.stdout if line.startswith(">"))


def until(happened: Callable[[], object], limit: float = LIMIT) -> None:
    """Wait until that is so; fail after `limit` seconds."""
    end = time.monotonic() + limit
    while not happened():
        assert time.monotonic() < end, "it never happened"
        time.sleep(0.05)
