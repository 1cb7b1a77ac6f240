"""Lab 04 in virtual time: wrong in the classic ways, right in more than one way."""

import textwrap

import pytest
from answers import answer, assert_correct, assert_not_yet

from mqlab.exercises import Outcome

HEADS = {
    1: "def sign_up(person, services, to_do):",
    2: "def response_times(arrivals, work, processes):",
    3: "def send_mails(to_do, send, wait):",
    5: "def accept(person, store, to_do, workers, work, promise):",
}


def judge(n: int, body: str) -> Outcome:
    """Judge a function of this body, indented by one step less than it will be."""
    return answer("04", n, HEADS[n] + "\n" + textwrap.indent(textwrap.dedent(body).strip("\n"), "    "))


# ---- 1 store, put, answer

STORE = "services.store(person)\n"
PUT = "to_do.put(person)\n"
WELCOME = 'return "welcome"\n'

SIGN_UP_WRONG = {
    "still mails": (STORE + "services.mail(person)\n" + PUT + WELCOME, "the visitor saw an error"),
    "mails and hides the error": (
        STORE + "try:\n    services.mail(person)\nexcept ConnectionError:\n    to_do.put(person)\n" + WELCOME,
        "because the page called `mail`",
    ),
    "still enrols": (STORE + PUT + "services.enrol(person)\n" + WELCOME, "because the page called `enrol`"),
    "stores twice": (STORE + STORE + PUT + WELCOME, "`store a second time`"),
    "only puts": (PUT + WELCOME, "no account is stored"),
    "only stores": (STORE + WELCOME, "the queue is empty"),
    "puts three times": (STORE + PUT * 3 + WELCOME, "How many mails will go out?"),
    "puts the name": (STORE + "to_do.put(person.name)\n" + WELCOME, "all of the sign-up"),
    "puts first": (PUT + STORE + WELCOME, "a worker is quicker than you"),
    "answers nothing": (STORE + PUT, "The page said None"),
    "swallows the error of store": (
        "try:\n    services.store(person)\nexcept ValueError:\n    pass\nelse:\n    to_do.put(person)\n" + WELCOME,
        "Who has caught the error of `store`?",
    ),
    "puts what was not stored": (
        "try:\n    services.store(person)\nfinally:\n    to_do.put(person)\n" + WELCOME,
        "still work was put",
    ),
    "stops": ("services.save(person)\n", "What did you mean there?"),
}
SIGN_UP_RIGHT = {
    "raises again": "try:\n    services.store(person)\nexcept ValueError:\n    raise\n" + PUT + WELCOME,
    "else": "try:\n    services.store(person)\nexcept ValueError:\n    raise\nelse:\n    to_do.put(person)\n" + WELCOME,
    "a name for the answer": STORE + 'answer = "welcome"\n' + PUT + "return answer\n",
}


@pytest.mark.parametrize("name", SIGN_UP_WRONG)
def test_signing_up_goes_wrong(name: str) -> None:
    body, question = SIGN_UP_WRONG[name]
    assert_not_yet(judge(1, body), question)


@pytest.mark.parametrize("name", SIGN_UP_RIGHT)
def test_signing_up_goes_right_in_more_than_one_way(name: str) -> None:
    assert_correct(judge(1, SIGN_UP_RIGHT[name]))


# ---- 2 response times

SERVE = """
free_at, times = [0.0] * processes, []
for at in arrivals:
    n = free_at.index(min(free_at))
    free_at[n] = max(at, free_at[n]) + work
    times.append(free_at[n] - at)
return times
"""

