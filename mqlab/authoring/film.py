"""The film that the README opens with: recorded on a real broker, drawn from the recording.

`python -m mqlab.authoring.film` draws it; with `record` it first records it, on the broker that MQLAB_BROKER names.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pika

from mqlab import broker, paths
from mqlab.tap import Tap
from mqlab.trace import Trace, load
from mqlab.views import animated, topology, words

TRACE = paths.ROOT / "docs" / "traces" / "broker.jsonl"
PICTURE = paths.ROOT / "docs" / "images" / "broker.svg"
TITLE = (
    "Messages move through RabbitMQ: Campus publishes sign-ups to the exchange news, which passes each on to the "
    "queues mails and pushes. Two consumers take from mails; one is cut off, and what it held goes to the other."
)
LIMIT = 20  # seconds


def record(path: Path = TRACE) -> Trace:
    """Play the film's program on a broker, save what the tap saw, and return it."""
    tap = broker.start().watch()
    try:
        _play(tap)
        tap.settle().save(path)
    finally:
        tap.close()
    return tap.trace


def _play(tap: Tap) -> None:
    def channel(name: str) -> pika.adapters.blocking_connection.BlockingChannel:
        return pika.BlockingConnection(pika.URLParameters(tap.url_as(name))).channel()

    campus = channel("Campus")
    campus.exchange_declare("news", "topic", durable=True)
    for queue, key in [("mails", "sign-up.#"), ("pushes", "*.done")]:
        campus.queue_declare(queue, durable=True)
        campus.queue_bind(queue, "news", key)
    tap.settle()
    workers = {}
    for name in ("Olu", "Ada"):
        workers[name] = channel(name)
        workers[name].basic_qos(prefetch_count=2)
        workers[name].basic_consume("mails", lambda *_: None)
        tap.settle()
    for name in ("Ana", "Ben", "Chi", "Dia", "Eve"):
        campus.basic_publish("news", "sign-up.done", name.encode())
        tap.settle()
    workers["Olu"].basic_ack(1)
    tap.settle()
    workers["Ada"].basic_ack(1)
    tap.settle()
    tap.cut("Olu")
    tap.settle()
    for n in range(2, 6):
        workers["Ada"].basic_ack(n)
        tap.settle()


def draw() -> str:
    """Return the film as SVG."""
    return animated.animate(load(TRACE), topology.draw, says=words.says, seconds=0.8, title=TITLE)


def make() -> Path:
    """Draw the film into its file; return the path."""
    PICTURE.write_text(draw(), encoding="utf-8", newline="\n")
    return PICTURE


if __name__ == "__main__":
    if sys.argv[1:] == ["record"]:
        print(f"{len(record()):,} events are in {TRACE}.")
    print(f"The film is {make()}.")
