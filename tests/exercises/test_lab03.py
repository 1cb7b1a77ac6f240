"""Lab 03: wrong in the classic ways, right in more than one way."""

import pytest
from answers import answer, with_bodies

from mqlab.exercises import Outcome

LAB = "03"


def judge(n: int, body: str) -> Outcome:
    """Judge the starter's first line with another body."""
    return answer(LAB, n, with_bodies(LAB, n, body))


def predicted(numbers: str, body: str) -> str:
    return f"prediction = {numbers}\n\n\ndef measured(rate):\n" + "\n".join(f"    {line}" for line in body.splitlines())


MEASURES = """
n = len(arrived)
wait = sum(b - a for a, b in zip(arrived, begun)) / n
work = sum(d - b for b, d in zip(begun, done)) / n
return {}
"""
LINDLEY = """
wait = [{first}]
for n in range(1, len(arrived)):
    wait.append({step})
return wait
"""
STEP = "max(0.0, wait[-1] + work[n - 1] - arrived[n] + arrived[n - 1])"
TEST = """
now, times = 0.0, []
for at, takes in zip(planned, work):
    {}
return times
"""
RUN = "run = simulate(rate, 1)\nreturn {}"
GOOD = RUN.format("run.total_time.mean(), run.total_time.mean() * rate")
GROW = """
n = {first}
while theory.waiting_percentile(arrival_rate, service_rate, 0.99, n) > seconds:
    n += 1
return n
"""

