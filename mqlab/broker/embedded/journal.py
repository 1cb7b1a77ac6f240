"""What the broker has on disk: definitions, and the persistent messages of durable queues.

It is one SQLite file in WAL mode, written in one transaction per `commit`: 25 µs for one message of 1 kB, 9 µs a
message for a hundred. (LMDB takes 10 and 1.5, but its file's largest size must be set beforehand, and a power cut may
ruin it unless every commit syncs the disk; the standard library's SQLite is fast enough not to need more.)

The level `synchronous=NORMAL` means: when `commit` has returned, the operating system has it all, and `kill -9` of the
broker loses nothing of it. A power cut may lose the last moments but never damages what is older, for SQLite syncs the
disk when it moves the WAL into the file. (`FULL` would sync at each commit: 220 µs here, many milliseconds elsewhere.)
"""

import contextlib
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple, Protocol

APPLICATION = 0x4D514C42  # "MQLB", in the file's head: it is ours
FORMAT = 2
ELSEWHERE = "Move it away, or give another folder."
NAMES = ("utf-8", "surrogateescape")  # names are bytes on the wire, and need not be text
POSITIONS = 40  # bits of a position; the queue's number is in those above, so that a queue's messages lie together

SCHEMA = """
CREATE TABLE definition (
    id INTEGER PRIMARY KEY, vhost BLOB, kind TEXT, name BLOB, spec BLOB, UNIQUE (vhost, kind, name));
-- A message is in its entry. One that went to several queues at once is in `shared`, as long as an entry needs it.
CREATE TABLE entry (
    place INTEGER PRIMARY KEY, exchange BLOB, routing_key BLOB, properties BLOB, body BLOB, shared INTEGER,
    expires REAL, returns INTEGER DEFAULT 0, failures INTEGER DEFAULT 0, turn INTEGER);
CREATE TABLE shared (
    id INTEGER PRIMARY KEY, exchange BLOB, routing_key BLOB, properties BLOB, body BLOB, entries INTEGER);
CREATE TRIGGER dropped AFTER DELETE ON entry WHEN old.shared IS NOT NULL BEGIN
    UPDATE shared SET entries = entries - 1 WHERE id = old.shared;
    DELETE FROM shared WHERE id = old.shared AND entries = 0;
END;
CREATE TABLE ended (well INTEGER);
INSERT INTO ended VALUES (1);
"""


class Row(NamedTuple):
    """A message in a queue, as the journal has it; for `returns`, `failures` and `turn` see `mark`."""

    position: int
    exchange: bytes
    routing_key: bytes
    properties: bytes
    body: bytes
    expires: float | None
    returns: int
    failures: int
    turn: int | None


class JournalError(Exception):
    """Why the journal cannot be used, in a plain sentence, and what to do."""


class Message(Protocol):
    """What the journal keeps of a message."""

    properties: bytes
    body: bytes

    @property
    def exchange(self) -> bytes: ...
    @property
    def routing_key(self) -> bytes: ...