TIMES_WRONG = {
    "nobody waits": ("return [work for at in arrivals if at >= 0]", "When does the third one's work begin?"),
    "when, not how long": (SERVE.replace("times.append(free_at[n] - at)", "times.append(free_at[n])"), "how long did"),
    "waiting without the work": (
        SERVE.replace("times.append(free_at[n] - at)", "times.append(free_at[n] - work - at)"),
        "you say 0 s",
    ),
    "one process": (SERVE.replace("[0.0] * processes", "[0.0]"), "two processes were free"),
    "one fast process": (
        SERVE.replace("[0.0] * processes", "[0.0]").replace("+ work", "+ work / processes"),
        "you say 0.5 s",
    ),
    "work before its person comes": (
        SERVE.replace("max(at, free_at[n])", "free_at[n]").replace("[0.0] * processes", "[arrivals[0]] * processes"),
        "Which process is free first, and when?",
    ),
    "the busiest process": (
        SERVE.replace("n = free_at.index(min(free_at))", "n = len(times) % processes if len(times) < 3 else 0"),
        "Which process is free first, and when?",
    ),
    "a total": ("return sum(arrivals)", "It gave back float"),
    "one time too few": (SERVE.replace("return times", "return times[1:]"), "One for each?"),
    "nothing": (SERVE.replace("return times", ""), "is there a `return`"),
    "words": ("return [str(work) for at in arrivals]", "Is each of them a number of seconds?"),
}
TIMES_RIGHT = {
    "in turn": """
        free_at, times = [0.0] * processes, []
        for n, at in enumerate(arrivals):
            free_at[n % processes] = max(at, free_at[n % processes]) + work
            times.append(free_at[n % processes] - at)
        return times
    """,
    "a heap": """
        import heapq
        free_at, times = [0.0] * processes, []
        for at in arrivals:
            end = max(at, heapq.heappop(free_at)) + work
            heapq.heappush(free_at, end)
            times.append(end - at)
        return times
    """,
    "looks back": """
        ends = []
        for n, at in enumerate(arrivals):
            ends.append(max(at, ends[n - processes] if n >= processes else 0) + work)
        return [end - at for at, end in zip(arrivals, ends)]
    """,
}


@pytest.mark.parametrize("name", TIMES_WRONG)
def test_calculating_goes_wrong(name: str) -> None:
    body, question = TIMES_WRONG[name]
    assert_not_yet(judge(2, body), question)


@pytest.mark.parametrize("name", TIMES_RIGHT)
def test_calculating_goes_right_in_more_than_one_way(name: str) -> None:
    assert_correct(judge(2, TIMES_RIGHT[name]))


# ---- 3 find the bug

TAKE = "while to_do:\n    person = to_do.popleft()\n"
TRY = "    try:\n        send(person)\n    except ConnectionError:\n        "

MAILS_WRONG = {
    "swallows and waits": (TAKE + TRY + "wait(1)\n", "Where was that message while `send` failed?"),
    "tries twice": (TAKE + TRY + "wait(1)\n        try:\n            send(person)\n        except ConnectionError:\n"
                    "            pass\n", "Where was that message while `send` failed?"),
    "lets it through": (TAKE + "    send(person)\n", "your worker with it"),
    "at once, for ever": (TAKE + TRY + "to_do.appendleft(person)\n", "called it 200 times"),
    "to the end, at once": (TAKE + TRY + "to_do.append(person)\n", "called it 200 times"),
    "a tiny pause": (TAKE + TRY + "to_do.appendleft(person)\n        wait(0.4)\n", "between two tries"),
    "a very long pause": (TAKE + TRY + "to_do.appendleft(person)\n        wait(600)\n", "longer than it need be"),
    "gives up": (TAKE + TRY + "to_do.appendleft(person)\n        return\n", "Why has your worker stopped?"),
    "never takes out": ("for person in list(to_do):\n    while True:\n        try:\n            send(person)\n"
                        "            break\n        except ConnectionError:\n            wait(1)\n",
                        "is still in the queue"),
    "sends twice": (
        "while to_do:\n    try:\n        send(to_do[0])\n        send(to_do.popleft())\n    except ConnectionError:\n"
        "        wait(1)\n",
        "got more than one mail",
    ),
    "the whole queue for a person": ("send(to_do)\nto_do.clear()\n", "What lies in the queue?"),
    "empties it": ("to_do.clear()\n", "Who calls `send`?"),
    "takes from an empty queue": (TAKE.replace("to_do:", "True:") + TRY + "to_do.appendleft(person)\n        wait(1)\n",
                                  "What does it ask before"),
    "waits for ever": ("while True:\n    wait(1)\n", "What is it waiting for?"),
}  # fmt: skip
MAILS_RIGHT = {
    "puts it back": TAKE + TRY + "to_do.appendleft(person)\n        wait(1)\n",
    "puts it at the end": TAKE + TRY + "to_do.append(person)\n        wait(1)\n",
    "holds it in hand": TAKE + "    while True:\n        try:\n            send(person)\n            break\n"
    "        except ConnectionError:\n            wait(2)\n",
    "longer and longer": """
        pause = 1
        while to_do:
            try:
                send(to_do[0])
            except ConnectionError:
                wait(pause)
                pause = min(2 * pause, 16)
            else:
                to_do.popleft()
                pause = 1
    """,
}


