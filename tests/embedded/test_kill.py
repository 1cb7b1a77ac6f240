"""`kill -9` under confirmed publishing, twenty times: nothing confirmed is lost, nothing acked comes back."""

import contextlib
import random
import threading
from pathlib import Path

import pika
from program import Program, folder, running, waiting

ROUNDS = 20
PERSISTENT = pika.BasicProperties(delivery_mode=2, headers={"course": "queues"})


class Campus:
    """A program that publishes with confirms and acks some of it; it remembers what the broker answered."""

    def __init__(self) -> None:
        self.first = self.published = self.confirmed = 0  # messages have the numbers 0, 1, 2 ...; `first`: not purged
        self.acked: set[int] = set()  # of the queue `a`
        self.acking: set[int] = set()  # by an ack whose arrival nobody has told yet

    def run(self, program: Program, until_killed: threading.Timer) -> None:
        """Work until the broker dies."""
        with program.connect() as connection:
            out, taking = connection.channel(), connection.channel()
            out.confirm_delivery()
            until_killed.start()
            while True:
                self.published += 1
                out.basic_publish("campus", "", b"%d" % (self.published - 1), PERSISTENT, mandatory=True)
                self.confirmed = self.published
                if self.published % 7 == 0:
                    self.take(taking)

    def take(self, channel: pika.adapters.blocking_connection.BlockingChannel) -> None:
        """Take three messages of `a`, ack two of them, give one back."""
        for n in range(3):
            method, _, body = channel.basic_get("a")
            if method and n == 1:
                channel.basic_nack(method.delivery_tag)
            elif method:
                self.acking.add(int(body))
                channel.basic_ack(method.delivery_tag)
        channel.queue_declare("a", passive=True)  # its answer comes after the acks were taken
        self.acked |= self.acking
        self.acking = set()


def numbers(connection: pika.BlockingConnection, queue: str) -> list[int]:
    return [int(body) for body in waiting(connection, queue)]


def test_twenty_kills(tmp_path: Path) -> None:
    data, chance, campus = folder(tmp_path), random.Random(3), Campus()
    with running("--data", data) as program, program.connect() as connection:
        channel = connection.channel()
        channel.exchange_declare("campus", "fanout", durable=True)
        for queue, arguments in (("a", {}), ("b", {}), ("c", {"x-queue-type": "quorum"})):
            channel.queue_declare(queue, durable=True, arguments=arguments)
            channel.queue_bind(queue, "campus")
    for n in range(ROUNDS):
        before = campus.confirmed
        with running("--data", data) as program, contextlib.suppress(pika.exceptions.AMQPError):
            campus.run(program, threading.Timer(chance.uniform(0.03, 0.2), program.process.kill))
        assert campus.confirmed > before, "it was killed at work"
        with running("--data", data) as program, program.connect() as connection:
            a, b, c = (numbers(connection, queue) for queue in "abc")
            for queue in "abc" if n % 4 == 3 else "":
                connection.channel().queue_purge(queue)
        confirmed, published = (set(range(campus.first, end)) for end in (campus.confirmed, campus.published))
        for queue in (a, b, c):
            assert queue == sorted(set(queue)), "in order, and each of them once"
        # The last one was published, but not confirmed: it may be there or not, yet in all queues or in none.
        assert confirmed <= set(b) <= published and c == b
        assert confirmed - campus.acked - campus.acking <= set(a) <= published - campus.acked
        # What was not confirmed and got lost is published again; the acks on their way have arrived, or not.
        campus.published = campus.confirmed = campus.first + len(b)
        campus.acked |= campus.acking - set(a)
        campus.acking = set()
        campus.first = campus.published if n % 4 == 3 else campus.first
    assert campus.confirmed > ROUNDS * 10 and len(campus.acked) > ROUNDS
