"""The bench of the checks: what is seen of an answer's doing on a real broker."""

from typing import Any

import pytest

from mqlab import campus
from mqlab.exercises import NotYet, bench


def test_the_bench_sees_what_an_answer_does_and_nothing_of_before(rabbit: Any) -> None:
    people = campus.sign_ups(3)
    for round in (1, 2):  # the second on the same tap
        with bench.queue(rabbit, "bench", people) as queue:
            with bench.watched(rabbit) as seen:
                bench.lend(rabbit, lambda channel: channel.basic_get(queue), "", seen.url_as("Ada"))
            kinds = [event.kind for event in seen.events if event.queue == queue and event.kind != "frame"]
            assert kinds[:2] == ["deliver", "requeue"], (round, kinds)
            assert [event.who for event in seen.events if event.kind == "deliver"] == ["Ada"]
            assert bench.ready(rabbit, queue) == 3 and bench.consumers(rabbit, queue) == 0
            assert bench.left(rabbit, queue) == people


def test_a_tap_that_has_ended_is_made_anew(rabbit: Any) -> None:
    for _ in range(2):
        with bench.watched(rabbit) as seen:
            bench.lend(rabbit, lambda channel: channel.queue_declare("", exclusive=True), "", seen.url)
        assert any(event.kind == "declare" for event in seen.events)
        bench._taps[rabbit.url].close()


def test_what_the_broker_refuses_and_what_does_not_end_become_questions(rabbit: Any) -> None:
    with pytest.raises(NotYet, match="no queue of that name"):
        bench.lend(rabbit, lambda channel: channel.basic_get(rabbit.name("nobody")), "")
    with pytest.raises(NotYet, match="What does it wait for"):
        bench.lend(rabbit, lambda channel: channel.connection.sleep(10), "What does it wait for?")