@pytest.mark.parametrize("name", MAILS_WRONG)
def test_mending_goes_wrong(name: str) -> None:
    body, question = MAILS_WRONG[name]
    assert_not_yet(judge(3, body), question)


@pytest.mark.parametrize("name", MAILS_RIGHT)
def test_mending_goes_right_in_more_than_one_way(name: str) -> None:
    assert_correct(judge(3, MAILS_RIGHT[name]))


# ---- 4 predict, then measure

PREDICT = """
def predict(outage, arrivals, service):
    if service <= arrivals:
        return outage * arrivals, math.inf
    return outage * arrivals, outage * arrivals / (service - arrivals)
"""
MEASURE = """
def measure(second, outage):
    peak = seconds = 0
    for _ in range(outage):
        backlog = second(False)
        peak = max(peak, backlog)
    while backlog:
        backlog = second(True)
        peak = max(peak, backlog)
        seconds += 1
    return peak, seconds
"""

OUTAGE_WRONG = {
    "nobody comes meanwhile": (PREDICT.replace("/ (service - arrivals)", "/ service") + MEASURE, "nobody sign up"),
    "from the death": (
        PREDICT.replace("arrivals / (service", "arrivals / 1 / (service").replace(
            "- arrivals)\n", "- arrivals) + outage\n"
        )
        + MEASURE,
        "from the revival?",
    ),
    "serves while it is dead": (
        PREDICT.replace("return outage * arrivals, outage", "return outage * (service - arrivals), outage") + MEASURE,
        "Who serves during the outage",
    ),
    "falls by the sum": (PREDICT.replace("(service - arrivals)", "(service + arrivals)") + MEASURE, "each second?"),
    "divides by nothing": (PREDICT.replace("service <= arrivals", "False") + MEASURE, "you divide by 0"),
    "gone before it began": (PREDICT.replace("service <= arrivals", "service == arrivals") + MEASURE, "ever fall?"),
    "a list": (PREDICT.replace("return outage * arrivals, outage", "return [outage * arrivals] or outage") + MEASURE,
               "It gave back list"),
    "one number": (PREDICT + MEASURE.replace("return peak, seconds", "return (peak,)"), "Is it a pair"),
    "by heart": (PREDICT + "def measure(second, outage):\n    return predict(outage, 2, 5)\n", "Who calls `second`?"),
    "no outage": (PREDICT + MEASURE.replace("second(False)", "second(True)"), "How many `second(False)`"),
    "the outage counts": (PREDICT + MEASURE.replace("seconds = 0", "seconds = outage"), "Is the outage among them?"),
    "one second too few": (PREDICT + MEASURE.replace("seconds = 0", "seconds = 0; seconds = -1"), "From which moment"),
    "the peak at the revival": (
        PREDICT + MEASURE.replace("        backlog = second(True)\n        peak = max(peak, backlog)",
                                  "        backlog = second(True)"),
        "At which moment is the backlog highest?",
    ),
    "stops too early": (PREDICT + MEASURE.replace("while backlog:", "while backlog > 5:"), "still waited"),
    "never stops": (PREDICT + MEASURE.replace("while backlog:", "while True:"), "When is it over?"),
}  # fmt: skip
OUTAGE_RIGHT = {
    "keeps all": PREDICT
    + """
def measure(second, outage):
    backlogs = [second(False) for _ in range(outage)]
    while backlogs[-1] > 0:
        backlogs.append(second(True))
    return max(backlogs), len(backlogs) - outage
""",
    "with the first gain taken": """
def predict(outage, arrivals, service):
    gain = service - arrivals
    return float(outage * arrivals), float("inf") if gain <= 0 else outage * arrivals / gain
"""
    + MEASURE,
}


