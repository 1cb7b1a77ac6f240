"""The buffer that runs: nothing lost, never more than its places, no thread left behind."""

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from mqlab.state import fold
from mqlab.views import buffer


@pytest.fixture
def view() -> Iterator[buffer.Buffer]:
    """Two fast producers, three places, one consumer."""
    view = buffer.show(producers=2, consumers=1, places=3, puts=10, takes=10)
    yield view
    view.close()
    assert not threads()


def threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("mqlab ")]


def until(holds: Callable[[], bool], limit: float = 10) -> None:
    end = time.monotonic() + limit
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_it_runs_and_ends(view: buffer.Buffer) -> None:
    assert not threads() and not view.running.runs
    view.button.click()
    assert view.running.runs and view.button.description == "Stop"
    until(lambda: view.running.buffer.trace.state().ended["acked"] >= 5)
    view.button.click()
    assert not threads() and view.button.description == "Start"
    trace = view.running.buffer.trace
    for state in trace.states(trace.first, len(trace) + 1):
        assert state.ready <= 3
        assert state.published == state.ready + state.unacked + state.ended["acked"]
    assert fold(trace.events).published == trace.state().published > 5


def test_producers_wait_when_it_is_full_and_stop_wakes_them(view: buffer.Buffer) -> None:
    view.takes.value = 0.5
    view.start()
    until(lambda: "put" in view.running.buffer.trace.state().queues["buffer"].waits.values())
    view.stop()
    assert not threads()
    assert view.running.buffer.trace.state().queues["buffer"].waits == {}


def test_a_consumer_waits_when_it_is_empty(view: buffer.Buffer) -> None:
    view.puts.value = 0.5
    view.start()
    until(lambda: "get" in view.running.buffer.trace.state().queues["buffer"].waits.values())


def test_other_numbers_begin_anew_and_other_rates_do_not(view: buffer.Buffer) -> None:
    view.start()
    first = view.running
    view.puts.value = 5
    assert view.running is first and first.puts == 5
    view.consumers.value = 3
    assert view.running is not first and view.running.runs and not first.runs
    assert len(threads()) == 5
    assert view.children[0] is view.player
    view.stop()
    view.places.value = 8
    assert not view.running.runs and view.running.buffer.queue.maxsize == 8


def test_a_run_ends_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(buffer, "LIMIT", 0.2)
    view = buffer.show(puts=0.5, takes=0.5)
    view.start()
    until(lambda: not threads())
    assert not view.running.runs
    view.close()


def test_its_text_and_its_still_picture_are_the_same_each_time(view: buffer.Buffer) -> None:
    assert repr(view) == "A bounded buffer: 2 producers, 3 places, 1 consumer. Start sets them going."
    bundles: list[Any] = [buffer.show(producers=2, places=3)._repr_mimebundle_() for _ in range(2)]
    assert bundles[0][0]["image/png"] == bundles[1][0]["image/png"]
    assert "application/vnd.jupyter.widget-view+json" in bundles[0][0]
