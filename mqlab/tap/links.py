"""What is open on the connections that are tapped, as far as the witness has to know."""

from __future__ import annotations

from collections import OrderedDict, deque
from typing import Any, NamedTuple

from mqlab.tap.streams import Unit


class Consumer(NamedTuple):
    """A consumer, as its channel knows it."""

    queue: str
    who: str
    auto_ack: bool


class Channel:
    """What is open on a channel: questions, deliveries, confirms, a transaction."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.asked: deque[Any] = deque()  # methods that wait for their -ok
        self.consumers: dict[str, Consumer] = {}
        self.unacked: OrderedDict[int, str] = OrderedDict()  # delivery tag -> message
        self.returns: deque[str] = deque()  # messages that should come back
        self.stuck: list[str] = []  # messages of which nobody knows where they went
        self.sequence = 0
        self.unconfirmed: OrderedDict[int, tuple[str, str]] | None = None  # number -> exchange, label
        self.transaction: list[Unit] | None = None
        self.prefetch = 0
        self.last_queue = ""


class Link:
    """A tapped connection."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.name = ""
        self.channels: dict[int, Channel] = {}
        self.early: list[Unit] = []  # what was said before the client told its name
        self.consumers = 0
        self.exclusive: set[str] = set()
        self.why: str | None = None  # it ends: how; "" is a proper goodbye
        self.over = False

    @property
    def replies(self) -> str:
        """What its queue of direct reply-to is called here."""
        return f"replies to {self.name}"


class Place:
    """A queue, for `routing`."""

    kind = "queue"

    def __init__(self, name: str) -> None:
        self.name = name


class Record(NamedTuple):
    """The firehose's word on one message that was published; `connection` is the broker's name for the publisher's."""

    connection: str
    channel: int
    exchange: str
    key: str
    queues: tuple[str, ...]
    digest: bytes
    size: int
    label: str = ""