@pytest.mark.parametrize("name", OUTAGE_WRONG)
def test_predicting_goes_wrong(name: str) -> None:
    text, question = OUTAGE_WRONG[name]
    assert_not_yet(answer("04", 4, text), question)


@pytest.mark.parametrize("name", OUTAGE_RIGHT)
def test_predicting_goes_right_in_more_than_one_way(name: str) -> None:
    assert_correct(answer("04", 4, OUTAGE_RIGHT[name]))


# ---- 5 the front door

YES = "store(person)\nto_do.put(person)\nreturn True\n"
DELAY = "if (len(to_do) / workers + 1) * work > promise:\n"

DOOR_WRONG = {
    "takes everybody": ("print(len(to_do))\n" + YES, "What did the queue tell you"),
    "stores, then refuses": ("store(person)\n" + DELAY + "    return False\nto_do.put(person)\nreturn True", "account"),
    "puts, then refuses": ("to_do.put(person)\n" + DELAY + "    return False\nstore(person)\nreturn True", "refused"),
    "a number of places": ("if len(to_do) >= 5:\n    return False\n" + YES, "was refused, though"),
    "too many places": ("if len(to_do) >= 100:\n    return False\n" + YES, "What did the queue tell you"),
    "one worker assumed": ("if len(to_do) * work > promise:\n    return False\n" + YES, "with so many workers?"),
    "the work forgotten": (
        "if len(to_do) / workers > promise:\n    return False\n" + YES,
        "What did the queue tell you",
    ),
    "refuses everybody": ("return False", "was refused, though"),
    "forgets to put": (DELAY + "    return False\nstore(person)\nreturn True", "Who will send the mail?"),
    "forgets to store": (DELAY + "    return False\nto_do.put(person)\nreturn True", "no account is stored"),
    "puts twice": (DELAY + "    return False\nto_do.put(person)\n" + YES, "more than once"),
    "says nothing": (DELAY + "    return False\n" + YES.replace("return True\n", ""), "gave back nothing"),
    "never answers": ("while len(to_do) >= 0:\n    pass\n", "What makes it stop?"),
}
DOOR_RIGHT = {
    "whole rounds": "rounds = len(to_do) // workers + 1\nif rounds * work > promise:\n    return False\n" + YES,
    "with what is in hand": "if (len(to_do) / workers + 2) * work > promise:\n    return False\n" + YES,
    "places from the promise": "room = workers * (promise / work - 1)\nif len(to_do) > room:\n    return False\n" + YES,
    "the other way round": (
        "if (len(to_do) / workers + 1) * work <= promise:\n    to_do.put(person)\n    store(person)\n    return True\n"
        "return False"
    ),
}


@pytest.mark.parametrize("name", DOOR_WRONG)
def test_refusing_goes_wrong(name: str) -> None:
    body, question = DOOR_WRONG[name]
    assert_not_yet(judge(5, body), question)


@pytest.mark.parametrize("name", DOOR_RIGHT)
def test_refusing_goes_right_in_more_than_one_way(name: str) -> None:
    assert_correct(judge(5, DOOR_RIGHT[name]))
