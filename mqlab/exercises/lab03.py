"""Lab 03, waiting, processing, throughput: each check calls the answer with times of its own, and with other ones."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from mqlab import theory
from mqlab.exercises import Exercise, NotYet, returned
from mqlab.simulation import simulate

CLOSE = 1e-6
ABOUT = 0.25  # how far a simulated mean may lie beside the formula; of 100,000 people at 90 % it is 6 % as a rule


def _numbers(values: Any, name: str, wanted: int) -> list[float]:
    """Return what an answer gave back as floats; ask (by NotYet) when it is not so many numbers."""
    if values is None:
        raise NotYet(f"`{name}` gave back nothing (None). Is there a `return`?")
    try:
        found = [float(value) for value in values]
    except (TypeError, ValueError):
        raise NotYet(f"`{name}` should give back {wanted} numbers. It gave back {values!r:.80}?") from None
    if len(found) != wanted:
        raise NotYet(f"`{name}` should give back {wanted} numbers. It gave back {len(found)}. Which are they?")
    return found


def _same(found: Sequence[float], wanted: Any) -> bool:
    return bool(np.allclose(found, wanted, rtol=CLOSE, atol=CLOSE))


# ---- 1 three measures


def check_measures(_: Any, measures: Callable[..., object]) -> str:
    """Give the answer a day of one desk, then one of two desks, where the last to come is not the last to be done."""
    one = ([0.0, 1.0, 5.0], [0.0, 2.0, 5.0], [2.0, 4.0, 6.0])
    two = ([0.0, 1.0, 2.0, 3.0], [0.0, 1.0, 3.0, 4.0], [10.0, 3.0, 4.0, 8.0])
    for day, (arrived, begun, done) in (("one desk", one), ("two desks", two)):
        waiting, processing, throughput = _numbers(measures(list(arrived), list(begun), list(done)), "measures", 3)
        waited = np.subtract(begun, arrived)
        worked = np.subtract(done, begun)
        if np.isclose(waiting, np.subtract(done, arrived).mean()):
            raise NotYet("Your waiting time is the whole time from arrival to end. Where does the wait end?")
        if np.isclose(waiting, waited.sum()) and len(arrived) > 1 and not np.isclose(waited.sum(), waited.mean()):
            raise NotYet("Your waiting time is the sum over all people. What is asked for each of them, on average?")
        if not np.isclose(waiting, waited.mean()):
            raise NotYet(
                f"With {day} the mean wait is {waited.mean():g}, yours is {waiting:g}. From which "
                f"moment to which is it?"
            )
        if not np.isclose(processing, worked.mean()):
            raise NotYet(
                f"With {day} the mean work is {worked.mean():g}, yours is {processing:g}. When does the work begin?"
            )
        if np.isclose(throughput, 1 / worked.mean()):
            raise NotYet(
                "Your throughput is what the desk could do if it never stood idle. How many did it "
                "do, and in what time?"
            )
        if day == "two desks" and np.isclose(throughput, len(done) / done[-1]):
            raise NotYet("With two desks the last to come need not be the last to leave. When is the last one done?")
        if not np.isclose(throughput, len(done) / max(done)):
            raise NotYet(
                f"With {day} {len(done)} people were done in {max(done):g} minutes. Your throughput is {throughput:g}. "
                "What did you divide by what?"
            )
    return "Three measures from three lists of times, also where people leave in another order."


# ---- 2 Lindley


def check_waits(_: Any, waits: Callable[..., object]) -> str:
    """Give the answer a crowd, a crowd with a pause, and 2,000 people; compare with the simulation."""
    crowd = ([0.0, 1.0, 2.0, 3.0], [2.0, 2.0, 2.0, 2.0])
    pause = ([0.0, 1.0, 9.0, 9.5], [3.0, 1.0, 1.0, 2.0])
    run = simulate(0.9, 1, 2_000, seed=6)
    for what, (arrived, work), wanted in (
        ("a crowd", crowd, [0.0, 1.0, 2.0, 3.0]),
        ("a crowd, then a pause", pause, [0.0, 2.0, 0.0, 0.5]),
        ("2,000 people", (run.arrived.tolist(), run.processing_time.tolist()), run.waiting_time.tolist()),
    ):
        found = _numbers(waits(list(arrived), list(work)), "waits", len(arrived))
        if _same(found, wanted):
            continue
        if min(found) < 0:
            raise NotYet("Somebody waits less than nothing. What becomes of time in which the desk stood idle?")
        if found[0] != 0:
            raise NotYet("The first person finds an empty desk, and waits in your answer. Why?")
        own = [0.0]
        for n in range(1, len(arrived)):
            own.append(max(0.0, own[-1] + work[n] - (arrived[n] - arrived[n - 1])))
        if _same(found, own):
            raise NotYet("Each person waits for the work of somebody. In your answer it is their own. Whose is it?")
        if _same(found, np.add(wanted, work)):
            raise NotYet("That is the total time. Where does the wait end?")
        if what == "a crowd, then a pause":
            raise NotYet(
                f"People came at 0, 1, 9 and 9.5; the work took 3, 1, 1 and 2. They waited {wanted}, in your answer "
                f"{[round(each, 3) for each in found]}. When is the desk free again?"
            )
        raise NotYet(f"With {what} the waits differ. When can the work of a person begin at the earliest?")
    return "2,000 waits, each the same as in the simulation."


# ---- 3 find the bug


def check_response_times(_: Any, response_times: Callable[..., object]) -> str:
    """Run the mended load test against a service that stands still once, and against an even one."""
    planned, work = [0.0, 1.0, 2.0, 3.0, 10.0], [0.5, 4.0, 0.5, 0.5, 0.5]
    truth = [0.5, 4.0, 3.5, 3.0, 0.5]
    found = _numbers(response_times(list(planned), list(work)), "response_times", 5)
    if _same(found, work):
        raise NotYet(
            "The service stood still for 4 s. Requests were planned for 2 and 3 s, and could not "
            "even be sent. Your test "
            "still says 0.5 s for each. From which moment would a student count?"
        )
    if not _same(found, truth) and found[2] < 1:
        raise NotYet(
            "Two requests came while the service stood still, and in your test they did not notice. Who waits?"
        )
    if not _same(found, truth):
        raise NotYet(
            f"Planned for {planned}, with work of {work}, students see {truth}. Your test says "
            f"{[round(each, 3) for each in found]}. When does each time begin, and when does it end?"
        )
    run = simulate(0.9, 1, 500, seed=8)
    found = _numbers(response_times(run.arrived.tolist(), run.processing_time.tolist()), "response_times", 500)
    if not _same(found, run.total_time.tolist()):
        raise NotYet("With five requests it is right, with 500 it is not. Does each request wait for all before it?")
    return "Now the test counts as a student does: from the moment when they wanted something."


# ---- 4 predict, then measure


def check_prediction(_: Any, prediction: Any, measured: Callable[..., object]) -> str:
    """Compare the four predicted numbers with the formulas, and the measured ones with them at three loads."""
    guess = _numbers(prediction, "prediction", 4)
    now, later = theory.mm1(0.8, 1), theory.mm1(0.9, 1)
    truth = [now.total_time, later.total_time, now.present, later.present]
    if abs(guess[0] - 5) > 0.05:
        raise NotYet(
            f"Today: 48 people an hour, a minute of work for each. You predict {guess[0]:g} minutes. "
            f"What is ρ, and what "
            "does 1 / (1 - ρ) say?"
        )
    if abs(guess[1] - 10) > 0.05:
        raise NotYet(
            f"An eighth more people, and you predict {guess[1]:g} minutes. Look at the hockey stick: "
            f"what is left of the "
            "desk's time today, and what is left then?"
        )
    if not np.allclose(guess, truth, atol=0.05):
        raise NotYet(
            f"The times are right. You predict {guess[2]:g} and {guess[3]:g} people present. What "
            f"does Little's law need, "
            "and in which unit is the throughput?"
        )
    for rho in (0.5, 0.8, 0.9):
        total, present = _numbers(measured(rho), "measured", 2)
        wanted = theory.mm1(rho, 1)
        if abs(total / wanted.total_time - 1) > ABOUT:
            if abs(total / wanted.waiting_time - 1) < ABOUT:
                raise NotYet(
                    f"At {rho:g} people a minute you measured {total:.2f}: that is the wait alone. And the work?"
                )
            raise NotYet(
                f"At {rho:g} people a minute the mean total time is about {wanted.total_time:.1f}, you measured "
                f"{total:.2f}. Is the run long enough, and is it the mean?"
            )
        if abs(present / wanted.present - 1) > ABOUT:
            raise NotYet(
                f"At {rho:g} people a minute about {wanted.present:.1f} are present, you measured {present:.2f}. Which "
                "two numbers does Little's law multiply?"
            )
    return "5 and 10 minutes, 4 and 9 people: predicted, and found again in the simulation."


# ---- 5 a team


def check_team(_: Any, team: Callable[..., object]) -> str:
    """Ask for teams from one to about fifty, among them loads that are whole numbers."""
    for arrival_rate, service_rate, seconds in [
        (0.2, 1, 20),
        (2, 1, 2),
        (3, 1, 0.5),
        (10, 0.5, 2),
        (45, 1, 1),
        (4, 2, 0.01),
    ]:
        try:
            found = team(arrival_rate, service_rate, seconds)
        except theory.Overloaded:
            raise NotYet(
                f"{arrival_rate:g} come in a second and each consumer does {service_rate:g}: your "
                f"function asked about a "
                "team that cannot keep up. How many does it take at least?"
            ) from None
        returned(found, int, "team")
        assert isinstance(found, int)
        wanted = _team(arrival_rate, service_rate, seconds)
        if found == wanted:
            continue
        case = f"{arrival_rate:g} a second, each consumer does {service_rate:g}, a limit of {seconds:g} s: "
        if found * service_rate <= arrival_rate:
            raise NotYet(f"{case}your {found} cannot keep up, and the queue grows without end. How many do at least?")
        slow = theory.waiting_percentile(arrival_rate, service_rate, 0.99, found)
        if found < wanted and theory.mmc(arrival_rate, service_rate, found).waiting_time <= seconds:
            raise NotYet(
                f"{case}with your {found} the *mean* wait is short enough, but one of a hundred waits {slow:.2f} s or "
                "more. What was promised?"
            )
        if found < wanted:
            raise NotYet(f"{case}with your {found} one of a hundred waits {slow:.2f} s or more. Are they enough?")
        raise NotYet(
            f"{case}your {found} are enough, but so are fewer. Do they all take from one queue, and which is the first "
            "number that will do?"
        )
    return "Six teams, from one consumer to a big one: each is the smallest that keeps the promise."


def _team(arrival_rate: float, service_rate: float, seconds: float) -> int:
    consumers = int(arrival_rate / service_rate) + 1
    while theory.waiting_percentile(arrival_rate, service_rate, 0.99, consumers) > seconds:
        consumers += 1
    return consumers


EXERCISES = [
    Exercise(
        1,
        "Read three measures from a log",
        check_measures,
        (
            "Each person has three moments: arrived, begun, done. Which two make the wait, and which two the work?",
            "`zip(arrived, begun)` gives the two moments of each wait. Throughput is a number of "
            "people, divided by the "
            "time from 0 to the last end.",
            "`sum(b - a for a, b in zip(arrived, begun)) / len(arrived)` is the mean wait. The throughput is "
            "`len(done) / max(done)`.",
        ),
    ),
    Exercise(
        2,
        "Compute every wait",
        check_waits,
        (
            "Note when the desk will be free. A person begins when they have come *and* the desk is free.",
            "Keep `free = 0.0`. For each person the work begins at `max(free, at)`, and the wait is that less `at`.",
            "In a loop over `zip(arrived, work)`: `begin = max(free, at)`, append `begin - at`, and then "
            "`free = begin + takes`.",
        ),
    ),
    Exercise(
        3,
        "Find out why the load test is so pleased",
        check_response_times,
        (
            "Let the second request take 4 s, and follow the third one with a pencil. When was it planned, when was it "
            "sent, when was it done?",
            "A student does not know of the test's queue. Their time begins when they press the button.",
            "The times of sending are right, as the test cannot send earlier. But note `now - at`, not `now - sent`.",
        ),
    ),
    Exercise(
        4,
        "Predict what a campaign will cost",
        check_prediction,
        (
            "48 people in 60 minutes, a minute of work each: the desk is busy 0.8 of its time. That is ρ.",
            "The mean total time is 1 / (1 - ρ) minutes. Little's law makes the number present of it: people a minute, "
            "times minutes.",
            "`run = simulate(rate, 1)`, then `run.total_time.mean()`. Present is that times `rate`, or times "
            "`run.throughput`.",
        ),
        seconds=8,
    ),
    Exercise(
        5,
        "Size a team",
        check_team,
        (
            "Try teams, the smallest first, until one keeps the promise. But begin with one that can keep up at all.",
            "`theory.waiting_percentile(arrival_rate, service_rate, 0.99, consumers)` is the wait "
            "that 99 of 100 do not "
            "exceed. A team keeps up when `consumers * service_rate > arrival_rate`.",
            "Begin with `consumers = int(arrival_rate / service_rate) + 1`, and add one `while` the "
            "percentile is above "
            "`seconds`.",
        ),
    ),
]
