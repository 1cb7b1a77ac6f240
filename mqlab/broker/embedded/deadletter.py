"""What RabbitMQ writes into the headers of a message that died: x-death, x-first-death-*, x-last-death-*."""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from pamqp import encode

from mqlab.broker.embedded.properties import Facts, entries, headers_of, join, long, long_string, split

if TYPE_CHECKING:
    from mqlab.broker.embedded.queues import Message


@dataclass(frozen=True)
class Death:
    """How often a message died in one queue for one reason; exchange, keys and time are of the first time."""

    queue: str
    reason: str
    exchange: str
    keys: tuple[str, ...]
    time: int
    expiration: str | None
    count: int = 1


def died(message: Message, queue: str, reason: str, now: float, new_key: bool, failures: int) -> Facts:
    """The facts of a message after it died in this queue; with a new routing key its CC and BCC no longer count."""
    old = message.facts
    exchange = message.exchange.decode(errors="surrogateescape")
    keys = (message.routing_key.decode(errors="surrogateescape"), *old.cc)
    before = next((death for death in old.deaths if (death.queue, death.reason) == (queue, reason)), None)
    death = (
        replace(before, count=before.count + 1)
        if before
        else Death(queue, reason, exchange, keys, int(now), None if old.expiration is None else str(old.expiration))
    )
    new = copy.copy(old)
    new.deaths = (death, *(other for other in old.deaths if other is not before))
    new.expiration = None
    new.failures = failures
    if new_key:
        new.cc = new.bcc = ()
    written = {"x-last-death-reason": reason, "x-last-death-queue": queue, "x-last-death-exchange": exchange}
    if not old.deaths:
        written |= {name.replace("last", "first"): value for name, value in written.items()}
    table = dict(entries(old.headers or b""))
    table |= {name.encode(): long_string(value) for name, value in written.items()}
    table[b"x-death"] = death_array(new.deaths)
    new.headers = headers_of(table)
    fields = split(old.raw)
    fields.pop("expiration", None)
    new.raw = join({**fields, "headers": long(new.headers)})
    return new


def death_array(deaths: tuple[Death, ...]) -> bytes:
    """The header x-death as it goes over the wire."""
    array = b"".join(b"F" + long(death_table(death)) for death in deaths)
    return b"A" + long(array)


def death_table(death: Death) -> bytes:
    keys = b"".join(long_string(key) for key in death.keys)
    values = {
        "count": b"l" + encode.long_long_int(death.count),
        "reason": long_string(death.reason),
        "queue": long_string(death.queue),
        "time": b"T" + encode.long_long_int(death.time),
        "exchange": long_string(death.exchange),
        "routing-keys": b"A" + long(keys),
    }
    if death.expiration is not None:
        values = {"original-expiration": long_string(death.expiration), **values}
    return b"".join(encode.short_string(name) + value for name, value in values.items())


def is_cycle(queue: str, deaths: tuple[Death, ...]) -> bool:
    """Would the message come back to a queue it died in, with nobody having rejected it since?"""
    for place, death in enumerate(deaths):
        if death.queue == queue:
            return all(other.reason != "rejected" for other in deaths[: place + 1])
    return False


def recovered(facts: Facts) -> Facts:
    """The facts with the deaths that the header x-death tells of: for a message that comes from the journal."""
    if not facts.headers or b"x-death" not in facts.headers:
        return facts
    found: Any = facts.table().get("x-death")
    new = copy.copy(facts)
    new.deaths = tuple(
        Death(
            table["queue"],
            table["reason"],
            table["exchange"],
            tuple(table["routing-keys"]),
            int(table["time"].timestamp()),
            table.get("original-expiration"),
            table["count"],
        )
        for table in found
    )
    return new
