"""Client programs, each a step at a time, so that on any broker the same happens in the same order.

A program is called with `run`: `run.channel(name)` gives a channel of pika on a tapped connection of that name,
`run.wait()` waits until the tap has told all. What happens then is in traces.json, recorded on RabbitMQ 4.3
(`python tests/tap/record.py`).
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pika
from pika.adapters.blocking_connection import BlockingChannel

from mqlab.tap import Tap
from mqlab.trace import Event

STORED = Path(__file__).parent / "traces.json"
LIMIT = 10  # seconds


class Run:
    """One run of a program on a broker."""

    def __init__(self, tap: Tap) -> None:
        self.tap = tap
        self.connections: dict[str, pika.BlockingConnection] = {}

    def channel(self, name: str) -> BlockingChannel:
        if name not in self.connections:
            self.connections[name] = pika.BlockingConnection(pika.URLParameters(self.tap.url_as(name)))
        channel = self.connections[name].channel()
        self.wait()
        return channel

    def wait(self) -> None:
        self.tap.settle()

    def until(self, true: Callable[[], object]) -> None:
        """Let all connections work until something holds."""
        end = time.monotonic() + LIMIT
        while not true():
            assert time.monotonic() < end, self.tap
            for connection in self.connections.values():
                if connection.is_open:
                    connection.process_data_events(0.01)
        self.wait()

    def close(self) -> None:
        for name in sorted(self.connections):
            with suppress(pika.exceptions.AMQPError):
                self.connections[name].close()
            self.wait()


class Inbox:
    """A consumer that keeps what it gets: (delivery tag, body)."""

    def __init__(self, run: Run, channel: BlockingChannel, queue: str, **options: Any) -> None:
        self.got: list[tuple[int, bytes]] = []
        self.run, self.channel = run, channel
        self.tag = channel.basic_consume(queue, self.hear, **options)
        run.wait()

    def hear(self, channel: Any, method: Any, properties: Any, body: bytes) -> None:
        self.got.append((method.delivery_tag, body))

    def expect(self, n: int) -> Inbox:
        self.run.until(lambda: len(self.got) >= n)
        return self


def publish(run: Run, channel: BlockingChannel, *bodies: str, exchange: str = "", key: str, **properties: Any) -> None:
    for body in bodies:
        channel.basic_publish(exchange, key, body.encode(), pika.BasicProperties(**properties), mandatory=False)
        run.wait()


def a_message_waits_and_is_acked(run: Run) -> None:
    channel = run.channel("Campus")
    channel.queue_declare("sign-ups", durable=True)
    publish(run, channel, "Ana", key="sign-ups")
    other = run.channel("mailer")
    inbox = Inbox(run, other, "sign-ups").expect(1)
    other.basic_ack(inbox.got[0][0])
    run.wait()


def exchanges_copy_and_choose(run: Run) -> None:
    channel = run.channel("Campus")
    channel.exchange_declare("news", "topic", durable=True)
    channel.exchange_declare("all", "fanout", durable=True, arguments={"alternate-exchange": "rest"})
    channel.exchange_declare("rest", "fanout", durable=True)
    channel.exchange_declare("by-header", "headers", durable=True)
    channel.exchange_bind("all", "news", "course.#")
    for queue in ("mails", "pushes", "lost"):
        channel.queue_declare(queue, durable=True)
    channel.queue_bind("mails", "all")
    channel.queue_bind("pushes", "news", "*.new")
    channel.queue_bind("lost", "rest")
    channel.queue_bind("mails", "by-header", arguments={"x-match": "all", "urgent": True})
    run.wait()
    publish(run, channel, "Ana", exchange="news", key="course.new")
    publish(run, channel, "Ben", exchange="news", key="other.old")
    publish(run, channel, "Chi", exchange="by-header", key="", headers={"urgent": True})
    publish(run, channel, "Dia", exchange="by-header", key="", headers={"urgent": False})
    publish(run, channel, "Eve", key="mails", headers={"CC": ["pushes", "nowhere"]})
    channel.queue_unbind("mails", "all")
    run.wait()
    publish(run, channel, "Finn", exchange="all", key="")
    channel.exchange_unbind("all", "news", "course.#")
    channel.exchange_delete("by-header")
    channel.queue_delete("pushes")
    channel.queue_purge("mails")
    run.wait()


def confirms_and_returns(run: Run) -> None:
    channel = run.channel("Campus")
    channel.queue_declare("short", durable=True, arguments={"x-max-length": 1, "x-overflow": "reject-publish"})
    channel.confirm_delivery()
    run.wait()
    for body in ("Ana", "Ben"):
        with suppress(pika.exceptions.NackError):
            channel.basic_publish("", "short", body.encode(), mandatory=True)
        run.wait()
    with suppress(pika.exceptions.UnroutableError):
        channel.basic_publish("", "nowhere", b"Chi", mandatory=True)
    run.wait()
    publish(run, channel, "Dia", key="nowhere")


def prefetch_and_acks_of_many(run: Run) -> None:
    channel = run.channel("Campus")
    channel.queue_declare("work", durable=True)
    for letter in "ABCDEF":
        publish(run, channel, letter, key="work")
    other = run.channel("Olu")
    other.basic_qos(prefetch_count=3)
    inbox = Inbox(run, other, "work").expect(3)
    other.basic_ack(inbox.got[2][0], multiple=True)
    inbox.expect(6)
    other.basic_nack(inbox.got[4][0], multiple=True, requeue=True)
    inbox.expect(8)
    other.basic_ack(0, multiple=True)
    run.wait()
    other.basic_cancel(inbox.tag)
    run.wait()


def work_that_fails(run: Run) -> None:
    channel = run.channel("Campus")
    dead = {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": "failed"}
    channel.queue_declare("work", durable=True, arguments=dead)
    channel.queue_declare("failed", durable=True)
    channel.queue_declare("careless", durable=True)
    publish(run, channel, "Ana", "Ben", key="work")
    publish(run, channel, "Chi", key="careless")
    other = run.channel("Olu")
    for queue in ("work", "work", "careless"):
        method, _, _ = other.basic_get(queue)
        run.wait()
        other.basic_reject(method.delivery_tag, requeue=False)
        run.wait()
    method, _, body = other.basic_get("failed")
    assert body == b"Ana"
    run.wait()
    other.basic_nack(method.delivery_tag, requeue=True)
    run.wait()
    assert other.basic_get("careless")[0] is None


def a_consumer_is_cut_off(run: Run) -> None:
    channel = run.channel("Campus")
    channel.queue_declare("work", durable=True)
    for letter in "ABC":
        publish(run, channel, letter, key="work")
    first = run.channel("Olu")
    Inbox(run, first, "work").expect(3)
    second = run.channel("Ada")
    inbox = Inbox(run, second, "work")
    run.tap.cut("Olu")
    run.connections.pop("Olu")
    inbox.expect(3)
    second.basic_ack(inbox.got[2][0], multiple=True)
    run.wait()


def a_mistake_closes_the_channel(run: Run) -> None:
    channel = run.channel("Campus")
    channel.queue_declare("work", durable=True)
    publish(run, channel, "Ana", key="work")
    other = run.channel("Olu")
    Inbox(run, other, "work").expect(1)
    other.basic_ack(99)
    with suppress(pika.exceptions.ChannelClosed):
        run.until(lambda: not other.is_open)
    again = run.channel("Olu")
    inbox = Inbox(run, again, "work", auto_ack=True).expect(1)
    assert inbox.got[0][1] == b"Ana"
    with suppress(pika.exceptions.ChannelClosed):
        again.basic_publish("no-such-exchange", "", b"Ben")
        run.until(lambda: not again.is_open)
    run.wait()


def messages_expire(run: Run) -> None:
    channel = run.channel("Campus")
    dead = {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": "late"}
    channel.queue_declare("quick", durable=True, arguments={"x-message-ttl": 100} | dead)
    channel.queue_declare("late", durable=True)
    channel.queue_declare("plain", durable=True)
    publish(run, channel, "Ana", key="quick")
    run.until(lambda: run.tap.settle().state().queues["late"].ready)
    publish(run, channel, "Ben", key="plain", expiration="100")
    run.until(lambda: run.tap.settle().state().ended["expired"])
    channel.queue_declare("short", durable=True, arguments={"x-max-length": 2})
    for letter in "XYZ":
        publish(run, channel, letter, key="short")
    for queue, bodies in [("late", [b"Ana"]), ("plain", []), ("short", [b"Y", b"Z"])]:
        for body in [*bodies, None]:
            assert channel.basic_get(queue, auto_ack=True)[2] == body
            run.wait()


def queues_of_one_connection(run: Run) -> None:
    channel = run.channel("Campus")
    queue = channel.queue_declare("", exclusive=True).method.queue
    run.wait()
    publish(run, channel, "Ana", key=queue)
    other = run.channel("Olu")
    other.queue_declare("passing", durable=True, auto_delete=True)
    publish(run, other, "Ben", key="passing")
    inbox = Inbox(run, other, "passing").expect(1)
    other.basic_cancel(inbox.tag)
    run.wait()


def a_request_is_answered(run: Run) -> None:
    asking = run.channel("Campus")
    asking.queue_declare("questions", durable=True)
    replies = Inbox(run, asking, "amq.rabbitmq.reply-to", auto_ack=True)
    publish(run, asking, "2 + 3", key="questions", reply_to="amq.rabbitmq.reply-to", correlation_id="1")
    answering = run.channel("Olu")
    _, properties, _ = answering.basic_get("questions", auto_ack=True)
    answering.queue_declare(properties.reply_to, passive=True)  # does anybody wait there? It is no queue
    run.wait()
    publish(run, answering, "5", key=properties.reply_to, correlation_id="1")
    replies.expect(1)


def a_transaction(run: Run) -> None:
    channel = run.channel("Campus")
    channel.queue_declare("work", durable=True)
    channel.tx_select()
    publish(run, channel, "Ana", "Ben", key="work")
    channel.tx_commit()
    run.wait()
    publish(run, channel, "Chi", key="work")
    channel.tx_rollback()
    run.wait()


def a_quorum_queue_gives_up(run: Run) -> None:
    channel = run.channel("Campus")
    arguments = {"x-queue-type": "quorum", "x-delivery-limit": 1}
    channel.queue_declare("work", durable=True, arguments=arguments)
    run.wait()
    publish(run, channel, "Ana", "Ben", key="work")
    other = run.channel("Olu")
    other.basic_qos(prefetch_count=1)
    inbox = Inbox(run, other, "work").expect(1)
    other.basic_reject(inbox.got[0][0], requeue=True)
    inbox.expect(2)
    other.basic_reject(inbox.got[1][0], requeue=True)
    inbox.expect(3)
    assert [body for _, body in inbox.got] == [b"Ana", b"Ana", b"Ben"]


PROGRAMS = [
    a_message_waits_and_is_acked,
    exchanges_copy_and_choose,
    confirms_and_returns,
    prefetch_and_acks_of_many,
    work_that_fails,
    a_consumer_is_cut_off,
    a_mistake_closes_the_channel,
    messages_expire,
    queues_of_one_connection,
    a_request_is_answered,
    a_transaction,
    a_quorum_queue_gives_up,
]


def play(program: Callable[[Run], None], tap: Tap) -> list[str]:
    """Run a program through the tap; return its trace without what differs from run to run."""
    run = Run(tap)
    try:
        program(run)
    finally:
        run.close()
    return plain(tap.settle().events)


def plain(events: tuple[Event, ...]) -> list[str]:
    """Return events as JSON, a line each: without times, wire bytes and names that the broker or pika makes."""
    names: dict[str, str] = {}

    def named(match: re.Match[str]) -> str:
        return names.setdefault(match[0], f"{match[1]}-{len(names) + 1}")

    lines = []
    for event in events:
        told = {k: v for k, v in event._asdict().items() if v and k not in ("t", "frame", "header", "body")}
        text = json.dumps(told | {"frame": int.from_bytes(event.frame[:4], "big")}, ensure_ascii=False)
        text = re.sub(r"(amq\.gen)-[\w-]+", named, text)
        text = re.sub(r"(amq\.rabbitmq\.reply-to)\.[\w.+/=-]+", named, text)
        lines.append(re.sub(r"vhost '[^']*'", "vhost 'V'", text))
    return lines
