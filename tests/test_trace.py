"""The trace: times, listeners, threads, and queues that tell theirs."""

import threading
from collections import Counter
from pathlib import Path
from queue import Empty, Full, Queue
from typing import Any

import pytest

from mqlab.queues import FIFO, Priority, Stack
from mqlab.trace import Event, Trace, load, ticking, watch, watch_blocking


def test_times_count_from_the_first_event() -> None:
    seconds = iter([100.0, 100.5, 102.0])
    trace = Trace(clock=lambda: next(seconds))
    for name in "abc":
        trace.tell("declare", queue=name)
    assert [event.t for event in trace.events] == [0.0, 0.5, 2.0]
    assert [trace.moment(t) for t in (-1, 0, 0.4, 0.5, 9)] == [0, 1, 1, 2, 3]


def test_listeners_hear_of_each_event_until_they_stop() -> None:
    trace, heard = Trace(), []
    stop = trace.listen(lambda: heard.append(len(trace)))
    trace.append(Event("declare", queue="q"))
    stop()
    stop()
    trace.append(Event("declare", queue="r"))
    assert heard == [1]


def test_many_threads_may_tell_the_same_trace() -> None:
    trace = Trace()

    def produce(name: str) -> None:
        for n in range(200):
            trace.tell("publish", message=f"{name}{n}", queue="q", who=name)

    threads = [threading.Thread(target=produce, args=(name,)) for name in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert trace.state().ready == 800
    times = [event.t for event in trace.events]
    assert times == sorted(times)


@pytest.mark.parametrize(
    ("kind", "out"), [(FIFO, ["Ana", "Ben", "Chi"]), (Stack, ["Chi", "Ben", "Ana"]), (Priority, ["Chi", "Ana", "Ben"])]
)
def test_a_watched_queue_gives_what_the_queue_gives_and_tells_it(kind: type, out: list[str]) -> None:
    desk = watch(kind(), "desk")
    for urgency, name in [(2, "Ana"), (2, "Ben"), (1, "Chi")]:
        desk.put((urgency, name))
    assert len(desk) == 3
    assert [desk.get()[1] for _ in range(3)] == out
    state = desk.trace.state()
    assert [m.label for m in state.consumers["desk", "consumer"].done] == out
    assert state.published == state.ended["acked"] == 3


def test_queues_that_share_a_trace_keep_their_messages_apart() -> None:
    trace = ticking()
    line, pile = watch(FIFO(), "line", trace=trace), watch(Stack(), "pile", trace=trace)
    for name in ("Ana", "Ben"):
        line.put(name)
        pile.put(name)
    assert (line.get(), pile.get()) == ("Ana", "Ben")
    assert str(trace.state()) == "line: Ben ready; pile: Ana ready"


def test_an_empty_queue_s_own_error_comes_through_and_tells_nothing() -> None:
    desk = watch(FIFO(), "desk")
    before = len(desk.trace)
    with pytest.raises(IndexError):
        desk.get()
    assert len(desk.trace) == before


def test_a_queue_that_gives_what_was_never_put_is_told_so() -> None:
    class Liar(FIFO):
        def get(self) -> str:
            return "nobody"

    desk = watch(Liar(), "desk")
    desk.put("Ana")
    with pytest.raises(ValueError, match="nobody has put into it"):
        desk.get()


def busy(events: int, **options: Any) -> Trace:
    """A trace of so many events: three of four messages are taken, a tenth of these go back once."""
    trace = Trace(**options)
    n = 0
    while len(trace) < events:
        n += 1
        trace.append(Event("publish", n / 10, f"m{n}", exchange="topics", key="new", who="Campus", body=b"\xff\x00"))
        trace.append(Event("route", n / 10, f"m{n}", queues=("mails",), seen="inferred"))
        if n % 4:
            trace.append(Event("deliver", n / 10, f"m{n}", who="mailer"))
            trace.append(Event("requeue" if n % 10 == 1 else "ack", n / 10, f"m{n}"))
    return trace


def test_a_long_trace_forgets_its_oldest_events_and_nothing_that_holds_now() -> None:
    whole, short = busy(5_000), busy(5_000, limit=1_000)
    assert len(short) == len(whole)
    assert 1_000 <= len(short.events) <= 1_700
    assert short.first == len(short) - len(short.events) > 0
    for moment in range(short.first, len(short) + 1, 97):
        assert short.state(moment) == whole.state(moment)
    assert short[short.first] == whole[short.first]
    assert short[-1] == whole[-1]
    assert short.moment(400.0) == whole.moment(400.0)
    for wrong in (0, short.first - 1, len(short) + 1):
        with pytest.raises(IndexError, match=f"the moments {short.first} to {len(short)}, not {wrong}"):
            short.state(wrong)
    with pytest.raises(IndexError, match="has the events"):
        short[0]


def test_a_queue_that_only_grows_is_bounded_too() -> None:
    trace = Trace(limit=1_000)
    most = 0
    for n in range(10_000):
        trace.append(Event("publish", n, f"m{n}", "q", "Campus"))
        most = max(most, len(trace.events))
    assert most <= 1_000 + 1_000 // 8 + 2 * (1_000 // 2)
    assert trace.first == len(trace) - len(trace.events) > 8_000
    assert trace.state(trace.first + 1).ready == trace.first + 1


@pytest.mark.parametrize("limit", [100_000, 1_000])
def test_a_saved_trace_is_loaded_as_it_was(tmp_path: Path, limit: int) -> None:
    trace = busy(3_000, limit=limit)
    again = load(trace.save(tmp_path / "run.jsonl"))
    assert (again.first, len(again), again.events) == (trace.first, len(trace), trace.events)
    for moment in range(trace.first, len(trace) + 1, 97):
        assert again.state(moment) == trace.state(moment)
    assert again.save(tmp_path / "again.jsonl").read_bytes() == (tmp_path / "run.jsonl").read_bytes()


HEAD = '{"mqlab":"trace","format":1}\n'


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "line 1 of .* is broken"),
        ("no JSON", "line 1 of .* is broken"),
        ('{"cells": []}', "not a trace of MQ Lab"),
        ('{"mqlab":"trace","format":99}', "not a trace of MQ Lab, or one of a newer version"),
        ('{"mqlab":"trace","format":1,"base":{"moment":3}}', "line 1 of .* is broken"),
        (HEAD + '{"kind":"publish","queue":"q","message":"m"}\n{"kind"', "line 3 of .* is broken"),
        (HEAD + '{"kind":"publish","colour":"red"}', "line 2 of .* is broken"),
        (HEAD + '{"kind":"publish","queue":7}', "line 2 of .* is broken .*queue cannot be 7"),
        (HEAD + '{"kind":"frame","frame":"!"}', "line 2 of .* is broken"),
        (HEAD + '{"kind":"ack","message":"m"}', "Line 2 of .* does not fit: .*no message 'm'"),
        (HEAD + "[]", "line 2 of .* is broken"),
    ],
)
def test_a_broken_file_is_refused_with_the_place(tmp_path: Path, text: str, why: str) -> None:
    file = tmp_path / "run.jsonl"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=why):
        load(file)
    with pytest.raises(ValueError, match="There is no trace to read"):
        load(tmp_path / "nothing.jsonl")


