"""The trace: times, listeners, threads, and queues that tell theirs."""

import threading

import pytest

from mqlab.queues import FIFO, Priority, Stack
from mqlab.trace import Event, Trace, ticking, watch


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
