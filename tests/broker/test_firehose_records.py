"""RabbitMQ's firehose on every broker: the records of what is published and delivered, as RabbitMQ 3.10 wrote them."""

import time
from collections.abc import Callable, Iterator
from typing import Any

import pika
import pytest
from brokers import LIMIT, Connect, Start, node_of
from pika.adapters.blocking_connection import BlockingChannel

from mqlab import broker
from mqlab.broker.node import in_path

Record = tuple[str, dict[str, Any], bytes]  # its key, its headers, its body
Trace = Callable[[bool], None]
Read = Callable[[], list[Record]]


@pytest.fixture
def rabbit(start: Start) -> broker.Broker:
    return start()


@pytest.fixture
def vhost(rabbit: broker.Broker) -> str:
    return pika.URLParameters(rabbit.url).virtual_host


@pytest.fixture
def trace(rabbit: broker.Broker, vhost: str, kind: str) -> Iterator[Trace]:
    """Switch tracing on or off."""

    def switch(on: bool) -> None:
        node_of(kind).api("PUT", f"vhosts/{in_path(vhost)}", {"tracing": on})
        assert node_of(kind).api("GET", f"vhosts/{in_path(vhost)}")["tracing"] is on

    yield switch
    switch(False)  # RabbitMQ remembers it longer than the virtual host is there


@pytest.fixture
def channel(rabbit: broker.Broker, connect: Connect) -> BlockingChannel:
    """A channel of a learner: queues q and p, exchange news bound to both."""
    channel = connect(rabbit).channel()
    channel.exchange_declare("news", "fanout")
    for queue in ("q", "p"):
        channel.queue_declare(queue, durable=True)
        channel.queue_bind(queue, "news")
    return channel


@pytest.fixture
def read(rabbit: broker.Broker, vhost: str, channel: BlockingChannel, connect: Connect, trace: Trace) -> Read:
    """Return the records since the last time; tracing is on from now on."""
    own = connect(rabbit).channel()
    own.exchange_declare("end", "fanout")
    own.queue_declare("records", exclusive=True)
    own.queue_bind("records", "amq.rabbitmq.trace", "#")
    trace(True)
    user = pika.URLParameters(rabbit.url).credentials.username

    def records() -> list[Record]:
        """All up to a message of ours, whose record comes after the others."""
        own.basic_publish("end", "", b"")
        found: list[Record] = []
        end = time.monotonic() + LIMIT
        while time.monotonic() < end:
            method, properties, body = own.basic_get("records", auto_ack=True)
            if method is None:
                continue
            assert method.exchange == "amq.rabbitmq.trace" and properties.delivery_mode is None
            headers = dict(properties.headers)
            assert (headers.pop("vhost"), headers.pop("user")) == (vhost, user)
            assert "@" in headers.pop("node")
            assert headers.pop("connection").startswith("127.0.0.1:") or rabbit.kind == "docker"
            if method.routing_key == "publish.end":
                return found
            if "routed_queues" in headers:
                headers["routed_queues"].sort()  # each version has its own order
            found.append((method.routing_key, headers, body))
        raise AssertionError("the records never came")

    return records


def published(exchange: str, keys: list[str], queues: list[str], **more: Any) -> dict[str, Any]:
    told = {"exchange_name": exchange, "routing_keys": keys, "routed_queues": queues, "properties": {}, "channel": 1}
    return told | more


def delivered(exchange: str, keys: list[str], redelivered: int, **more: Any) -> dict[str, Any]:
    told = {"exchange_name": exchange, "routing_keys": keys, "redelivered": redelivered, "properties": {}, "channel": 1}
    return told | more


def test_what_is_published_is_told(channel: BlockingChannel, read: Read) -> None:
    channel.basic_publish("", "q", b"one")
    channel.basic_publish("news", "k", b"two")
    channel.basic_publish("", "nobody", b"three")
    channel.basic_publish("amq.direct", "nobody", b"four", mandatory=True)
    channel.queue_declare("q", passive=True)  # all have come
    assert read() == [
        ("publish.", published("", ["q"], ["q"]), b"one"),
        ("publish.news", published("news", ["k"], ["p", "q"]), b"two"),
        ("publish.", published("", ["nobody"], ["nobody"]), b"three"),  # it does not look whether it is there
        ("publish.amq.direct", published("amq.direct", ["nobody"], []), b"four"),
    ]


def test_what_is_delivered_is_told(channel: BlockingChannel, read: Read) -> None:
    for body in (b"one", b"two"):
        channel.basic_publish("news", "k", body)
    method, _, _ = channel.basic_get("q")
    assert method
    channel.basic_nack(method.delivery_tag)
    bodies = [body for _, (_, _, body) in zip(range(2), channel.consume("q"), strict=False)]
    assert bodies == [b"one", b"two"]
    channel.queue_declare("q", passive=True)
    assert [record for record in read() if record[0] != "publish.news"] == [
        ("deliver.q", delivered("news", ["k"], 0), b"one"),
        ("deliver.q", delivered("news", ["k"], 1), b"one"),
        ("deliver.q", delivered("news", ["k"], 0), b"two"),
    ]


def test_properties_and_all_keys_are_told(channel: BlockingChannel, read: Read) -> None:
    sent = pika.BasicProperties(
        content_type="text/plain",
        headers={"n": 1, "CC": ["p"], "BCC": ["secret"], "name": "Zoë"},
        delivery_mode=2,
        priority=3,
        timestamp=5_000_000_000,
        expiration="600000",
        message_id="m",
    )
    channel.basic_publish("", "q", b"one", sent)
    channel.basic_get("q", auto_ack=True)
    keys = ["q", "p", "secret"]
    told = {
        "content_type": "text/plain",
        "headers": {"n": 1, "CC": ["p"], "name": "Zoë"},
        "delivery_mode": 2,
        "priority": 3,
        "timestamp": 5_000_000_000 - (1 << 32),  # it has room for 32 bits
        "expiration": "600000",
        "message_id": "m",
    }
    assert read() == [
        ("publish.", published("", keys, ["p", "q", "secret"], properties=told), b"one"),
        ("deliver.q", delivered("", keys, 0, properties=told), b"one"),
    ]


def test_a_transaction_is_told_before_its_end(channel: BlockingChannel, read: Read) -> None:
    other = channel.connection.channel()
    other.tx_select()
    other.basic_publish("", "q", b"never")
    other.queue_declare("q", passive=True)
    assert read() == [("publish.", published("", ["q"], ["q"], channel=2), b"never")]
    other.tx_rollback()
    other.basic_publish("", "q", b"now")
    assert other.tx_commit()
    assert read() == [("publish.", published("", ["q"], ["q"], channel=2), b"now")]


def test_it_ends_for_open_channels_too(channel: BlockingChannel, read: Read, trace: Trace) -> None:
    channel.basic_publish("", "q", b"told")
    channel.queue_declare("q", passive=True)
    trace(False)
    channel.basic_publish("", "q", b"not told")
    channel.basic_get("q")
    trace(True)
    assert [body for _, _, body in read()] == [b"told"]


def test_nobody_else_publishes_records(channel: BlockingChannel) -> None:
    channel.basic_publish("amq.rabbitmq.trace", "publish.", b"")
    with pytest.raises(pika.exceptions.ChannelClosedByBroker, match="cannot publish to internal exchange") as refusal:
        channel.queue_declare("q", passive=True)
    assert refusal.value.reply_code == 403