def test_the_next_event_of_a_kind_is_found_in_both_directions() -> None:
    trace = busy(20)
    assert trace.find(["requeue"], 0) == 4
    assert trace.find(["ack", "requeue"], 4) == 8
    assert trace.find(["ack", "requeue"], 8, back=True) == 4
    assert trace.find(["ack"], 4, back=True) is None
    assert trace.find(["expire"], 0) is None


def test_a_message_has_its_story() -> None:
    trace = busy(20)
    assert [(k, event.kind) for k, event in trace.story("m2")] == [
        (5, "publish"),
        (6, "route"),
        (7, "deliver"),
        (8, "ack"),
    ]
    assert trace.story("m2/2") == trace.story("m2")


def test_a_bounded_queue_tells_who_waits_and_keeps_every_item_in_order() -> None:
    """Four producers, four consumers, three places: all comes through in order, each wait is told and ends."""
    watched = watch_blocking(Queue(3), "buffer")
    got: list[int] = []
    numbers, lock, over = iter(range(2_000)), threading.Lock(), threading.Event()

    def produce(name: str) -> None:
        for n in iter(lambda: next(numbers, None), None):
            watched.put(n, by=name)

    def consume(name: str) -> None:
        while not over.is_set():
            try:
                item = watched.get(by=name, timeout=0.1)
            except Empty:
                continue
            with lock:
                got.append(item)
            watched.done(name)

    producers = [threading.Thread(target=produce, args=(f"p{n}",)) for n in range(4)]
    consumers = [threading.Thread(target=consume, args=(f"c{n}",)) for n in range(4)]
    for thread in producers + consumers:
        thread.start()
    for thread in producers:
        thread.join(30)
    while len(got) < 2_000:
        threading.Event().wait(0.01)
    over.set()
    for thread in consumers:
        thread.join(30)
    trace = watched.trace
    assert sorted(got) == list(range(2_000))
    kinds = Counter(event.kind for event in trace.events)
    assert kinds["publish"] == kinds["deliver"] == kinds["ack"] == 2_000
    assert kinds["wait"] == kinds["go-on"] > 0
    left = [event.message for event in trace.events if event.kind == "deliver"]
    assert left == [event.message for event in trace.events if event.kind == "publish"], "first in, first out"
    for state in trace.states(0, len(trace) + 1):
        inside = state.queues.get("buffer")
        assert inside is None or len(inside.ready) <= 3
        assert state.published == state.ready + state.unacked + state.ended["acked"]
    assert not trace.state().queues["buffer"].waits


def test_a_wait_has_a_limit_and_is_told() -> None:
    watched = watch_blocking(Queue(1), "buffer")
    with pytest.raises(Empty):
        watched.get(by="Olu", timeout=0.01)
    watched.put("a", by="Campus")
    with pytest.raises(Full):
        watched.put("b", by="Campus", timeout=0.01)
    with pytest.raises(Full):
        watched.put("b", by="Campus", timeout=0)
    told = [(event.kind, event.who, event.why) for event in watched.trace.events][1:]
    assert told == [
        ("wait", "Olu", "get"),
        ("go-on", "Olu", ""),
        ("publish", "Campus", ""),
        ("wait", "Campus", "put"),
        ("go-on", "Campus", ""),
    ]
    assert repr(watched) == "buffer: 1 of 1 places taken"


def test_a_trace_goes_on_from_a_state_that_it_is_told() -> None:
    whole, told = busy(1_000), busy(300)
    heard: list[int] = []
    told.listen(lambda: heard.append(len(told)))
    told.restart(whole.state())
    n = len(whole)
    assert heard == [n]
    assert (told.first, len(told), told.events) == (n, n, ())
    assert told.state() == whole.state()
    told.append(Event("declare", queue="more"))
    whole.append(Event("declare", queue="more"))
    assert told.state(n + 1) == whole.state(n + 1)
    with pytest.raises(IndexError, match=f"the moments {n} to {n + 1}, not {n - 1}"):
        told.state(n - 1)
