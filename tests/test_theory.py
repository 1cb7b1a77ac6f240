"""The formulas, against published check values, against each other, and against plain sums over the states."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mqlab.theory import (
    Overloaded,
    erlang_b,
    erlang_c,
    little,
    mg1,
    mm1,
    mm1k,
    mmc,
    total_percentile,
    waiting_percentile,
)

TABLE = [  # consumers, load, Erlang's C, waiting time, waiting; times in units of the mean processing time
    (1, 0.5, 0.500000, 1.000000, 0.500000),
    (2, 1, 0.333333, 0.333333, 0.333333),
    (3, 2, 0.444444, 0.444444, 0.888889),
    (2, 1.8, 0.852632, 4.263158, 7.673684),
    (5, 4, 0.554113, 0.554113, 2.216450),
    (10, 9, 0.668732, 0.668732, 6.018584),
    (20, 18, 0.550769, 0.275385, 4.956921),
    (100, 95, 0.506457, 0.101291, 9.622680),
]


def close(value: float) -> object:
    return pytest.approx(value, abs=6e-7)


@pytest.mark.parametrize(("consumers", "load", "waits", "waiting_time", "waiting"), TABLE)
def test_many_consumers(consumers: int, load: float, waits: float, waiting_time: float, waiting: float) -> None:
    assert erlang_c(consumers, load) == close(waits)
    found = mmc(load, 1, consumers)
    assert (found.waiting_time, found.waiting) == (close(waiting_time), close(waiting))
    assert found.utilization == pytest.approx(load / consumers)
    assert found.present == pytest.approx(found.waiting + load)


@pytest.mark.parametrize(
    ("load", "exponential", "fixed", "varied"), [(0.5, 1, 0.5, 2.5), (0.8, 4, 2, 10), (0.9, 9, 4.5, 22.5)]
)
def test_work_that_varies(load: float, exponential: float, fixed: float, varied: float) -> None:
    assert mg1(load, 1).waiting_time == pytest.approx(exponential)
    assert mg1(load, 1, 0).waiting_time == pytest.approx(fixed)
    assert mg1(load, 1, 4).waiting_time == pytest.approx(varied)


@pytest.mark.parametrize(
    ("load", "total", "waiting"), [(0.5, 9.2103, 7.8240), (0.8, 23.0259, 21.9101), (0.9, 46.0517, 44.9981)]
)
def test_the_99th_percentile(load: float, total: float, waiting: float) -> None:
    assert total_percentile(load, 1, 0.99) == pytest.approx(total, abs=6e-5)
    assert waiting_percentile(load, 1, 0.99) == pytest.approx(waiting, abs=6e-5)


@pytest.mark.parametrize(
    ("load", "room", "lost", "present"),
    [(0.8, 10, 0.023493, 2.966314), (0.9, 5, 0.126023, 2.194782), (1.2, 10, 0.192586, 6.710709)],
)
def test_limited_room(load: float, room: int, lost: float, present: float) -> None:
    found = mm1k(load, 1, room)
    assert (found.lost, found.present) == (close(lost), close(present))
    assert found.throughput == pytest.approx(found.utilization)  # the service rate is 1


def test_limited_room_has_no_limit_of_its_own() -> None:
    assert mm1k(0.5, 1, 2000).total_time == pytest.approx(mm1(0.5, 1).total_time)
    assert mm1k(50, 1, 2000).lost == pytest.approx(1 - 1 / 50)
    assert mm1k(1, 1, 4).lost == pytest.approx(1 / 5)
    assert mm1k(3, 1, 1).waiting_time == pytest.approx(0)


rates = st.floats(0.01, 100)
parts = st.floats(0.01, 0.99)


@given(rates, parts, st.integers(1, 60))
def test_littles_law_holds_everywhere(service: float, part: float, consumers: int) -> None:
    arrivals = service * part * consumers
    for found in (mmc(arrivals, service, consumers), mm1k(arrivals, service, consumers)):
        assert little(throughput=found.throughput, time=found.total_time) == pytest.approx(found.present)
        assert found.throughput * found.waiting_time == pytest.approx(found.waiting, abs=1e-9)
        assert found.total_time == pytest.approx(found.waiting_time + 1 / service)


@given(rates, parts)
def test_the_models_agree_where_they_meet(service: float, part: float) -> None:
    arrivals = service * part
    one = mm1(arrivals, service)
    assert one.total_time == pytest.approx(1 / (service - arrivals))
    assert mg1(arrivals, service).present == pytest.approx(one.present)
    assert erlang_b(1, part) == pytest.approx(part / (1 + part))
    median = waiting_percentile(arrivals, service, 0.5)
    assert (median == 0) == (part <= 0.5)


@given(rates, parts, st.integers(2, 30))
def test_one_queue_waits_less_than_many(service: float, part: float, consumers: int) -> None:
    assert mmc(service * part * consumers, service, consumers).waiting_time < mm1(service * part, service).waiting_time


def test_little_gives_the_third() -> None:
    assert little(throughput=4, time=2.5) == 10
    assert little(throughput=4, present=10) == 2.5
    assert little(time=2.5, present=10) == 4


@pytest.mark.parametrize("given", [{}, {"time": 1}, {"time": 1, "present": 2, "throughput": 2}])
def test_little_wants_two(given: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="exactly two"):
        little(**given)


def test_what_cannot_be_is_said() -> None:
    with pytest.raises(ValueError, match="nothing to divide by"):
        little(time=0, present=3)
    for wrong in (lambda: mm1(1, 1), lambda: mmc(5, 1, 4), lambda: mg1(2, 1, 0), lambda: erlang_c(2, 2)):
        with pytest.raises(Overloaded, match="grows without end"):
            wrong()
    for wrong in (lambda: mm1(0, 1), lambda: mm1(1, -1), lambda: mm1(float("nan"), 1)):
        with pytest.raises(ValueError, match="Rates are greater than 0"):
            wrong()
    with pytest.raises(ValueError, match="whole number from 1 on"):
        mm1k(1, 1, 0)
    with pytest.raises(ValueError, match="whole number from 1 on"):
        mmc(1, 1, 1.5)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="A part is"):
        waiting_percentile(0.5, 1, 99)
    with pytest.raises(ValueError, match="A variation is"):
        mg1(0.5, 1, -1)


def test_in_a_team_far_too_big_nobody_waits() -> None:
    assert waiting_percentile(0.2, 1, 0.99, 300) == 0
