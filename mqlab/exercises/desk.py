"""The other side of a conversation, which the checks of request and reply play: pages with mailboxes, and a desk."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pika
from pika.adapters.blocking_connection import BlockingChannel
from pika.exceptions import AMQPError

from mqlab.exercises import bench

PRICES = {"chess": "40", "pottery": "65", "poetry": "30", "physics": "80"}


class NoSuchCourse(ValueError):
    """What `look_up` raises for a course that is not there."""


def look_up(question: str) -> str:
    """Return the price of a course."""
    if question not in PRICES:
        raise NoSuchCourse(f"no course {question}")
    return PRICES[question]


def question(channel: BlockingChannel, queue: str, text: str, reply_to: str | None, number: str | None) -> None:
    """Publish a question as a page does."""
    about = pika.BasicProperties(reply_to=reply_to, correlation_id=number)
    channel.basic_publish("", queue, text.encode(), about)


def mailbox(channel: BlockingChannel) -> str:
    return str(channel.queue_declare("", exclusive=True).method.queue)


def letters(channel: BlockingChannel, box: str, n: int) -> list[tuple[str | None, str | None, str]]:
    """Return what comes into a mailbox: (number, type, text); it waits a little while there are fewer than n."""
    found: list[tuple[str | None, str | None, str]] = []
    end = time.monotonic() + 0.4
    while True:
        for _, about, body in bench.taken(channel, box):
            found.append((about.correlation_id, about.type, body.decode(errors="replace")))
        if len(found) >= n or time.monotonic() > end:
            return found
        time.sleep(0.02)


class Desk:
    """Takes questions in a thread of its own, notes them, and does with each what the check says."""

    def __init__(self, broker: Any, queue: str, act: Callable[[Desk, Any, str], None]) -> None:
        self.asked: list[tuple[Any, str]] = []
        self.going = threading.Event()
        self._broker, self._queue, self._act = broker, queue, act
        self._thread = threading.Thread(target=self._serve, name="the desk of a check", daemon=True)

    def __enter__(self) -> Desk:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.going.set()
        self._thread.join(5)

    def _serve(self) -> None:
        with suppress(AMQPError), bench.channel(self._broker) as self._channel:
            for method, asked, body in self._channel.consume(self._queue, inactivity_timeout=0.05):
                if self.going.is_set():
                    break
                if method:
                    self._channel.basic_ack(method.delivery_tag)
                    self.asked.append((asked, body.decode(errors="replace")))
                    self._act(self, asked, self.asked[-1][1])
            self._channel.cancel()

    def reply(self, asked: Any, text: str, number: str | None) -> None:
        """Answer, if the question says where."""
        if asked.reply_to:
            about = pika.BasicProperties(correlation_id=number)
            self._channel.basic_publish("", asked.reply_to, text.encode(), about)

    def babble(self, asked: Any, seconds: float) -> None:
        """Send one answer after the other that this question is not waiting for."""
        end = time.monotonic() + seconds
        while time.monotonic() < end and not self.going.wait(0.1):
            self.reply(asked, "999", "a stranger's number")


def strangers_first(desk: Desk, asked: Any, text: str) -> None:
    """Answer after others that belong to nobody, and after one that belongs to the question before."""
    desk.reply(asked, "999", None)
    desk.reply(asked, "998", "a stranger's number")
    if len(desk.asked) > 1:
        desk.reply(asked, "997", desk.asked[-2][0].correlation_id)
    desk.reply(asked, PRICES.get(text, "996"), asked.correlation_id)
