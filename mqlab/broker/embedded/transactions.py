"""What a channel has published and acknowledged in a transaction, until its commit."""

from __future__ import annotations

from typing import Any

from mqlab.broker.embedded.consumers import Delivery, settle_all
from mqlab.broker.embedded.model import Broker
from mqlab.broker.embedded.queues import ENTRY_COST, Message


class Transaction:
    """Messages with the queues they go to, and settled deliveries by their tags."""

    def __init__(self, broker: Broker) -> None:
        self.broker = broker
        self.messages: list[tuple[list[Any], Message, bool]] = []
        self.settled: list[tuple[str, dict[int, Delivery]]] = []
        self.memory = 0  # what the messages take, which the broker counts too

    def publish(self, queues: list[Any], message: Message, mandatory: bool) -> None:
        self.messages.append((queues, message, mandatory))
        cost = ENTRY_COST + len(message.body)
        self.memory += cost
        self.broker.memory += cost

    def settle(self, how: str, deliveries: dict[int, Delivery]) -> None:
        self.settled.append((how, deliveries))

    def deliveries(self) -> dict[int, Delivery]:
        """All that were settled, by their tags."""
        return {tag: delivery for _, deliveries in self.settled for tag, delivery in deliveries.items()}

    def settle_now(self) -> None:
        for how, deliveries in self.settled:
            settle_all(deliveries.values(), how)

    def end(self) -> None:
        """Committed or rolled back: begins anew."""
        self.broker.memory -= self.memory
        self.memory = 0
        self.messages, self.settled = [], []
