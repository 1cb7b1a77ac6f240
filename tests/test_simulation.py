"""The simulation: against a plain loop, message by message, and against the formulas."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mqlab import theory
from mqlab.simulation import interval, simulate, waiting_times


@given(st.lists(st.tuples(st.floats(0, 10), st.floats(0, 10)), min_size=1, max_size=40))
def test_lindleys_recursion_is_the_plain_one(pairs: list[tuple[float, float]]) -> None:
    gaps, work = map(np.array, zip(*pairs, strict=True))
    expected = [0.0]
    for gap, took in zip(gaps[1:], work, strict=False):
        expected.append(max(0.0, expected[-1] + took - gap))
    assert waiting_times(np.cumsum(gaps), work) == pytest.approx(np.array(expected), abs=1e-9)


def test_many_runs_go_at_once() -> None:
    random = np.random.default_rng(1)
    arrived, work = random.exponential(1, (3, 50)).cumsum(axis=1), random.exponential(0.8, (3, 50))
    rows = [waiting_times(arrived[i], work[i]) for i in range(3)]
    assert waiting_times(arrived, work) == pytest.approx(np.array(rows))


@pytest.mark.parametrize("options", [{}, {"consumers": 3}, {"room": 6}, {"consumers": 3, "room": 5}, {"variation": 4}])
def test_a_run_obeys_the_rules(options: dict[str, int]) -> None:
    run = simulate(2.4, 3 / options.get("consumers", 1), 2_000, seed=3, **options)
    assert len(run.arrived) + run.lost == 2_000
    assert (np.diff(run.arrived) >= 0).all() and (np.diff(run.begun) >= 0).all(), "first in, first out"
    assert (run.waiting_time >= 0).all() and (run.processing_time >= 0).all()
    busy = [int(((run.begun <= at) & (at + 1e-9 < run.done)).sum()) for at in run.begun]
    assert max(busy) <= options.get("consumers", 1)
    present = run.present(run.arrived)
    assert present.max() <= options.get("room", 2_000)
    # Nobody waits beside a consumer who has nothing to do.
    waited = run.waiting_time > 1e-9
    assert (present[waited] > options.get("consumers", 1)).all()


CASES = {
    "one": (theory.mm1(0.8, 1), {}),
    "three": (theory.mmc(2.4, 1, 3), {"consumers": 3}),
    "room": (theory.mm1k(0.9, 1, 5), {"room": 5}),
    "full": (theory.mm1k(1.2, 1, 10), {"room": 10}),
    "even": (theory.mg1(0.8, 1, 0), {"variation": 0}),
    "uneven": (theory.mg1(0.8, 1, 4), {"variation": 4}),
}


@pytest.mark.parametrize("name", CASES)
def test_it_agrees_with_the_formula(name: str) -> None:
    formula, options = CASES[name]
    arrivals = formula.throughput / (1 - formula.lost)
    runs = [simulate(arrivals, 1, 100_000, seed=seed, **options) for seed in range(5)]
    means = [run.without_warm_up().waiting_time.mean() for run in runs]
    assert np.mean(means) == pytest.approx(formula.waiting_time, rel=0.08)
    assert np.mean([run.lost for run in runs]) / 100_000 == pytest.approx(formula.lost, abs=0.004)
    assert runs[0].throughput == pytest.approx(formula.throughput, rel=0.02)


def test_the_interval_holds_the_truth_about_19_times_of_20() -> None:
    held = 0
    for seed in range(100):
        mean, half = interval(simulate(0.5, 1, 20_000, seed=seed).waiting_time)
        held += abs(mean - 1) < half
    assert 87 <= held <= 100


def test_the_same_seed_gives_the_same_run() -> None:
    assert (simulate(1, 2, 100, seed=5).done == simulate(1, 2, 100, seed=5).done).all()
    assert (simulate(1, 2, 100, seed=5).done != simulate(1, 2, 100, seed=6).done).any()


def test_what_cannot_be_is_said() -> None:
    with pytest.raises(ValueError, match="Rates are greater than 0"):
        simulate(0, 1)
    for wrong in ({"messages": 0}, {"consumers": 0}, {"variation": -1}, {"consumers": 3, "room": 2}):
        with pytest.raises(ValueError, match="at least one message"):
            simulate(1, 2, **wrong)
    with pytest.raises(ValueError, match="at least 20"):
        interval(np.arange(5.0))
