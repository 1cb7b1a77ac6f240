"""The journal: what was committed is there again, after kill -9 too; what is damaged or not ours is said."""

import os
import random
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mqlab.broker.embedded.journal import Journal, JournalError


class Text:
    """A message as the journal needs it."""

    def __init__(self, body: bytes, exchange: bytes = b"campus", routing_key: bytes = b"sign-ups") -> None:
        self.exchange, self.routing_key, self.properties, self.body = exchange, routing_key, b"\x10\x00\x02", body


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal 課.db"


def bodies(path: Path, queue: int) -> dict[int, bytes]:
    """Open the journal as after a restart; return what it has of the queue, in its order."""
    journal = Journal(path)
    found = {row.position: row.body for row in journal.messages(queue)}
    journal.close()
    assert list(found) == sorted(found)
    return found


def test_definitions_come_back_in_the_order_they_were_made(path: Path) -> None:
    journal = Journal(path)
    made = [
        ("/", "vhost", "", b""),
        ("/", "queue", "sign-ups", b"\x00\xff"),
        ("labs 課", "exchange", "no \udcfftext", b"x"),
    ]
    for one in [*made, ("/", "queue", "gone", b"")]:
        journal.define(*one)
    journal.commit()
    journal.define("/", "queue", "sign-ups", b"changed")
    journal.undefine("/", "queue", "gone")
    journal.undefine("/", "queue", "never was")
    journal.close()
    assert list(Journal(path).definitions()) == [made[0], ("/", "queue", "sign-ups", b"changed"), made[2]]


def test_a_message_comes_back_byte_for_byte(path: Path) -> None:
    journal = Journal(path)
    last = 2**40 - 1
    journal.keep(7, last, Text(b"", exchange=b""))
    journal.keep(7, 0, Text(bytes(range(256)) * 9), expires=1764000000.25)
    journal.keep(8, 0, Text(b"another queue's"))
    journal.close()
    head = (b"sign-ups", b"\x10\x00\x02")
    assert list(Journal(path).messages(7)) == [
        (0, b"campus", *head, bytes(range(256)) * 9, 1764000000.25, 0, 0, None),
        (last, b"", *head, b"", None, 0, 0, None),
    ]


def test_what_came_back_comes_first_by_its_turn(path: Path) -> None:
    journal = Journal(path)
    for position in range(5):
        journal.keep(1, position, Text(b"%d" % position))
    journal.mark(1, 3, returns=1, failures=0, turn=8)
    journal.mark(1, 0, returns=2, failures=9)
    journal.commit()
    journal.mark(1, 1, returns=4, failures=3, turn=9)
    journal.mark(1, 3, returns=2, failures=1, turn=10)
    journal.mark(1, 4, returns=1, failures=1, turn=11)
    journal.drop(1, 4)
    journal.close()
    found = [(row.position, row.returns, row.failures, row.turn) for row in Journal(path).messages(1)]
    assert found == [(1, 4, 3, 9), (3, 2, 1, 10), (0, 2, 9, None), (2, 0, 0, None)]


def test_it_knows_whether_its_broker_ended_well(path: Path) -> None:
    journal = Journal(path)
    assert journal.ended_well
    journal.begin()
    journal._database.close()
    journal = Journal(path)
    assert not journal.ended_well
    journal.begin()
    journal.close()
    assert Journal(path).ended_well


def test_only_what_was_committed_is_there(path: Path) -> None:
    journal = Journal(path)
    journal.keep(1, 1, Text(b"committed"))
    journal.define("/", "queue", "committed", b"")
    journal.commit()
    journal.keep(1, 2, Text(b"not"))
    journal.drop(1, 1)
    journal.define("/", "queue", "not", b"")
    journal._database.close()  # as its process does that is killed
    assert bodies(path, 1) == {1: b"committed"}
    assert [name for _, _, name, _ in Journal(path).definitions()] == ["committed"]


def test_one_message_in_ten_queues_is_stored_once(path: Path) -> None:
    journal = Journal(path)
    message = Text(b"x" * 100_000)
    for queue in range(10):
        journal.keep(queue, 5, message)
    journal.commit()
    for queue in range(8):
        journal.drop(queue, 5)
    journal.drop_queue(8)
    journal.close()
    assert path.stat().st_size < 250_000
    assert bodies(path, 0) == {} == bodies(path, 8) and bodies(path, 9) == {5: message.body}
    journal = Journal(path)
    journal.drop(9, 5)
    journal.commit()
    assert journal._database.execute("SELECT count(*) FROM shared").fetchone() == (0,), "gone with its last queue"


def test_what_came_and_went_since_the_last_commit_is_never_written(path: Path) -> None:
    journal = Journal(path)
    before = journal._database.total_changes
    journal.keep(1, 1, Text(b"x"))
    journal.drop(1, 1)
    journal.commit()
    assert journal._database.total_changes == before


