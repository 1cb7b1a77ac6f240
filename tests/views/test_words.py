"""Each event as a sentence."""

from lives import LIFE, lived

from mqlab.state import KINDS
from mqlab.trace import Event, Trace
from mqlab.views.words import says, story


def test_every_kind_of_event_has_its_sentence() -> None:
    trace = lived()
    assert {event.kind for event, _ in LIFE} == set(KINDS)
    assert [says(trace, n) for n in range(1, len(trace) + 1)] == [sentence for _, sentence in LIFE]
    assert says(trace, 0) == "Nothing has happened yet."


def test_what_was_folded_away_is_counted() -> None:
    trace = Trace((Event("publish", n, f"m{n}", "q", "Campus") for n in range(2_000)), limit=100)
    assert trace.first > 1_000
    assert says(trace, trace.first) == f"The first {trace.first:,} events are folded together."
    assert says(trace, trace.first + 1) == f"Campus puts m{trace.first} into q."


def test_a_message_has_a_story_its_copies_have_the_beginning_in_common() -> None:
    trace = lived()
    told = story(trace, "m1/2")
    assert [sentence for _, _, sentence, _ in told][:2] == [
        "Campus publishes Ana to news with the key course.new.",
        "news passes Ana on to mails and pushes.",
    ]
    assert told[-1] == (23, 2.2, "Ana has waited too long and expires.", "inferred")
    assert len(story(trace, "m1")) == 6
