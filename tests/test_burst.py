"""Campus under a burst: the numbers of notebook 04, nobody lost or counted twice, the same run each time."""

import pytest

from mqlab import burst
from mqlab.exercises.lab04 import true_times

ARRIVALS = [n / 10 for n in range(40)]


def test_without_an_outage_both_designs_are_queues_of_constant_work() -> None:
    chain = burst.run(burst.Chain(), ARRIVALS)
    queue = burst.run(burst.WithQueue(), ARRIVALS)
    assert [v.response_time for v in chain] == pytest.approx(true_times(ARRIVALS, 1.0, 4))
    assert {v.response_time for v in queue} == {0.1}
    stored = [v.stored or 0 for v in queue]
    done = true_times(stored, 0.9, 3)
    assert [v.mailed for v in queue] == pytest.approx([s + d - 0.3 for s, d in zip(stored, done, strict=True)])


def test_an_outage_fails_in_the_chain_and_waits_in_the_queue() -> None:
    chain = burst.run(burst.Chain(), ARRIVALS, dead=(2, 6))
    queue = burst.run(burst.WithQueue(), ARRIVALS, dead=(2, 6))
    assert sum(v.seen == "error" for v in chain) == sum(v.mailed is None for v in chain) == 32
    assert all(v.stored is not None for v in chain), "an account without a mail"
    assert all(v.seen == "welcome" and v.mailed and v.enrolled for v in queue)
    mails = [v.mailed or 0 for v in queue]
    assert not any(2 < t <= 6 for t in mails)


def test_a_backlog_is_gone_after_d_a_over_m_less_a() -> None:
    design = burst.WithQueue(workers=3)
    burst.run(design, [n / 2 for n in range(240)], dead=(5, 15))
    assert max(design.backlog) == pytest.approx(20, abs=2)
    gone = next(n for n in range(150, len(design.backlog)) if design.backlog[n] == 0) / 10
    assert gone - 15 == pytest.approx(20 / (3 / 0.9 - 2), abs=1.5)


def test_a_full_queue_refuses_at_once_and_stores_nothing() -> None:
    design = burst.WithQueue(room=9)
    visits = burst.run(design, ARRIVALS)
    refused = [v for v in visits if v.seen == "come later"]
    assert len(refused) == 17 and max(design.backlog) <= 9
    assert all(v.stored is None and v.response_time == 0 for v in refused)
    assert all(v.mailed for v in visits if v not in refused)


def test_what_never_ends_is_refused() -> None:
    with pytest.raises(ValueError, match="still work"):
        burst.run(burst.WithQueue(), [0.0], dead=(0, 10_000))
    with pytest.raises(ValueError, match="no answer yet"):
        _ = burst.Visit("Amina", 0.0).response_time


def test_a_rush_is_one_trace_in_which_nobody_is_lost() -> None:
    def story() -> burst.Rush:
        rush = burst.Rush()
        rush.burst()
        rush.wait(0.5)
        rush.kill_or_revive()
        rush.burst()
        rush.kill_or_revive()
        rush.wait(20)
        return rush

    rush = story()
    assert rush.trace.events == story().trace.events
    state = rush.trace.state()
    assert (state.published, state.ready, state.unacked) == (32, 0, 0)
    assert (state.ended["acked"], state.ended["dropped"]) == (20, 12)
    assert [event.kind for event in rush.trace].count("requeue") == 3
    assert [event.t for event in rush.trace] == sorted(event.t for event in rush.trace)
