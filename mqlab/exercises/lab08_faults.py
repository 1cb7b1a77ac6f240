"""What goes wrong in lab 08: power cuts at a commit, work that fails, a line that breaks."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable
from typing import Any

import pika
from pika.adapters.blocking_connection import BlockingChannel, BlockingConnection

from mqlab import campus
from mqlab.exercises import NotYet, bench

FLOOD = 50  # calls of work that fails, after which a worker is taken for one that never stops


class Stopped(BaseException):
    """Ends an answer from inside: power fails, or it only tries again. No Exception, so that it is not caught."""


class Ledger(sqlite3.Connection):
    """A ledger on whose n-th commit the power fails: before it is done, or just after it."""

    before = after = commits = 0

    def fail(self, before: int = 0, after: int = 0) -> None:
        self.before, self.after, self.commits = before, after, 0

    def commit(self) -> None:
        if self.in_transaction:
            self.commits += 1
            if self.commits == self.before:
                raise Stopped
        super().commit()
        if self.commits and self.commits == self.after:
            raise Stopped

    def __exit__(self, kind: Any, value: Any, trace: Any) -> Any:
        if kind is None:
            self.commit()
        else:
            self.rollback()
        return False

    def execute(self, sql: str, *values: Any) -> sqlite3.Cursor:
        if sql.strip().rstrip(";").upper() in ("COMMIT", "END", "COMMIT TRANSACTION", "END TRANSACTION"):
            self.commit()
            return self.cursor()
        return super().execute(sql, *values)


class Work:
    """Work at which some users fail: so many times, then it succeeds. `calls` tells each try: who, and when."""

    def __init__(self, fails: dict[int, int]) -> None:
        self.fails = fails
        self.calls: list[tuple[int, float]] = []
        self.done: list[int] = []

    def __call__(self, event: Any) -> None:
        if not isinstance(event, campus.Subscribed):
            raise NotYet(f"`work` was given {type(event).__name__}. What does `campus.from_bytes` make of a body?")
        self.calls.append((event.user, time.monotonic()))
        if self.tries(event.user) <= self.fails.get(event.user, 0):
            if self.tries(event.user) == FLOOD:
                raise Stopped
            raise bench.WorkFailed(f"no price for user {event.user}")
        self.done.append(event.user)

    def tries(self, user: int) -> int:
        return len(self.times(user))

    def times(self, user: int) -> list[float]:
        return [t for each, t in self.calls if each == user]


class Cable:
    """Gives connections over a line that breaks twice: with a message on its way, and with a confirm on its way back.

    `name` is that of the connection that was opened last; `published` counts the calls of basic_publish.
    """

    def __init__(self, broker: Any, seen: bench.Seen, queue: str) -> None:
        self.broker, self.seen, self.queue = broker, seen, queue
        self.opened: list[BlockingConnection] = []
        self.published = 0
        self.breaks: list[threading.Thread] = []

    def connect(self) -> BlockingConnection:
        for each in self.breaks:
            each.join()
        self.seen.slow(0)
        self.seen.settle()
        name = f"Campus {len(self.opened) + 1}"
        connection = BlockingConnection(pika.URLParameters(self.seen.url_as(name)))
        self.opened.append(connection)
        opening = connection.channel

        def channel(*arguments: Any, **named: Any) -> BlockingChannel:
            made = opening(*arguments, **named)
            publish = made.basic_publish

            def breaking(*arguments: Any, **named: Any) -> Any:
                self.published += 1
                if self.published == 3:
                    self.fail(name, 30, lambda: time.sleep(0.1))
                elif len(self.breaks) == 1 and len(self.opened) > 1:
                    before = bench.ready(self.broker, self.queue)
                    self.fail(name, 0.2, lambda: until(lambda: bench.ready(self.broker, self.queue) > before, 2))
                return publish(*arguments, **named)

            made.basic_publish = breaking
            return made

        connection.channel = channel
        return connection

    def fail(self, name: str, seconds: float, wait: Callable[[], None]) -> None:
        """Slow the line, and cut it when `wait` is over."""
        self.seen.slow(seconds)
        self.seen.settle()

        def cut() -> None:
            wait()
            self.seen.cut(name)
            self.seen.settle()

        self.breaks.append(threading.Thread(target=cut, daemon=True))
        self.breaks[-1].start()

    def end(self) -> list[BlockingConnection]:
        """Mend the line, and hang up; return the connections that were still open."""
        for each in self.breaks:
            each.join()
        self.seen.slow(0)
        self.seen.settle()
        left = [connection for connection in self.opened if connection.is_open]
        for connection in left:
            bench.close(connection)
        return left


def until(condition: Callable[[], bool], seconds: float) -> None:
    """Wait until something is so, for so many seconds at most."""
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.01)
