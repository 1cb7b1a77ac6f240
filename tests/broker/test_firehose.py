"""The firehose: each broker tells in the same words what is published and delivered in a virtual host."""

from collections.abc import Iterator
from typing import Any

import pika
import pytest

from mqlab.broker.node import in_path

LIMIT = 10  # seconds


@pytest.fixture
def vhost(rabbit: Any) -> Iterator[str]:
    """A virtual host with tracing; in path form."""
    if not rabbit.url.rpartition("/")[2] or rabbit.prefix:
        pytest.skip("there is no virtual host of its own")
    name = in_path(rabbit.space)
    rabbit._node.api("PUT", f"vhosts/{name}", {"tracing": True})
    assert rabbit._node.api("GET", f"vhosts/{name}")["tracing"] is True
    yield name
    rabbit._node.api("PUT", f"vhosts/{name}", {"tracing": False})
    assert rabbit._node.api("GET", f"vhosts/{name}")["tracing"] is False


def simple(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: simple(each) for key, each in value.items()}
    if isinstance(value, list):
        return [simple(each) for each in value]
    return value.decode() if isinstance(value, bytes) else value


def test_what_is_published_and_delivered_is_recorded(rabbit: Any, vhost: str) -> None:
    with pika.BlockingConnection(pika.URLParameters(rabbit.url)) as connection:
        traced = connection.channel()
        records = traced.queue_declare("", exclusive=True).method.queue
        traced.queue_bind(records, "amq.rabbitmq.trace", "#")
        channel = connection.channel()
        channel.confirm_delivery()
        channel.exchange_declare("news", "fanout", durable=True)
        for queue in ("mails", "pushes"):
            channel.queue_declare(queue, durable=True)
            channel.queue_bind(queue, "news")
        properties = pika.BasicProperties(
            content_type="text/plain", headers={"n": 1}, delivery_mode=2, priority=3, message_id="m1", timestamp=12345
        )
        channel.basic_publish("news", "k", b"both", properties)
        channel.basic_publish("", "mails", b"one")
        method, _, _ = channel.basic_get("mails")
        channel.basic_nack(method.delivery_tag)
        for method, _, _ in channel.consume("mails", inactivity_timeout=LIMIT):
            channel.basic_ack(method.delivery_tag)
            if method.delivery_tag == 3:
                break
        channel.cancel()

        told = []
        for method, properties, body in traced.consume(records, auto_ack=True, inactivity_timeout=2):
            if method is None:
                break
            headers = simple(properties.headers)
            assert headers.pop("vhost") == rabbit.space
            assert headers.pop("user") == rabbit._node.user
            assert headers.pop("connection").count(" -> ") == 1
            assert "@" in headers.pop("node")
            headers["routed_queues"] = sorted(headers.get("routed_queues", []))
            told.append((method.routing_key, body, headers))
            if len(told) == 5:
                break
        traced.cancel()
        for queue in ("mails", "pushes"):
            channel.queue_delete(queue)
        channel.exchange_delete("news")

    both = {
        "content_type": "text/plain",
        "headers": {"n": 1},
        "delivery_mode": 2,
        "priority": 3,
        "message_id": "m1",
        "timestamp": 12345,
    }
    first = {"exchange_name": "news", "routing_keys": ["k"], "properties": both, "channel": 2}
    second = {"exchange_name": "", "routing_keys": ["mails"], "properties": {}, "channel": 2}
    again = {"routed_queues": [], "redelivered": 1}
    assert told == [
        ("publish.news", b"both", first | {"routed_queues": ["mails", "pushes"]}),
        ("publish.", b"one", second | {"routed_queues": ["mails"]}),
        ("deliver.mails", b"both", first | again | {"redelivered": 0}),
        ("deliver.mails", b"both", first | again),
        ("deliver.mails", b"one", second | again | {"redelivered": 0}),
    ]


def test_what_is_declared_can_be_asked_for(rabbit: Any, vhost: str) -> None:
    with pika.BlockingConnection(pika.URLParameters(rabbit.url)) as connection, connection.channel() as channel:
        channel.exchange_declare("news", "topic", durable=True)
        channel.queue_declare("mails", durable=True, arguments={"x-max-length": 9})
        channel.queue_bind("mails", "news", "a.*")
        found = {kind: rabbit._node.api("GET", f"{kind}/{vhost}") for kind in ("exchanges", "queues", "bindings")}
        channel.queue_delete("mails")
        channel.exchange_delete("news")
    news = next(each for each in found["exchanges"] if each["name"] == "news")
    mails = next(each for each in found["queues"] if each["name"] == "mails")
    bound = next(each for each in found["bindings"] if each["source"] == "news")
    assert (news["type"], news["durable"], news["auto_delete"], news["arguments"]) == ("topic", True, False, {})
    assert (mails["durable"], mails["auto_delete"]) == (True, False)
    assert mails["arguments"]["x-max-length"] == 9
    assert (bound["destination"], bound["destination_type"], bound["routing_key"]) == ("mails", "queue", "a.*")