class Journal:
    """What survives the broker's end; a change holds from the next `commit` on."""

    def __init__(self, path: Path) -> None:
        """Open the journal, or make it; raises JournalError when it is damaged, not ours, or in use."""
        self._path = path
        self._kept: dict[int, Message] = {}  # by place, since the last commit
        self._expires: dict[int, float] = {}  # those of them that do
        self._dropped: list[tuple[int]] = []
        self._marks: dict[int, tuple[int, int, int | None]] = {}
        with self._explained():
            # Where it was made anew, only its owner may read the messages.
            os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
            self._database = sqlite3.connect(path, timeout=1, isolation_level=None)
        try:
            with self._explained():
                self._open()
        except JournalError:
            self._database.close()
            raise

    def _open(self) -> None:
        ask = self._database.execute
        # One broker at a time, and no shared memory to keep in step with others: that halves a commit's time.
        ask("PRAGMA locking_mode = EXCLUSIVE")
        (application,), (version,) = ask("PRAGMA application_id").fetchone(), ask("PRAGMA user_version").fetchone()
        if not application and not ask("SELECT count(*) FROM sqlite_master").fetchone()[0]:
            ask("PRAGMA journal_mode = WAL")
            self._database.executescript(
                f"BEGIN; {SCHEMA} PRAGMA application_id = {APPLICATION}; PRAGMA user_version = {FORMAT}; COMMIT"
            )
        elif (application, version) != (APPLICATION, FORMAT):
            raise JournalError(f"{self._path} is not a journal of this broker, or of another version. {ELSEWHERE}")
        ask("PRAGMA synchronous = NORMAL")
        ask("BEGIN IMMEDIATE")  # takes the lock
        (self.ended_well,) = ask("SELECT well FROM ended").fetchone()  # was it closed by the broker before?
        ask("ROLLBACK")

    def begin(self) -> None:
        """Note that a broker has taken up what was there: unless it closes the journal, it did not end well."""
        self._change("UPDATE ended SET well = 0", ())
        self.commit()

    def definitions(self) -> Iterator[tuple[str, str, str, bytes]]:
        """Give (virtual host, kind, name, spec) of all that was defined, in the order in which it was."""
        with self._explained():
            found = self._database.execute("SELECT vhost, kind, name, spec FROM definition ORDER BY id")
            for vhost, kind, name, spec in found:
                yield vhost.decode(*NAMES), kind, name.decode(*NAMES), spec

    def messages(self, queue: int) -> Iterator[Row]:
        """Give the messages in a queue: first those that have a turn, by it, then the others, by position."""
        fields = ", ".join(
            f"coalesce(s.{name}, e.{name})" for name in ("exchange", "routing_key", "properties", "body")
        )
        with self._explained():
            found = self._database.execute(
                f"SELECT e.place - ?1, {fields}, e.expires, e.returns, e.failures, e.turn "
                "FROM entry e LEFT JOIN shared s ON s.id = e.shared "
                "WHERE e.place >= ?1 AND e.place < ?2 ORDER BY e.turn IS NULL, e.turn, e.place",
                (queue << POSITIONS, queue + 1 << POSITIONS),
            )
            yield from map(Row._make, found)

    def define(self, vhost: str, kind: str, name: str, spec: bytes) -> None:
        """Note that there is a virtual host, an exchange, a queue or a binding; another `spec` replaces the first."""
        self._change(
            "INSERT INTO definition (vhost, kind, name, spec) VALUES (?, ?, ?, ?) "
            "ON CONFLICT DO UPDATE SET spec = excluded.spec",
            (vhost.encode(*NAMES), kind, name.encode(*NAMES), spec),
        )

    def undefine(self, vhost: str, kind: str, name: str) -> None:
        """Forget a definition; those of other things that were in it are not touched."""
        found = (vhost.encode(*NAMES), kind, name.encode(*NAMES))
        self._change("DELETE FROM definition WHERE (vhost, kind, name) = (?, ?, ?)", found)

    def keep(self, queue: int, position: int, message: Message, expires: float | None = None) -> None:
        """Note that a message is in a queue, and until when (seconds of the clock that the broker goes by).

        Positions are from 0 to 2**40 - 1, queues from 0 to 2**23 - 1.

        One message that is kept in several queues before the next commit is stored once.
        """
        place = queue << POSITIONS | position
        self._kept[place] = message
        if expires is not None:
            self._expires[place] = expires

    def mark(self, queue: int, position: int, returns: int, failures: int, turn: int | None = None) -> None:
        """Note how often a kept message came back, how often its delivery failed, and its turn among those."""
        self._marks[queue << POSITIONS | position] = returns, failures, turn

    def drop(self, queue: int, position: int) -> None:
        """Note that a message left the queue for good; one that came since the last commit is never written."""
        place = queue << POSITIONS | position
        self._marks.pop(place, None)
        if self._kept.pop(place, None) is None:
            self._dropped.append((place,))

    def drop_queue(self, queue: int) -> None:
        """Note that all messages left the queue for good."""
        first, end = queue << POSITIONS, queue + 1 << POSITIONS
        self._kept = {place: message for place, message in self._kept.items() if not first <= place < end}
        self._marks = {place: mark for place, mark in self._marks.items() if not first <= place < end}
        self._change("DELETE FROM entry WHERE place >= ? AND place < ?", (first, end))

    def commit(self) -> None:
        """Write what was noted: it survives the end of this process.

        Raises JournalError, e.g. when the disk is full; then only what was committed before is safe, and it must end.
        """
        if not (self._kept or self._dropped or self._marks or self._database.in_transaction):
            return
        with self._explained():
            self._begin()
            if self._dropped:
                self._database.executemany("DELETE FROM entry WHERE place = ?", self._dropped)
            if self._kept:
                self._write(self._kept)
            if self._marks:
                rows = [(*mark, place) for place, mark in self._marks.items()]
                update = "UPDATE entry SET (returns, failures, turn) = (?, ?, ?) WHERE place = ?"
                self._database.executemany(update, rows)
            self._database.execute("COMMIT")
        self._dropped, self._kept, self._expires, self._marks = [], {}, {}, {}

    def _write(self, kept: dict[int, Message]) -> None:
        """Insert the entries, and into `shared` the messages that have several."""
        copies: dict[int, int] = {}
        for message in kept.values():
            copies[id(message)] = copies.get(id(message), 0) + 1
        ids: dict[int, int] = {}
        rows: list[tuple[object, ...]] = []
        for place, message in kept.items():
            key = id(message)
            fields = (message.exchange, message.routing_key, message.properties, message.body)
            if copies[key] == 1:
                rows.append((place, *fields, None, self._expires.get(place)))
                continue
            if key not in ids:
                insert = "INSERT INTO shared (exchange, routing_key, properties, body, entries) VALUES (?, ?, ?, ?, ?)"
                ids[key] = self._database.execute(insert, (*fields, copies[key])).lastrowid or 0
            rows.append((place, None, None, None, None, ids[key], self._expires.get(place)))
        columns = "place, exchange, routing_key, properties, body, shared, expires"
        self._database.executemany(f"INSERT INTO entry ({columns}) VALUES (?, ?, ?, ?, ?, ?, ?)", rows)

    def close(self) -> None:
        """Write what was noted, and close the file."""
        try:
            self._change("UPDATE ended SET well = 1", ())
            self.commit()
        finally:
            self._database.close()

    def _change(self, statement: str, values: tuple[object, ...]) -> None:
        with self._explained():
            self._begin()
            self._database.execute(statement, values)

    def _begin(self) -> None:
        if not self._database.in_transaction:
            self._database.execute("BEGIN IMMEDIATE")

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        """Say what SQLite's error means."""
        try:
            yield
        except sqlite3.OperationalError as problem:
            if "locked" in str(problem):
                raise JournalError(f"Another broker uses {self._path}. End it first, or give another folder.") from None
            raise JournalError(
                f"The journal {self._path} cannot be used: {problem}. "
                "Is there room on the disk, and may this user write there?"
            ) from problem
        except sqlite3.DatabaseError as problem:
            raise JournalError(f"The journal {self._path} is damaged, or not one: {problem}. {ELSEWHERE}") from problem
        except OSError as problem:
            raise JournalError(f"The journal {self._path} cannot be opened: {problem.strerror}.") from problem
