"""Who gets a queue's messages over a channel: consumers, waiters for answers; and how deliveries are settled."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from pamqp import commands

from mqlab.broker.embedded import firehose, frames
from mqlab.broker.embedded.properties import short
from mqlab.broker.embedded.queues import Entry, Message, Queue
from mqlab.broker.embedded.quorum import Late

if TYPE_CHECKING:
    from mqlab.broker.embedded.arguments import Arguments
    from mqlab.broker.embedded.channel import Channel


class Consumer:
    """A subscription of a channel to a queue."""

    __slots__ = (
        "blocked",
        "channel",
        "exclusive",
        "late",
        "no_ack",
        "prefetch",
        "prefix",
        "priority",
        "queue",
        "session",
        "tag",
        "timeout",
        "unacked",
    )

    def __init__(
        self, channel: Channel, queue: Queue, tag: str, no_ack: bool, exclusive: bool, args: Arguments
    ) -> None:
        self.channel = channel
        self.session = channel.session
        self.queue = queue
        self.tag = tag
        self.no_ack = no_ack
        self.exclusive = exclusive
        self.priority: int = args.get("x-priority", 0)
        self.timeout: int | None = args.get("x-consumer-timeout")
        self.prefetch = 0 if no_ack else channel.prefetch or queue.most_unacked
        self.unacked = 0
        self.late: set[Entry | None] = set()
        self.blocked = False  # it was its turn, and it had no room
        self.prefix = frames.DELIVER + short(tag)

    def can_take(self) -> bool:
        """Has it acknowledged enough of what it got, and the connection room for more?"""
        full = self.late or (self.prefetch and self.unacked >= self.prefetch)
        return not full and self.session.has_room()

    def settled(self) -> None:
        """One of its messages is settled; where it had no room for more, it lines up again, as one who just came."""
        self.unacked -= 1
        self.late.discard(None)
        if self.blocked:
            self.blocked = False
            self.queue.line_up_again(self)

    def take(self, entry: Entry) -> None:
        channel, message = self.channel, entry.message
        channel.delivery_tag += 1
        if self.no_ack:
            self.queue.forget(entry)
        else:
            channel.unacked[channel.delivery_tag] = (self.queue, entry, self)
            self.unacked += 1
        tag, properties = frames.TAG.pack(channel.delivery_tag, entry.redelivered), self.queue.written(entry)
        channel.send_content((self.prefix, tag, message.address), properties, message.body)
        if channel.vhost.tracing:
            firehose.delivered(channel, self.queue.name, message, properties, entry.redelivered)

    def cancelled(self) -> None:
        """Its queue has gone: the client is told, if it said it wants to know."""
        del self.channel.consumers[self.tag]
        if self.session.wants("consumer_cancel_notify"):
            self.channel.send(commands.Basic.Cancel(self.tag, nowait=True))


class Replies:
    """The pseudo-queue of direct reply-to: what is published to it goes straight to the waiting channel."""

    kind = "queue"
    deleted = False

    def __init__(self, channel: Channel, name: str, tag: str) -> None:
        self.channel = channel
        self.name = name
        self.tag = tag

    def put(self, message: Message) -> bool:
        self.channel.delivery_tag += 1
        prefix = frames.DELIVER + short(self.tag)
        tag = frames.TAG.pack(self.channel.delivery_tag, False)
        self.channel.send_content((prefix, tag, message.address), message.properties, message.body)
        if self.channel.vhost.tracing:
            firehose.delivered(self.channel, self.name, message, message.properties, False)
        return True


Delivery = tuple[Queue | Late, Entry, Consumer | None]  # the consumer: None where a client asked with basic.get


def settle_all(deliveries: Iterable[Delivery], how: str) -> None:
    """Settles deliveries by a method of their queues (ack, reject, requeue and so on); consumers may go on."""
    groups: dict[tuple[str, int, str], list[Delivery]] = {}
    for delivery in deliveries:
        groups.setdefault(group(delivery, how), []).append(delivery)
    for _, together in sorted(groups.items()):
        queue = together[0][0]
        for _, _, consumer in together:
            if consumer is not None:
                consumer.settled()
        entries = [entry for _, entry, _ in together]
        if queue.deleted:
            queue.ack(entries)
        else:
            getattr(queue, how)(entries)
            queue.deliver()


def group(delivery: Delivery, how: str) -> tuple[str, int, str]:
    """What RabbitMQ settles together, and in which order: what one consumer, or basic.get, had from one queue."""
    queue, _, consumer = delivery
    if isinstance(queue, Late):
        return queue.name, -1, queue.consumer.tag if queue.consumer else ""
    if how == "give_back" and queue.type == "classic":
        return queue.name, 0, ""
    if consumer is None:
        return queue.name, 2 if how == "give_back" else 0, ""
    return queue.name, 1, consumer.tag
