"""The bench of the checks that meet a broker: queues of a check's own, and what became of the messages."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, TypeVar

import pika
from pika.adapters.blocking_connection import BlockingChannel, BlockingConnection
from pika.exceptions import AMQPError, ChannelClosedByBroker, ChannelWrongStateError, ConnectionClosedByBroker

from mqlab import campus
from mqlab.event import Event
from mqlab.exercises.guard import Overtime, limit
from mqlab.exercises.outcome import NotYet
from mqlab.state import State
from mqlab.tap import Tap

SECONDS = 3.0  # for one call of an answer

Work = Callable[[campus.Event], None]
Answer = TypeVar("Answer")


# ---- what a check prepares


def connect(broker: Any) -> BlockingConnection:
    return BlockingConnection(pika.URLParameters(broker.url))


@contextmanager
def channel(broker: Any) -> Iterator[BlockingChannel]:
    """Give a channel on a connection of its own."""
    with connect(broker) as connection, connection.channel() as opened:
        yield opened


@contextmanager
def queue(broker: Any, name: str, events: Sequence[campus.Event] | None = None, **declared: Any) -> Iterator[str]:
    """Give a queue with these events in it (None: the name of a queue that is not there); delete it at the end.

    It is durable; `declared` says what else queue_declare is given.
    """
    full: str = broker.name(name)
    with channel(broker) as line:
        line.queue_delete(full)
        if events is not None:
            line.queue_declare(full, durable=True, **declared)
    if events:
        publish(broker, full, events)
    try:
        yield full
    finally:
        with channel(broker) as line:
            line.queue_delete(full)


def publish(broker: Any, queue: str, events: Sequence[campus.Event]) -> None:
    """Publish persistent messages, and wait until the broker has them."""
    keep = pika.BasicProperties(content_type="application/json", delivery_mode=pika.DeliveryMode.Persistent)
    with channel(broker) as line:
        line.confirm_delivery()
        for event in events:
            line.basic_publish("", queue, campus.to_bytes(event), keep)


def fails_once_at(n: int, done: list[campus.Event]) -> Work:
    """Return work that notes what it has done in `done`, and fails at the n-th call."""
    calls = 0

    def work(event: campus.Event) -> None:
        nonlocal calls
        calls += 1
        if calls == n:
            raise WorkFailed("the mail server does not answer")
        done.append(event)

    return work


class WorkFailed(Exception):
    """What the work of a check raises, as the work of a real worker would."""


# ---- what is seen from outside


def ready(broker: Any, queue: str) -> int:
    """Return how many messages are ready in the queue."""
    with channel(broker) as line:
        return int(line.queue_declare(queue, passive=True).method.message_count)


def consumers(broker: Any, queue: str) -> int:
    """Return how many consumers the queue has."""
    with channel(broker) as line:
        return int(line.queue_declare(queue, passive=True).method.consumer_count)


def left(broker: Any, queue: str) -> list[campus.Event]:
    """Take all ready messages from the queue and return their events."""
    with channel(broker) as line:
        return [campus.from_bytes(body) for _, _, body in taken(line, queue)]


def taken(channel: BlockingChannel, queue: str) -> Iterator[tuple[Any, Any, bytes]]:
    """Take one ready message after the other, for good: (method, properties, body)."""
    while True:
        method, properties, body = channel.basic_get(queue, auto_ack=True)
        if method is None:
            return
        yield method, properties, body


class Seen:
    """What passed a tap since this was made: `events`, and the `state` that they led to."""

    def __init__(self, tap: Tap) -> None:
        self.url, self.url_as, self.cut, self.slow = tap.url, tap.url_as, tap.cut, tap.slow
        self._tap, self._begun = tap, len(tap.settle())

    def settle(self) -> None:
        """Wait until all that has passed is told."""
        self._tap.settle()

    @property
    def events(self) -> list[Event]:
        trace = self._tap.trace
        return list(trace.events[max(0, self._begun - trace.first) :])

    @property
    def state(self) -> State:
        return self._tap.trace.state()


_taps: dict[str, Tap] = {}  # one for each address, kept: a new one takes most of a second


@contextmanager
def watched(broker: Any) -> Iterator[Seen]:
    """Give addresses on which all that passes is told; after the block everything is."""
    tap = _taps.get(broker.url)
    if tap is None or tap.ended:
        tap = _taps[broker.url] = broker.watch(shared=False)
    seen = Seen(tap)
    yield seen
    seen.settle()


# ---- the learner's code on the bench


def lend(
    broker: Any, answer: Callable[[BlockingChannel], Answer], still_running: str, url: str | None = None
) -> Answer:
    """Return `answer(channel)` on a connection of its own (to `url`: a tap's), which is closed in any case.

    NotYet: with `still_running` when the time is over, or about what RabbitMQ refused.
    """
    connection = BlockingConnection(pika.URLParameters(url or broker.url))
    try:
        with limit(SECONDS):
            line = connection.channel()
            value = answer(line)
            if line.is_open:
                line.basic_qos(prefetch_count=0)  # asks and waits: a late refusal of what was sent comes out here
            return value
    except Overtime:
        raise NotYet(still_running) from None
    except (ChannelClosedByBroker, ConnectionClosedByBroker) as error:
        raise NotYet(refusal(error)) from None
    except ChannelWrongStateError:
        raise NotYet(
            "Your code uses a channel that is closed. RabbitMQ closes a channel after a mistake on it. Do you "
            "acknowledge a message on the channel that brought it?"
        ) from None
    finally:
        close(connection)


def close(connection: BlockingConnection) -> None:
    """Hang up, whatever state the answer has left the connection in."""
    with suppress(AMQPError, Overtime), limit(SECONDS):
        if connection.is_open:
            connection.close()


def refusal(error: ChannelClosedByBroker | ConnectionClosedByBroker) -> str:
    """Return a question about what the broker refused."""
    code, text = error.reply_code, error.reply_text
    if code == 541 and "transient" in text:
        return (
            "RabbitMQ refused your queue and closed the connection (541): it is neither durable nor exclusive. "
            "Which word lets a queue outlive a restart?"
        )
    if code == 404 and "no exchange" in text:
        return (
            "RabbitMQ closed your channel (404): there is no exchange of that name. "
            "Is it declared before it is used? And which exchange is always there, and what is its name?"
        )
    if code == 404:
        return "RabbitMQ closed your channel (404): there is no queue of that name. Which queue were you given?"
    if code == 406 and "delivery tag" in text:
        return (
            "RabbitMQ closed your channel (406): it does not wait for an ack with that delivery tag. Do you "
            "acknowledge each message once, with its own tag, on the channel that brought it, and without `auto_ack`?"
        )
    if code == 406 and "wildcards" in text:
        return (
            "RabbitMQ closed your channel (406): a topic binding may have two `#` at most. What does one `#` stand for?"
        )
    if code == 406 and "inequivalent" in text and "for exchange" in text:
        return (
            "RabbitMQ closed your channel (406): the exchange is there already, made otherwise. "
            "Which type has it, and which arguments?"
        )
    if code == 406 and "inequivalent" in text:
        return "RabbitMQ closed your channel (406): the queue is there already, made otherwise. Is yours durable?"
    if code == 403 and "default exchange" in text:
        return (
            "RabbitMQ closed your channel (403): the default exchange cannot be bound. Which exchange were you given?"
        )
    return f"RabbitMQ refused something ({code} {text.split(' - ')[0]}). What did your code ask for?"


def names(events: list[Any]) -> str:
    return ", ".join(event.name for event in events) or "nobody"


def some(n: int, what: str = "message") -> str:
    return f"{n} {what}{'' if n == 1 else 's'}"


# ---- exchanges


@contextmanager
def fresh(broker: Any, *texts: str) -> Iterator[list[str]]:
    """Give names for queues and exchanges of a check's own: nothing is there under them, nor is afterwards."""
    full = [broker.name(text) for text in texts]

    def clear() -> None:
        with channel(broker) as line:
            for name in full:
                line.queue_delete(name)
                line.exchange_delete(name)

    clear()
    try:
        yield full
    finally:
        clear()


def send(broker: Any, exchange: str, keys: Sequence[str]) -> None:
    """Publish a message for each routing key, the key itself as its body, and wait until the broker has them.

    NotYet: the exchange is not there.
    """
    try:
        with channel(broker) as line:
            line.confirm_delivery()
            for key in keys:
                line.basic_publish(exchange, key, key)
    except ChannelClosedByBroker:
        raise NotYet(
            f"After your function there is no exchange `{exchange}`. Did you declare it, under the name you were given?"
        ) from None


def bodies(broker: Any, queue: str) -> list[str]:
    """Take all ready messages from the queue and return their bodies. NotYet: the queue is not there."""
    try:
        with channel(broker) as line:
            return [body.decode(errors="replace") for _, _, body in taken(line, queue)]
    except ChannelClosedByBroker:
        raise NotYet(
            f"After your function there is no queue `{queue}`. Did you declare it, and may it outlive your connection?"
        ) from None


def otherwise(broker: Any, exchange: str) -> str:
    """Return what of a lasting exchange, of whichever type, this one is not: "durable", "auto_delete", or ""."""
    for kind in ("fanout", "direct", "topic", "headers"):
        try:
            with channel(broker) as line:
                line.exchange_declare(exchange, kind, durable=True)
            return ""
        except ChannelClosedByBroker as error:
            found = [what for what in ("type", "durable", "auto_delete") if f"'{what}'" in error.reply_text]
        if found != ["type"]:
            return found[0] if found else ""
    return ""
