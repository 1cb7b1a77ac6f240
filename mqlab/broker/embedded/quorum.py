"""A quorum queue as it is on a single node: it counts deliveries, and drops what fails too often."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

from mqlab.broker.embedded.queues import Consumer, Entry, Levels, Message, Queue

if TYPE_CHECKING:
    from mqlab.broker.embedded.channel import Channel

HIGHEST, DEFAULT = 31, 4  # priorities
DELIVERY_LIMIT = 20
LOW_LIMIT = 0.8  # a full queue takes messages again when it is this full
CONSUMER_TIMEOUT = 1_800_000  # milliseconds until a delivery has to be acknowledged


class Returned(Levels):
    """Waiting messages by priority, before them those that came back, in the order in which they did."""

    def __init__(self) -> None:
        super().__init__(HIGHEST, DEFAULT)
        self.returned: deque[Entry] = deque()

    def first(self) -> deque[Entry]:
        return self.returned or super().first()

    def heads(self) -> list[deque[Entry]]:
        return [self.returned, *self.levels]

    def clear(self) -> None:
        self.returned.clear()
        super().clear()

    def __len__(self) -> int:
        return len(self.returned) + super().__len__()

    def __iter__(self) -> Iterator[Entry]:
        yield from self.returned
        yield from super().__iter__()


class Loan(NamedTuple):
    """Who has an unacknowledged message, under which tag, and until when; `consumer`: None after basic.get."""

    channel: Channel
    tag: int
    consumer: Consumer | None
    due: float


class Late:
    """Stands in for the queue of deliveries that were taken back: to settle them moves no message any more.

    It only decides when their consumer gets messages again: when it has acknowledged all that it was late with.
    """

    kind = "queue"
    type = "quorum"
    deleted = False
    ready = ()

    def __init__(self, queue: QuorumQueue, consumer: Consumer | None) -> None:
        self.queue = queue
        self.name = queue.name
        self.consumer = consumer

    def forget(self, entry: Entry) -> None:
        self.ack([entry])

    def ack(self, entries: Iterable[Entry]) -> None:
        if self.consumer is not None and self.consumer.late:
            self.consumer.late -= {*entries, None}
            if not self.consumer.late:
                self.queue.forgive(self.consumer)

    def requeue(self, entries: Iterable[Entry]) -> None:
        """In RabbitMQ a consumer that only gives back stays without messages until it acknowledges something."""
        if self.consumer is not None and self.consumer.late:
            self.consumer.late -= set(entries)
            self.consumer.late.add(None)

    give_back = requeue

    def reject(self, entries: Iterable[Entry]) -> None:
        pass

    refuse = reject

    def deliver(self) -> None:
        pass


class QuorumQueue(Queue):
    """A queue that keeps all messages safe, and each one only for a number of failed deliveries."""

    most_unacked = 2_000

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.ready: Returned = Returned()
        limit = self.arguments.get("x-delivery-limit")
        self.delivery_limit: int | None = limit if isinstance(limit, int) else DELIVERY_LIMIT
        if self.delivery_limit < 0:
            self.delivery_limit = None
        self.refusing = False
        self.timeout: int = self.arguments.get("x-consumer-timeout", CONSUMER_TIMEOUT)
        self.loans: dict[Entry, Loan] = {}
        self.turn = 0  # of the last one that was delivered or came back
        if self.overflow == "reject-publish-dlx":
            self.overflow = "drop-head"

    def size(self, message: Message) -> int:
        return len(message.properties) + len(message.body)

    def full(self, message: Message) -> bool:
        """It refuses from the moment it holds more than allowed until it is clearly below."""
        if self.refusing:
            self.refusing = not self.below(LOW_LIMIT)
        return self.refusing

    def below(self, part: float) -> bool:
        return (self.max_length is None or len(self.ready) <= int(self.max_length * part)) and (
            self.max_bytes is None or self.bytes <= int(self.max_bytes * part)
        )

    def next_consumer(self) -> Consumer | None:
        """A single active consumer makes way for one of higher priority as soon as it has acknowledged all it got."""
        best = self.first_in_time()
        if self.single_active and self.active and best and best.priority > self.active.priority:
            if self.active.unacked:
                return None
            self.active = best
        return super().next_consumer()

    def hand_over(self, entry: Entry, consumer: Consumer) -> None:
        self.give(entry, consumer)

    def give(self, entry: Entry, consumer: Consumer) -> None:
        consumer.take(entry)
        if not consumer.no_ack:
            self.lend(entry, consumer.channel, consumer)
        if not consumer.can_take():
            consumer.blocked = True

    def put(self, message: Message) -> bool:
        accepted = super().put(message)
        if self.bounded and self.overflow == "reject-publish" and not self.below(1):
            self.refusing = True
        return accepted

    def requeue(self, entries: Iterable[Entry]) -> None:
        """Back, before all that wait."""
        for entry in entries:
            self.loans.pop(entry, None)
            entry.returns += 1
            self.mark(entry, entry.returns, entry.failures)
            if self.delivery_limit is not None and entry.failures > self.delivery_limit:
                self.discard(entry, "delivery_limit")
                continue
            if self.max_bytes is not None:
                self.bytes += self.size(entry.message)
            self.ready.returned.append(entry)
        if self.bounded and self.overflow == "drop-head":
            self.drop_head()
        self.deliver()
        self.expire()

    def forget(self, entry: Entry) -> None:
        self.loans.pop(entry, None)
        super().forget(entry)

    def consumer_count(self) -> int:
        """Who asked for a message and has not acknowledged it counts too, and who cancelled and still holds some."""
        others = [loan.consumer or loan for loan in self.loans.values() if loan.consumer not in self.consumers]
        return len(self.consumers) + len(set(others))

    # Deliveries that are not acknowledged in time.

    def lend(self, entry: Entry, channel: Channel, consumer: Consumer | None) -> None:
        timeout = self.timeout if consumer is None or consumer.timeout is None else consumer.timeout
        due = self.broker.clock() + timeout / 1000
        self.loans[entry] = Loan(channel, channel.delivery_tag, consumer, due)
        self.broker.wake(self, due)
        self.mark(entry, entry.returns + 1, entry.failures + 1)  # unless it is settled before the broker is killed

    def mark(self, entry: Entry, returns: int, failures: int) -> None:
        if self.journal is not None:
            self.turn += 1
            self.journal.mark(self.number, entry.position, returns, failures, self.turn)

    def take_up(self, entry: Entry) -> None:
        (self.ready.returned if entry.returns else self.ready).append(entry)

    def write_down(self) -> None:
        """All is in the journal already."""

    def tick(self) -> None:
        super().tick()
        if not self.deleted and self.loans:
            self.take_back()

    def take_back(self) -> None:
        """Takes back what is late. Who had it is told, and gets no more before it has settled that."""
        now = self.broker.clock()
        late = {entry: loan for entry, loan in self.loans.items() if loan.due <= now}
        for entry, loan in late.items():
            loan.channel.replace(loan.tag, (Late(self, loan.consumer), entry, None))
            if loan.consumer is not None:
                loan.consumer.unacked -= 1
                loan.consumer.late.add(entry)
        if self.active is not None and self.active.late and not self.active.unacked:
            self.consumers.remove(self.active)
            self.line_up(self.active)
            self.active = self.first_in_time()
        holders = dict.fromkeys((loan.channel, loan.consumer) for loan in late.values())
        untold = dict.fromkeys(channel for channel, consumer in holders if not channel.tell_late(consumer))
        self.requeue(late)
        for channel in untold:
            channel.close_late()
        if self.loans:
            self.broker.wake(self, min(loan.due for loan in self.loans.values()))

    def first_in_time(self) -> Consumer | None:
        """The consumer of the highest priority that is not late."""
        return next((consumer for consumer in self.consumers if not consumer.late), None)

    def forgive(self, consumer: Consumer) -> None:
        """A consumer has acknowledged all that it was late with: it gets messages again."""
        if consumer in self.consumers and not self.deleted:
            self.line_up_again(consumer)
            if self.single_active and self.active is None:
                self.active = consumer
            self.deliver()

    def written(self, entry: Entry) -> bytes:
        """The properties, with how often it was delivered and how often that failed."""
        if not entry.redelivered:
            return entry.message.properties
        counts = {"x-acquired-count": entry.returns or entry.failures}
        if entry.failures:
            counts["x-delivery-count"] = entry.failures
        return entry.message.facts.with_headers(counts)
