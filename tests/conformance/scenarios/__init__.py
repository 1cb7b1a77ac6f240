"""The scenarios, by subject."""

from scenarios import (
    alarms,
    confirms,
    connections,
    dead_letters,
    exchanges,
    learners,
    limits,
    messages,
    queues,
    quorum,
    restarts,
    timeouts,
)

__all__ = [
    "alarms",
    "confirms",
    "connections",
    "dead_letters",
    "exchanges",
    "learners",
    "limits",
    "messages",
    "queues",
    "quorum",
    "restarts",
    "timeouts",
]
