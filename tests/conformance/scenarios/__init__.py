"""The scenarios, by subject."""

from scenarios import (
    confirms,
    connections,
    dead_letters,
    exchanges,
    learners,
    messages,
    queues,
    quorum,
    restarts,
    timeouts,
)

__all__ = [
    "confirms",
    "connections",
    "dead_letters",
    "exchanges",
    "learners",
    "messages",
    "queues",
    "quorum",
    "restarts",
    "timeouts",
]