QUEUES, PLACES = st.integers(0, 2), st.integers(0, 5)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("keep"), st.sets(QUEUES, min_size=1), PLACES),
        st.tuples(st.just("drop"), QUEUES, PLACES),
        st.tuples(st.just("drop_queue"), QUEUES),
        st.tuples(st.just("commit")),
        st.tuples(st.just("restart")),
    ),
    max_size=40,
)


@settings(deadline=None, max_examples=60)
@given(steps=STEPS)
def test_it_holds_what_a_dictionary_would(steps: list[tuple], tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("journal") / "journal.db"
    journal, now, safe = Journal(path), {}, {}
    for number, (what, *arguments) in enumerate([*steps, ("restart",)]):
        if what == "keep":
            queues, position = arguments
            message = Text(str(number).encode())
            for queue in sorted(queues):
                if (queue, position) not in now:
                    journal.keep(queue, position, message)
                    now[queue, position] = message.body
        elif what == "drop" and tuple(arguments) in now:
            journal.drop(*arguments)
            del now[tuple(arguments)]
        elif what == "drop_queue":
            journal.drop_queue(*arguments)
            now = {key: body for key, body in now.items() if key[0] != arguments[0]}
        elif what == "commit":
            journal.commit()
            safe = dict(now)
        elif what == "restart":
            journal._database.close()
            journal, now = Journal(path), dict(safe)
            found = {(queue, row[0]): row[4] for queue in range(3) for row in journal.messages(queue)}
            assert found == safe
    journal.close()


WRITER = """
import sys
from pathlib import Path
from types import SimpleNamespace
from mqlab.broker.embedded.journal import Journal

journal = Journal(Path(sys.argv[1]))
begin = max((row[0] for row in journal.messages(1)), default=-1) + 1
for n in range(begin, 10**6, 3):
    message = SimpleNamespace(exchange=b"", routing_key=b"", properties=b"", body=b"%d" % n * 200)
    for position in (n, n + 1, n + 2):
        journal.keep(1, position, message)
        journal.keep(2, position, message)
    journal.drop(2, n)
    journal.commit()
    print(n, flush=True)
"""


def test_nothing_committed_is_lost_when_the_process_is_killed(path: Path) -> None:
    pause = random.Random(5)
    for _ in range(5):
        writer = subprocess.Popen([sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, text=True)
        assert writer.stdout
        writer.stdout.readline()
        timer = threading.Timer(pause.uniform(0, 0.3), writer.kill)
        timer.start()
        last = int(writer.stdout.read().split()[-1])
        writer.wait(10)
        one, two = bodies(path, 1), bodies(path, 2)
        assert set(range(last + 3)) <= set(one)
        assert len(one) % 3 == 0 and set(two) == {n for n in one if n % 3}, (
            "a transaction is there whole, or not at all"
        )


def spoil(path: Path) -> None:
    """Overwrite the middle of a journal with noise."""
    journal = Journal(path)
    for n in range(200):
        journal.keep(1, n, Text(b"x" * 1000))
    journal.close()
    content = bytearray(path.read_bytes())
    content[30_000:60_000] = random.Random(1).randbytes(30_000)
    path.write_bytes(content)


def read_all(path: Path) -> None:
    journal = Journal(path)
    try:
        list(journal.definitions())
        list(journal.messages(1))
    finally:
        journal._database.close()


def other_program(path: Path) -> None:
    database = sqlite3.connect(path)
    database.execute("CREATE TABLE x (y)")
    database.close()


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda path: path.write_bytes(b"no database at all" * 100), "damaged, or not one"),
        (spoil, "damaged, or not one"),
        (other_program, "is not a journal of this broker"),
        (Path.mkdir, "cannot be opened"),
    ],
)
def test_what_is_no_journal_is_said_and_left_alone(path: Path, make: Callable[[Path], object], words: str) -> None:
    make(path)
    before = path.read_bytes() if path.is_file() else None
    with pytest.raises(JournalError, match=words) as problem:
        read_all(path)
    assert str(path) in str(problem.value)
    assert before is None or path.read_bytes() == before


def test_two_brokers_never_share_one(path: Path) -> None:
    first = Journal(path)
    with pytest.raises(JournalError, match="Another broker uses"):
        Journal(path)
    first.close()
    Journal(path).close()


def test_a_full_disk_is_said_and_what_was_there_stays(path: Path) -> None:
    journal = Journal(path)
    journal.keep(1, 1, Text(b"there"))
    journal.commit()
    journal._database.execute("PRAGMA max_page_count = 20")
    journal.keep(1, 2, Text(b"x" * 1_000_000))
    with pytest.raises(JournalError, match="Is there room on the disk"):
        journal.commit()
    journal._database.close()
    assert bodies(path, 1) == {1: b"there"}


@pytest.mark.skipif(os.name == "nt", reason="Windows has other rights")
def test_it_is_for_its_owner_only(path: Path) -> None:
    journal = Journal(path)
    journal.keep(1, 1, Text(b"x"))
    journal.commit()
    modes = {file.name: file.stat().st_mode & 0o077 for file in path.parent.iterdir()}
    assert len(modes) > 1 and set(modes.values()) == {0}
