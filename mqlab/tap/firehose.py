"""RabbitMQ's own word on where each message goes: its firehose, read in a thread while messages come slowly enough."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from hashlib import blake2b
from typing import Any
from uuid import uuid4

import pika
from pika.adapters.utils.connection_workflow import AMQPConnectorException

from mqlab.broker.node import Node, in_path
from mqlab.tap.links import Record
from mqlab.tap.reading import label_of
from mqlab.tap.streams import Unit

EXCHANGE = "amq.rabbitmq.trace"
QUEUE = "mqlab.firehose."  # how the names of our own queues begin, which no picture shows
LIMIT = 5.0  # seconds for each step


class Firehose(threading.Thread):
    """Switches tracing on in a virtual host and calls `tell(record)` for each message published there, in its thread.

    `ready` is called with True when that begins, with False when it cannot be had or is over. `close` switches it off.
    """

    def __init__(
        self, node: Node, vhost: str, url: str, tell: Callable[[Record], object], ready: Callable[[bool], object]
    ) -> None:
        super().__init__(name="firehose", daemon=True)
        self._node, self._vhost, self._tell, self._ready = node, vhost, tell, ready
        self._parameters = pika.URLParameters(url)
        self._parameters.heartbeat = 0
        self._parameters.socket_timeout = self._parameters.stack_timeout = LIMIT
        self._parameters.client_properties = {"connection_name": "MQ Lab reads the firehose"}
        self._connection: Any = None
        self._over = threading.Event()

    def run(self) -> None:
        """Read until closed, or until the broker goes."""
        with contextlib.suppress(OSError, pika.exceptions.AMQPError, AMQPConnectorException):
            self._switch(True)
            with pika.BlockingConnection(self._parameters) as self._connection:
                channel = self._connection.channel()
                queue = channel.queue_declare(f"{QUEUE}{uuid4().hex}", exclusive=True).method.queue
                channel.queue_bind(queue, EXCHANGE, "publish.#")
                channel.basic_consume(queue, self._heard, auto_ack=True)
                if not self._over.is_set():
                    self._ready(True)
                while not self._over.is_set():
                    self._connection.process_data_events(time_limit=None)
        self._ready(False)
        with contextlib.suppress(OSError):
            self._switch(False)

    def close(self) -> None:
        """Switch the firehose off, from any thread."""
        self._over.set()
        with contextlib.suppress(pika.exceptions.AMQPError, AttributeError):
            self._connection.add_callback_threadsafe(lambda: None)

    def _switch(self, on: bool) -> None:
        self._node.api("PUT", f"vhosts/{in_path(self._vhost)}", {"tracing": on}, limit=LIMIT)

    def _heard(self, channel: Any, method: Any, properties: Any, body: bytes) -> None:
        told = properties.headers
        unit = Unit(0.0, None, ">", 0, b"")
        unit.body, unit.size = body, len(body)
        self._tell(
            Record(
                _text(told["connection"]),
                told["channel"],
                _text(told["exchange_name"]),
                _text(told["routing_keys"][0]) if told["routing_keys"] else "",
                tuple(map(_text, told["routed_queues"])),
                blake2b(body, digest_size=8).digest() if body else b"",
                len(body),
                label_of(unit, ""),
            )
        )


def _text(value: Any) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)
