"""The fold: what a trace makes of its events, and what it refuses."""

import json
from collections import deque

import pytest
from conservation import conserved
from hypothesis import given, settings
from hypothesis import strategies as st

from mqlab.saving import state_from_json, state_to_json
from mqlab.state import ENDED, KINDS, State, TraceError, fold
from mqlab.trace import CHECKPOINT, Event, Trace

ids = st.sampled_from(["a", "b", "c", "d", "e"])
names = st.sampled_from(["sign-ups", "mails"])
people = st.sampled_from(["Ana", "Ben"])
events = st.builds(
    Event,
    st.sampled_from([*KINDS, "explode"]),
    t=st.floats(0, 9),
    message=ids | st.just(""),
    queue=names | st.just(""),
    who=people,
    label=st.just(""),
    seen=st.just("wire"),
    exchange=st.sampled_from(["", "topics"]),
    key=st.just("new"),
    queues=st.sampled_from([(), ("mails",), ("sign-ups", "mails")]),
    why=st.sampled_from(["", "put"]),
    connection=people,
    channel=st.just(1),
    facts=st.sampled_from([None, {"type": "quorum"}, {"prefetch": 2, "to": "topics"}]),
    way=st.just(">"),
    frame=st.sampled_from([b"", b"1234"]),
    header=st.just(b""),
    body=st.just(b""),
)


def consistent(state: State) -> bool:
    """Every live message is in exactly one place, and that place is what its state says."""
    ready = [m for q in state.queues.values() for m in q.ready]
    held = [m for c in state.consumers.values() for m in c.holding]
    passing = [m for e in state.exchanges.values() for m in e.holding]
    place = {"published": passing, "ready": ready, "requeued": ready, "unacked": held}
    return sorted(ready + held + passing) == sorted(state.messages) and all(
        m.id in place[m.state] for m in state.messages.values()
    )


@settings(max_examples=300, deadline=None)
@given(st.lists(events, max_size=60))
def test_any_program_of_events_keeps_every_message(program: list[Event]) -> None:
    """What is published = ready + unacked + ended at each moment; a refused event changes nothing."""
    trace = Trace()
    for event in program:
        before = trace.state()
        try:
            trace.append(event)
        except TraceError as refusal:
            assert event.kind in str(refusal)
            assert trace.state() == before
        assert conserved(trace.state())
        assert consistent(trace.state())
    for moment in range(len(trace) + 1):
        state = trace.state(moment)
        assert conserved(state)
        assert state.moment == moment
    assert fold(trace.events) == trace.state()
    again = state_from_json(json.loads(json.dumps(state_to_json(trace.state()))))
    again.frames = trace.state().frames
    assert again == trace.state()


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(1, 9), min_size=1, max_size=9), st.integers(0, 8))
def test_requeued_messages_go_back_to_their_old_place(sizes: list[int], held: int) -> None:
    count = len(sizes)
    trace = Trace()
    for n in range(count):
        trace.tell("publish", message=f"m{n}", queue="q", who="Campus")
    for n in range(min(held, count)):
        trace.tell("deliver", message=f"m{n}", who="Ana")
    for n in reversed(range(min(held, count))):
        trace.tell("requeue", message=f"m{n}")
    state = trace.state()
    assert state.queues["q"].ready == deque(f"m{n}" for n in range(count))
    assert [state.messages[f"m{n}"].state for n in range(count)] == [
        "requeued" if n < held else "ready" for n in range(count)
    ]


def test_every_ending_is_counted_by_its_own_name() -> None:
    trace = Trace()
    for n, kind in enumerate(["ack", "dead-letter", "expire", "drop", "return"]):
        trace.tell("publish", message=str(n), queue="q", who="Campus")
        if kind in ("ack", "dead-letter"):
            trace.tell("deliver", message=str(n), who="Ana")
        trace.tell(kind, message=str(n))
    assert trace.state().ended == dict.fromkeys(ENDED, 1)
    assert not trace.state().messages


@pytest.mark.parametrize(
    ("event", "why"),
    [
        (Event("ack", message="m1"), "it is ready, not unacked"),
        (Event("deliver", message="m9", who="Ana"), "no message 'm9' is ready or unacked"),
        (Event("publish", message="m1", queue="q"), "in a queue already"),
        (Event("publish", message="m2"), "it names no queue"),
        (Event("publish", queue="q"), "it names no message"),
        (Event("deliver", message="m1", who="Ana", queue="other"), "it is in 'q'"),
        (Event("cancel", queue="q", who="Ana"), "'Ana' does not consume from 'q'"),
        (Event("explode"), "no such kind"),
    ],
)
def test_an_event_that_cannot_follow_is_refused_with_its_reason(event: Event, why: str) -> None:
    trace = Trace([Event("publish", message="m1", queue="q", who="Campus")])
    with pytest.raises(TraceError, match=why):
        trace.append(event)
    assert len(trace) == 1


def test_a_consumer_that_holds_messages_cannot_leave() -> None:
    trace = Trace([Event("publish", message="m1", queue="q"), Event("deliver", message="m1", who="Ana")])
    with pytest.raises(TraceError, match="still holds"):
        trace.tell("cancel", queue="q", who="Ana")
    trace.tell("requeue", message="m1")
    trace.tell("cancel", queue="q", who="Ana")
    assert not trace.state().consumers


def test_a_long_trace_gives_the_same_state_at_any_moment_as_a_fold_from_the_start() -> None:
    trace = Trace()
    for n in range(CHECKPOINT):
        trace.tell("publish", message=str(n), queue="q", who="Campus")
        if n % 3 == 0:
            trace.tell("deliver", message=str(n), who="Ana")
    for moment in (0, 1, CHECKPOINT - 1, CHECKPOINT, CHECKPOINT + 1, len(trace)):
        assert trace.state(moment) == fold(trace.events[:moment])
    with pytest.raises(IndexError, match="has the moments 0 to"):
        trace.state(len(trace) + 1)


def test_a_state_handed_out_is_the_caller_s_own() -> None:
    trace = Trace([Event("publish", message="m1", queue="q")])
    trace.state().queues["q"].ready.clear()
    assert trace.state().queues["q"].ready == deque(["m1"])
