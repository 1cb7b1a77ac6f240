"""The tap as a learner has it: its address, its names, what it says when something is wrong."""

import os
import subprocess
import sys
import time
from typing import Any

import pika
import psutil
import pytest

from mqlab import broker
from mqlab.broker import BrokerError
from mqlab.broker.node import in_path
from mqlab.exercises import bench
from mqlab.tap import Tap

LIMIT = 20  # seconds


@pytest.fixture
def rabbit(rabbit: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A broker with a space of this file's own: what other tests leave in theirs would be seen."""
    monkeypatch.setenv("MQLAB_SPACE", f"tap-{os.environ.get('PYTEST_XDIST_WORKER', 'main')}")
    return broker.start()


def test_names_say_who_connects(rabbit: Any) -> None:
    tap = rabbit.watch()
    try:
        urls = (tap.url_as("mailer"), tap.url_as("mailer"), tap.url, tap.url)
        opened = [pika.BlockingConnection(pika.URLParameters(url)) for url in urls]
        assert list(tap.settle().state().connections) == ["mailer", "mailer 2", "client 1", "client 2"]
        assert "4 open connections" in repr(tap)
        opened[0].close()
        opened.append(pika.BlockingConnection(pika.URLParameters(tap.url_as("mailer"))))
        state = tap.settle().state()
        assert list(state.connections) == ["mailer 2", "client 1", "client 2", "mailer"], "the name is free again"
    finally:
        tap.close()


@pytest.fixture(scope="module", autouse=True)
def no_other_tap() -> None:
    """The taps that the labs' checks keep have queues of their own on the broker of this process."""
    for tap in bench._taps.values():
        tap.close()
    bench._taps.clear()


def test_watching_again_begins_anew_and_closed_it_leaves_nothing(rabbit: Any) -> None:
    first = rabbit.watch()
    connection = pika.BlockingConnection(pika.URLParameters(first.url_as("Campus")))
    assert first.settle().state().connections
    second = rabbit.watch()
    with pytest.raises(pika.exceptions.AMQPError):
        for _ in range(100):
            connection.process_data_events(0.1)
    assert len(second.trace) == 0
    assert len(first.trace) > 0, "what it has seen stays"
    with pytest.raises(BrokerError, match="This tap is closed"):
        first.slow(1)
    process = psutil.Process(second._process.pid)
    second.close()
    second.close()
    assert not process.is_running()


def test_what_another_tap_made_for_itself_is_not_shown(rabbit: Any) -> None:
    first = rabbit.watch()
    second = rabbit.watch(shared=False)
    try:
        assert second.settle().state().queues == {} and len(second.trace) == 0
    finally:
        second.close()
        first.close()


def test_no_password_and_no_secret_is_in_a_saved_trace(rabbit: Any, tmp_path: Any) -> None:
    tap = rabbit.watch()
    try:
        with pika.BlockingConnection(pika.URLParameters(tap.url)):
            pass
        text = tap.settle().save(tmp_path / "run.jsonl").read_text(encoding="utf-8")
        assert rabbit._node.password not in text
        assert rabbit._node.password not in repr([event.frame for event in tap.trace.events])
        assert len(text) > 1_000
    finally:
        tap.close()


def test_what_was_there_before_is_asked_for(rabbit: Any) -> None:
    with pika.BlockingConnection(pika.URLParameters(rabbit.url)) as connection, connection.channel() as channel:
        channel.exchange_declare("before", "topic", durable=True)
        channel.queue_declare("before", durable=True, arguments={"x-max-length": 7})
        channel.queue_bind("before", "before", "a.#")
        tap = rabbit.watch()
        try:
            state = tap.settle().state()
            assert state.exchanges["before"].type == "topic"
            assert state.queues["before"].limit == 7
            assert [(b.exchange, b.to, b.key) for b in state.bindings] == [("before", "before", "a.#")]
            assert {event.seen for event in tap.trace.events} == {"inferred"}
            # A message that does not come through the tap is told by the firehose.
            channel.basic_publish("before", "a.b", b"Ana")
            end = time.monotonic() + LIMIT
            while not (state := tap.settle().state()).ready:
                assert time.monotonic() < end
            (message,) = state.messages.values()
            assert (message.label, message.producer, message.seen) == ("Ana", "another program", "firehose")
        finally:
            tap.close()
            channel.queue_delete("before")
            channel.exchange_delete("before")


def test_the_firehose_is_switched_off_again(rabbit: Any) -> None:
    def tracing() -> Any:
        return rabbit._node.api("GET", f"vhosts/{in_path(rabbit.space)}")["tracing"]

    tap = rabbit.watch()
    assert tracing() is True
    tap.close()
    assert tracing() is False


def test_without_the_firehose_routes_are_worked_out(rabbit: Any) -> None:
    tap = rabbit.watch(firehose=False)
    try:
        with pika.BlockingConnection(pika.URLParameters(tap.url)) as connection, connection.channel() as channel:
            channel.queue_declare("plain", durable=True)
            channel.basic_publish("", "plain", b"Ana")
            tap.settle()
            channel.queue_delete("plain")
        assert [event.seen for event in tap.settle().events if event.kind == "route"] == ["inferred"]
        assert tap.problems == []
    finally:
        tap.close()


def test_many_messages_at_once_switch_the_firehose_off_and_lose_nothing(rabbit: Any) -> None:
    tap = rabbit.watch()
    try:
        with pika.BlockingConnection(pika.URLParameters(tap.url)) as connection, connection.channel() as channel:
            channel.queue_declare("many", durable=True)
            for n in range(10_000):
                channel.basic_publish("", "many", b"%d" % n)
            while channel.queue_declare("many", passive=True).method.message_count < 10_000:
                pass
            state = tap.settle(LIMIT).state()
            assert (state.published, state.ready) == (10_000, 10_000)
            channel.queue_delete("many")
        assert tap.settle().state().ended["dropped"] == 10_000
        assert tap.problems == []
        assert {event.seen for event in tap.trace.events if event.kind == "route"} >= {"inferred"}
    finally:
        tap.close()


def test_a_tap_that_is_killed_says_so(rabbit: Any) -> None:
    tap = rabbit.watch()
    psutil.Process(tap._process.pid).kill()
    end = time.monotonic() + LIMIT
    while not tap.problems:
        assert time.monotonic() < end
        time.sleep(0.02)
    assert "The tap has ended. Make a new one" in tap.problems[0]
    with pytest.raises(BrokerError, match="This tap is closed"):
        tap.settle()
    tap.close()


def test_an_encrypted_address_is_refused_with_a_reason() -> None:
    with pytest.raises(BrokerError, match="Use an amqp:// address, not amqps://"):
        Tap("amqps://guest:guest@localhost/", None)


def test_its_process_ends_with_the_notebook(rabbit: Any) -> None:
    """A kernel that dies closes the pipe."""
    program = f"""
import os, sys
from mqlab.tap import Tap
tap = Tap({rabbit.url!r}, None)
print(tap._process.pid, flush=True)
os._exit(1)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, env=os.environ, check=False
    )
    pid = int(done.stdout)
    end = time.monotonic() + LIMIT
    while psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < end
        time.sleep(0.05)
