"""A quorum queue as it is on a single node: it counts deliveries, and drops what fails too often."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from typing import Any

from mqlab.broker.embedded.queues import Consumer, Entry, Levels, Message, Queue

HIGHEST, DEFAULT = 31, 4  # priorities
DELIVERY_LIMIT = 20
LOW_LIMIT = 0.8  # a full queue takes messages again when it is this full


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
        best = self.consumers[0] if self.consumers else None
        if self.single_active and self.active and best and best.priority > self.active.priority:
            if self.active.unacked:
                return None
            self.active = best
        return super().next_consumer()

    def hand_over(self, entry: Entry, consumer: Consumer) -> None:
        self.give(entry, consumer)

    def give(self, entry: Entry, consumer: Consumer) -> None:
        consumer.take(entry)
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
            entry.returns += 1
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

    def written(self, entry: Entry) -> bytes:
        """The properties, with how often it was delivered and how often that failed."""
        if not entry.redelivered:
            return entry.message.properties
        counts = {"x-acquired-count": entry.returns or entry.failures}
        if entry.failures:
            counts["x-delivery-count"] = entry.failures
        return entry.message.facts.with_headers(counts)