WRONG = {
    "whole time for the wait": (
        1,
        "n = len(arrived)\nreturn sum(d - a for a, d in zip(arrived, done)) / n, 1.0, 1.0",
        "Where does the wait end?",
    ),
    "a sum for the mean": (1, MEASURES.format("n * wait, work, n / max(done)"), "is the sum over all people"),
    "work from the arrival": (
        1,
        MEASURES.format("wait, wait + work, n / max(done)"),
        "When does the work begin?",
    ),
    "what it could do": (1, MEASURES.format("wait, work, 1 / work"), "if it never stood idle"),
    "the last to come": (1, MEASURES.format("wait, work, n / done[-1]"), "When is the last one done?"),
    "without the opening": (
        1,
        MEASURES.format("wait, work, n / (max(done) - begun[0] + 1)"),
        "What did you divide by what?",
    ),
    "nothing": (1, "pass", "Is there a `return`?"),
    "two numbers": (1, MEASURES.format("wait, work"), "It gave back 2"),
    "below zero": (2, LINDLEY.format(first="0.0", step=STEP[9:-1]), "less than nothing"),
    "own work": (
        2,
        LINDLEY.format(first="0.0", step=STEP.replace("work[n - 1]", "work[n]")),
        "Whose is it?",
    ),
    "total time": (
        2,
        "free, found = 0.0, []\nfor at, takes in zip(arrived, work):\n    free = max(free, at) + takes\n"
        "    found.append(free - at)\nreturn found",
        "The first person finds an empty desk",
    ),
    "the first one waits": (2, LINDLEY.format(first="work[0]", step=STEP), "The first person finds an empty desk"),
    "no waiting": (2, "return [0.0] * len(arrived)", "begin at the earliest"),
    "only the work": (3, "return list(work)", "From which moment would a student count?"),
    "sent when planned": (3, TEST.format("now = at + takes; times.append(now - at)"), "From which moment"),
    "the end for the time": (
        3,
        TEST.format("now = max(now, at) + takes; times.append(now)"),
        "When does each time begin",
    ),
    "only the wait": (
        3,
        TEST.format("times.append(max(now, at) - at); now = max(now, at) + takes"),
        "When does each time begin",
    ),
    "an eighth more": (4, predicted("(5, 5.6, 4, 4.5)", GOOD), "what is left of the desk's time"),
    "48 for the rate": (4, predicted("(1, 1, 4, 9)", GOOD), "What is ρ"),
    "people an hour": (4, predicted("(5, 10, 240, 540)", GOOD), "in which unit"),
    "not predicted": (4, predicted("None", GOOD), "`prediction` gave back nothing"),
    "words": (4, predicted("'more'", GOOD), "`prediction` should give back 4 numbers"),
    "the wait alone": (
        4,
        predicted("(5, 10, 4, 9)", RUN.format("run.waiting_time.mean(), run.total_time.mean() * rate")),
        "that is the wait alone",
    ),
    "a run of one": (
        4,
        predicted("(5, 10, 4, 9)", "run = simulate(rate, 1, 2, seed=1)\nreturn run.total_time.mean(), rate"),
        "Is the run long enough",
    ),
    "the time twice": (
        4,
        predicted("(5, 10, 4, 9)", RUN.format("run.total_time.mean(), run.total_time.mean()")),
        "Which two numbers",
    ),
    "begins with one": (5, GROW.format(first=1), "that cannot keep up"),
    "rounds down": (5, "return max(1, int(arrival_rate / service_rate))", "cannot keep up"),
    "the mean": (
        5,
        "n = int(arrival_rate / service_rate) + 1\n"
        "while theory.mmc(arrival_rate, service_rate, n).waiting_time > seconds:\n    n += 1\nreturn n",
        "What was promised?",
    ),
    "one too many": (5, GROW.format(first="int(arrival_rate / service_rate) + 2"), "but so are fewer"),
    "just enough to keep up": (5, "return int(arrival_rate / service_rate) + 1", "of a hundred"),
    "for ever": (5, "while True:\n    pass", "still running"),
    "half a worker": (5, "return arrival_rate / service_rate + 1", "should give back an int"),
}
RIGHT = {
    "measures by numpy": (
        1,
        "import numpy as np\na, b, d = map(np.array, (arrived, begun, done))\n"
        "return (b - a).mean(), (d - b).mean(), len(d) / d.max()",
    ),
    "measures in a list": (1, MEASURES.format("[wait, work, n / max(done)]")),
    "Lindley": (2, LINDLEY.format(first="0.0", step=STEP)),
    "by numpy": (
        2,
        "import numpy as np\nfrom mqlab.simulation import waiting_times\n"
        "return waiting_times(np.array(arrived), np.array(work))",
    ),
    "sent, then counted from the plan": (
        3,
        TEST.format("sent = max(now, at); now = sent + takes; times.append((now - sent) + (sent - at))"),
    ),
    "ends first": (
        3,
        "ends = []\nfor at, takes in zip(planned, work):\n    ends.append(max([at, *ends[-1:]]) + takes)\n"
        "return [end - at for end, at in zip(ends, planned)]",
    ),
    "present counted": (
        4,
        predicted(
            "[5.0, 10.0, 4.0, 9.0]",
            "import numpy as np\nrun = simulate(rate, 1, 200_000)\n"
            "return run.total_time.mean(), run.present(np.linspace(0, run.done.max(), 100_000)).mean()",
        ),
    ),
    "without the warm-up": (
        4,
        predicted(
            "(1 / 0.2, 1 / 0.1, 4, 9)", "t = simulate(rate, 1).without_warm_up().total_time.mean()\nreturn t, t * rate"
        ),
    ),
    "from the ceiling": (
        5,
        "from math import ceil\nfrom itertools import count\n"
        "return next(n for n in count(ceil(arrival_rate / service_rate)) if n * service_rate > arrival_rate and "
        "theory.waiting_percentile(arrival_rate, service_rate, 0.99, n) <= seconds)",
    ),
    "from far above": (
        5,
        "n = 300\nwhile n - 1 > arrival_rate / service_rate and "
        "theory.waiting_percentile(arrival_rate, service_rate, 0.99, n - 1) <= seconds:\n    n -= 1\nreturn n",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_goes_wrong_with_its_own_question(name: str) -> None:
    n, text, question = WRONG[name]
    outcome = answer(LAB, n, text) if n == 4 else judge(n, text)
    assert outcome.status == "not yet" and question in outcome.message, outcome


@pytest.mark.parametrize("name", RIGHT)
def test_goes_right_in_more_than_one_way(name: str) -> None:
    n, text = RIGHT[name]
    outcome = answer(LAB, n, text) if n == 4 else judge(n, text)
    assert outcome.status == "correct", outcome
