"""A queue: messages that wait in order, and consumers who take turns."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, Protocol

from mqlab.broker.embedded.properties import Facts

if TYPE_CHECKING:
    from mqlab.broker.embedded.arguments import Arguments
    from mqlab.broker.embedded.channel import Channel
    from mqlab.broker.embedded.journal import Row
    from mqlab.broker.embedded.model import VirtualHost

ENTRY_COST = 300  # bytes one waiting message takes besides its body: objects, place in the queue


class Message:
    """What was published, shared by all queues it is in: exchange and routing key, raw properties, body."""

    __slots__ = ("address", "body", "copies", "facts", "properties")

    def __init__(self, address: bytes, properties: bytes, body: bytes, facts: Facts) -> None:
        self.address = address  # exchange and routing key, each a short string of the wire
        self.properties = properties
        self.body = body
        self.facts = facts
        self.copies = 0  # queues it is in

    @property
    def exchange(self) -> bytes:
        return self.address[1 : 1 + self.address[0]]

    @property
    def routing_key(self) -> bytes:
        return self.address[2 + self.address[0] :]


class Entry:
    """A message in one queue."""

    __slots__ = ("expires", "failures", "message", "position", "returns")

    def __init__(self, message: Message, position: int, expires: float | None = None) -> None:
        self.message = message
        self.position = position  # grows with each message put in: where it belongs when it comes back
        self.expires = expires
        self.returns = 0  # how often it came back
        self.failures = message.facts.failures  # how often its delivery failed, here or before it died elsewhere

    @property
    def redelivered(self) -> bool:
        return self.returns > 0 or self.failures > 0


class Consumer(Protocol):
    """Whoever takes messages from a queue."""

    priority: int
    no_ack: bool
    exclusive: bool
    unacked: int  # messages it has taken and not settled
    late: set[Entry | None]  # those that were taken back from it, and it did not settle yet
    timeout: int | None  # milliseconds within which it has to acknowledge, if it has a time of its own
    channel: Channel
    tag: str
    blocked: bool  # it was its turn, and it had no room

    def can_take(self) -> bool: ...
    def take(self, entry: Entry) -> None: ...
    def cancelled(self) -> None: ...


class Levels:
    """Waiting messages by priority, the highest first; with the methods of deque that a queue uses."""

    def __init__(self, highest: int, default: int = 0) -> None:
        self.levels: list[deque[Entry]] = [deque() for _ in range(highest + 1)]
        self.default = default  # priority of a message that has none

    def level(self, entry: Entry) -> deque[Entry]:
        priority = entry.message.facts.priority
        return self.levels[min(self.default if priority is None else priority, len(self.levels) - 1)]

    def first(self) -> deque[Entry]:
        return next(level for level in reversed(self.levels) if level)

    def heads(self) -> list[deque[Entry]]:
        return self.levels

    def append(self, entry: Entry) -> None:
        self.level(entry).append(entry)

    def popleft(self) -> Entry:
        return self.first().popleft()

    def clear(self) -> None:
        for level in self.levels:
            level.clear()

    def __getitem__(self, place: int) -> Entry:
        assert place == 0
        return self.first()[0]

    def __len__(self) -> int:
        return sum(map(len, self.levels))

    def __iter__(self) -> Iterator[Entry]:
        for level in reversed(self.levels):
            yield from level


def put_back(level: deque[Entry], entry: Entry) -> None:
    """Puts an entry where its position belongs; near the front, where it came from, this is quick."""
    passed = []
    while level and level[0].position < entry.position:
        passed.append(level.popleft())
    level.appendleft(entry)
    level.extendleft(reversed(passed))


class Queue:
    """One queue. `owner`: the connection that alone may use it, when it is exclusive."""

    kind = "queue"
    most_unacked = 0  # of a consumer without a prefetch count; 0: no limit

    def __init__(
        self,
        vhost: VirtualHost,
        name: str,
        durable: bool,
        auto_delete: bool,
        owner: Any,
        arguments: Arguments,
        number: int,
    ) -> None:
        self.vhost = vhost
        self.broker = vhost.broker
        self.name = name
        self.durable = durable
        self.auto_delete = auto_delete
        self.owner = owner
        self.arguments = arguments
        self.number = number  # by which the journal knows it
        self.type: str = arguments.get("x-queue-type", "classic")
        self.ttl: int | None = arguments.get("x-message-ttl")
        self.max_length: int | None = arguments.get("x-max-length")
        self.max_bytes: int | None = arguments.get("x-max-length-bytes")
        self.overflow: str = arguments.get("x-overflow", "drop-head")
        self.single_active: bool = arguments.get("x-single-active-consumer", False)
        self.ready: deque[Entry] | Levels = deque()
        if highest := arguments.get("x-max-priority"):
            self.ready = Levels(highest)
        self.bounded = self.max_length is not None or self.max_bytes is not None
        self.journal = vhost.broker.journal if durable and owner is None else None
        self.keeps_all = self.type == "quorum"  # which keeps transient messages, too
        self.position = 0  # of the latest message
        self.bytes = 0  # of what waits, counted where they are limited
        self.consumers: list[Consumer] = []  # the highest priority first, among equals whose turn it is
        self.active: Consumer | None = None  # of a single active consumer queue
        self.deleted = False
        self.due: float | None = None  # when the broker will look for expired messages
        self.unused_since = self.broker.clock()

    # Messages in.

    def put(self, message: Message) -> bool:
        """Takes a message in, or hands it to a consumer at once; False when the queue is full and refuses."""
        if self.bounded and self.overflow != "drop-head" and self.full(message):
            if self.overflow == "reject-publish-dlx":
                self.vhost.dead_letter(self, message, "maxlen")
            return False
        self.position += 1
        entry = Entry(message, self.position)
        if self.ttl is not None or message.facts.expiration is not None:
            entry.expires = self.expiry(message)
        self.hold(entry)
        if not self.ready and (consumer := self.next_consumer()):
            self.hand_over(entry, consumer)
            return True
        self.ready.append(entry)
        if self.max_bytes is not None:
            self.bytes += self.size(message)
        if self.bounded and self.overflow == "drop-head":
            self.drop_head()
        if entry.expires is not None:
            self.expire()
        return True

    def hand_over(self, entry: Entry, consumer: Consumer) -> None:
        """Gives a message to a consumer without ever having let it wait: then it does not count as redelivered."""
        entry.failures = 0
        self.give(entry, consumer)

    def restore(self, message: Message, row: Row) -> None:
        """Takes a message up from the journal."""
        entry = Entry(message, row.position, row.expires)
        entry.returns, entry.failures = row.returns, row.failures
        self.position = max(self.position, row.position)
        message.copies += 1
        self.broker.memory += ENTRY_COST + len(message.body)
        self.take_up(entry)
        if self.max_bytes is not None:
            self.bytes += self.size(message)

    def take_up(self, entry: Entry) -> None:
        """Where a broker was killed, nobody knows which messages it had delivered: all count as if they had been."""
        assert self.journal is not None
        if not self.journal.ended_well:
            entry.failures = 1
        self.ready.append(entry)

    def write_down(self) -> None:
        """The broker ends: notes whose delivery failed; that others came back is lost, as in RabbitMQ."""
        if self.journal is not None:
            for entry in self.ready:
                if entry.failures and entry.message.facts.persistent:
                    self.journal.mark(self.number, entry.position, 0, entry.failures)

    def size(self, message: Message) -> int:
        """What a message counts towards x-max-length-bytes."""
        return len(message.body)

    def full(self, message: Message) -> bool:
        return (self.max_length is not None and len(self.ready) >= self.max_length) or (
            self.max_bytes is not None and self.bytes + self.size(message) > self.max_bytes
        )

    def drop_head(self) -> None:
        """Drops the oldest while there are more, or more bytes, than allowed."""
        while self.ready and (
            (self.max_length is not None and len(self.ready) > self.max_length)
            or (self.max_bytes is not None and self.bytes > self.max_bytes)
        ):
            self.discard(self.pop(), "maxlen")

    def hold(self, entry: Entry) -> None:
        """The message is in this queue from now on: in memory's account and, when both are durable, in the journal."""
        message = entry.message
        message.copies += 1
        self.broker.memory += ENTRY_COST + len(message.body) if message.copies == 1 else ENTRY_COST
        if self.journal is not None and (message.facts.persistent or self.keeps_all):
            self.journal.keep(self.number, entry.position, message, entry.expires)
            if entry.failures:
                self.journal.mark(self.number, entry.position, entry.returns, entry.failures)

    def forget(self, entry: Entry) -> None:
        """The message has left this queue for good."""
        message = entry.message
        message.copies -= 1
        self.broker.memory -= ENTRY_COST if message.copies else ENTRY_COST + len(message.body)
        if self.journal is not None and (message.facts.persistent or self.keeps_all) and not self.deleted:
            self.journal.drop(self.number, entry.position)

    # Messages out.

    def pop(self) -> Entry:
        entry = self.ready.popleft()
        if self.max_bytes is not None:
            self.bytes -= self.size(entry.message)
        return entry

    def get(self) -> Entry | None:
        """The first message that waits, which is unacked from then on."""
        self.expire()
        self.used()
        return self.pop() if self.ready else None

    def lend(self, entry: Entry, channel: Channel, consumer: Consumer | None) -> None:
        """The message was delivered, and is to be acknowledged."""

    def consumer_count(self) -> int:
        return len(self.consumers)

    def written(self, entry: Entry) -> bytes:
        """The properties an entry is delivered with."""
        return entry.message.properties

    def deliver(self) -> None:
        """Hands out what waits to the consumers that can take it."""
        while self.ready:
            if self.ready[0].expires is not None:
                self.expire()
                if not self.ready:
                    return
            consumer = self.next_consumer()
            if consumer is None:
                return
            self.give(self.pop(), consumer)

    def give(self, entry: Entry, consumer: Consumer) -> None:
        consumer.take(entry)

    def next_consumer(self) -> Consumer | None:
        """Whose turn it is: the highest priority first, equals one after the other."""
        if self.single_active:
            return self.active if self.active and self.active.can_take() else None
        consumers = self.consumers
        for place, consumer in enumerate(consumers):
            if consumer.can_take():
                if len(consumers) > 1:
                    del consumers[place]
                    self.line_up(consumer)
                return consumer
            consumer.blocked = True
        return None

    def line_up_again(self, consumer: Consumer) -> None:
        """A consumer that had no room has some again: its turn comes after those who are waiting."""
        if len(self.consumers) > 1 and consumer in self.consumers:
            self.consumers.remove(consumer)
            self.line_up(consumer)

    def line_up(self, consumer: Consumer) -> None:
        """Puts a consumer behind all of its priority."""
        place = len(self.consumers)
        while place and self.consumers[place - 1].priority < consumer.priority:
            place -= 1
        self.consumers.insert(place, consumer)

    def ack(self, entries: Iterable[Entry]) -> None:
        for entry in entries:
            self.forget(entry)

    def reject(self, entries: Iterable[Entry]) -> None:
        """Refused for good: dropped, or dead-lettered where the queue has a dead letter exchange."""
        for entry in entries:
            self.discard(entry, "rejected")

    def refuse(self, entries: Iterable[Entry]) -> None:
        """Refused for good by basic.reject, which counts as a failed delivery (basic.nack does not)."""
        for entry in entries:
            entry.failures += 1
            self.discard(entry, "rejected")

    def requeue(self, entries: Iterable[Entry]) -> None:
        """Back to where they came from."""
        for entry in sorted(entries, key=lambda entry: entry.position, reverse=True):
            entry.returns += 1
            put_back(self.ready if isinstance(self.ready, deque) else self.ready.level(entry), entry)
            if self.max_bytes is not None:
                self.bytes += self.size(entry.message)
        if self.bounded and self.overflow == "drop-head":
            self.drop_head()
        self.deliver()
        self.expire()

    def give_back(self, entries: Iterable[Entry]) -> None:
        """Back, because the delivery failed: rejected, or the consumer went without a word."""
        entries = list(entries)
        for entry in entries:
            entry.failures += 1
        self.requeue(entries)

    def discard(self, entry: Entry, reason: str) -> None:
        """Out of this queue, into its dead letter exchange if it has one."""
        self.vhost.dead_letter(self, entry.message, reason, entry.failures)
        self.forget(entry)

    def purge(self) -> int:
        """Drops all that waits; how many that were."""
        self.expire()
        dropped = list(self.ready)
        self.ready.clear()
        self.bytes = 0
        for entry in dropped:
            self.forget(entry)
        return len(dropped)

    # Time.

    def expiry(self, message: Message) -> float:
        """When this message expires: after the shorter of its own time to live and the queue's."""
        lives = [life for life in (self.ttl, message.facts.expiration) if life is not None]
        return self.broker.clock() + min(lives) / 1000

    def expire(self) -> None:
        """Drops expired messages from the head; one behind a message that lives longer waits for its turn."""
        heads = [self.ready] if isinstance(self.ready, deque) else self.ready.heads()
        for head in heads:
            while head and head[0].expires is not None:
                if head[0].expires > self.broker.clock():
                    self.broker.wake(self, head[0].expires)
                    break
                entry = head.popleft()
                if self.max_bytes is not None:
                    self.bytes -= self.size(entry.message)
                self.discard(entry, "expired")

    def used(self) -> None:
        """Somebody declared it or asked it for a message: its own expiry (x-expires) starts again."""
        self.unused_since = self.broker.clock()

    def tick(self) -> None:
        """A moment this queue asked to be woken for has come."""
        self.expire()
        if (life := self.arguments.get("x-expires")) is not None and not self.consumers:
            end = self.unused_since + life / 1000
            if end <= self.broker.clock():
                self.vhost.delete_queue(self)
            else:
                self.broker.wake(self, end)

    # Consumers.

    def subscribe(self, consumer: Consumer) -> None:
        self.line_up(consumer)
        if self.single_active and self.active is None:
            self.active = consumer
        self.deliver()

    def unsubscribe(self, consumer: Consumer) -> None:
        """A consumer has gone; an auto-delete queue goes with its last one."""
        if consumer not in self.consumers:
            return
        self.consumers.remove(consumer)
        if self.active is consumer:
            self.active = next((each for each in self.consumers if not each.late), None)
        if not self.consumers:
            self.used()
            if self.auto_delete:
                self.vhost.delete_queue(self)
                return
            self.tick()
        self.deliver()
