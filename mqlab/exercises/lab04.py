"""Lab 04, call or queue: each check runs the answer in virtual time and looks at what was received, and when."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from typing import Any, ClassVar

from mqlab import campus
from mqlab.exercises import Exercise, NotYet, bench, returned

CLOSE = 0.05  # seconds, or messages, that two measurements may differ
MOST_TRIES = 200  # failed mails, after which a worker is taken for one that only tries again
MOST_SECONDS = 5_000  # of virtual time, after which a measurement is taken for one without end

# ---- 1 store, put, answer


class Services:
    """The services of Campus in virtual time: each call costs its seconds and is noted."""

    SECONDS: ClassVar = {"store": 0.1, "mail": 0.6, "enrol": 0.1, "tell_statistics": 0.2}

    def __init__(self, fails: Exception | None = None, mail_fails: bool = False) -> None:
        self.now = 0.0
        self.calls: list[tuple[str, Any]] = []
        self._fails, self._mail_fails = fails, mail_fails

    def store(self, person: Any) -> None:
        """Store an account; raises ValueError when the address is taken."""
        self._note("store", person)
        if self._fails:
            raise self._fails

    def mail(self, person: Any) -> None:
        """Send the welcome mail; raises ConnectionError when the mail service is dead."""
        self._note("mail", person)
        if self._mail_fails:
            raise ConnectionError("the mail service is dead")

    def enrol(self, person: Any) -> None:
        """Enrol in the first course."""
        self._note("enrol", person)

    def tell_statistics(self, person: Any) -> None:
        """Tell the statistics."""
        self._note("tell_statistics", person)

    def _note(self, name: str, person: Any) -> None:
        self.now += self.SECONDS[name]
        self.calls.append((name, person))


class ToDo:
    """A queue that notes at what time, and after which calls, something is put."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self.items: list[Any] = []
        self.stored_before: list[bool] = []

    def put(self, item: Any) -> None:
        self.items.append(item)
        self.stored_before.append(("store", item) in self._services.calls)

    def __len__(self) -> int:
        return len(self.items)


def check_sign_up(_: Any, sign_up: Callable[..., object]) -> str:
    """Let one person sign up; one whose address is taken; one while the mail service is dead."""
    person, taken = campus.sign_ups(2)
    services = Services(mail_fails=True)
    to_do = ToDo(services)
    try:
        said = sign_up(person, services, to_do)
    except ConnectionError:
        raise NotYet(
            "The mail service was dead, and the visitor saw an error. Who needs the mail to be out before the answer?"
        ) from None
    called = [name for name, _ in services.calls]
    if "store" not in called:
        raise NotYet(f"{person.name} read an answer, but no account is stored. Which step can't wait?")
    if called != ["store"]:
        extra = next((name for name in called if name != "store"), "store a second time")
        raise NotYet(
            f"{person.name} waited {services.now:.1f} s, because the page called `{extra}`. "
            "Which steps can be done later?"
        )
    if not to_do.items:
        raise NotYet(
            "The page has answered, and the queue is empty. How does a worker learn that a mail is to be sent?"
        )
    if len(to_do.items) > 1:
        raise NotYet(f"{len(to_do.items)} messages are in the queue for one person. How many mails will go out?")
    if to_do.items != [person]:
        raise NotYet(f"In the queue is {to_do.items[0]!r}. Does a worker find all of the sign-up in it?")
    if said != "welcome":
        raise NotYet(f'The page said {said!r}. What should it give back, so that the visitor reads "welcome"?')
    if not all(to_do.stored_before):
        raise NotYet(
            "The message was in the queue before the account was stored. What if a worker is quicker than you?"
        )
    services = Services(fails=ValueError("this address is taken"))
    to_do = ToDo(services)
    try:
        sign_up(taken, services, to_do)
        hidden = True
    except ValueError:
        hidden = False
    if to_do.items:
        raise NotYet(f"{taken.name}'s address was taken, no account was stored, and still work was put. For whom?")
    if hidden:
        raise NotYet("The address was taken, and the visitor did not learn of it. Who has caught the error of `store`?")
    return "Stored, put, answered after 0.1 s; and what could not be stored was not put."


# ---- 2 response times


def true_times(arrivals: list[float], work: float, processes: int) -> list[float]:
    """Return the response time of each, when the process that is free first serves them in order."""
    free_at, times = [0.0] * processes, []
    for at in arrivals:
        n = free_at.index(min(free_at))
        free_at[n] = max(at, free_at[n]) + work
        times.append(free_at[n] - at)
    return times


def check_times(_: Any, response_times: Callable[..., object]) -> str:
    """Ask for the response times of single visitors, of bursts, and of a burst after a pause."""
    burst = [n / 10 for n in range(20)]
    pause = [0.0, 0.0, 0.0, 10.0, 10.0, 10.0]

    def asked(arrivals: list[float], work: float, processes: int) -> tuple[list[float], list[float]]:
        given = response_times(list(arrivals), work, processes)
        returned(given, list, "response_times")
        assert isinstance(given, list)
        if len(given) != len(arrivals):
            raise NotYet(f"{len(arrivals)} people came, and you give back {len(given)} times. One for each?")
        if not all(isinstance(each, int | float) and not isinstance(each, bool) for each in given):
            raise NotYet(f"You give back {given[:3]!r}. Is each of them a number of seconds?")
        return [float(each) for each in given], true_times(arrivals, work, processes)

    def same(one: list[float], other: list[float]) -> bool:
        return all(abs(a - b) < CLOSE for a, b in zip(one, other, strict=True))

    given, true = asked([3.0], 1.0, 2)
    if not same(given, true):
        if abs(given[0] - 4.0) < CLOSE:
            raise NotYet("One person came at 3 s and had her answer at 4 s. For how long did *she* wait?")
        raise NotYet(f"One person, alone, one second of work: you say {given[0]:g} s. What did she wait for?")
    given, true = asked([0.0, 0.0], 1.0, 2)
    if not same(given, true):
        raise NotYet("Two came at once, and two processes were free. Why should one of them wait for the other?")
    given, true = asked([0.0, 0.0, 0.0], 1.0, 2)
    if not same(given, true):
        raise NotYet(
            f"Three came at once to two processes with 1 s of work. You say {given}. "
            "When does the third one's work begin?"
        )
    for work, processes, what in ((1.0, 4, "the chain"), (0.1, 1, "the front"), (0.3, 2, "another burst")):
        given, true = asked(burst, work, processes)
        if not same(given, true):
            n = next(n for n in range(len(burst)) if abs(given[n] - true[n]) >= CLOSE)
            raise NotYet(
                f"In a burst ({what}: {work} s of work, processes: {processes}) you say {given[n]:.1f} s for "
                f"person {n + 1}; it was {true[n]:.1f} s. Which process is free first, and when?"
            )
    given, true = asked(pause, 1.0, 1)
    if not same(given, true):
        raise NotYet(
            "After a pause of seven seconds, with nobody there, your times are wrong. "
            "Can work begin before its person comes?"
        )
    first = response_times(burst, 1.0, 4), response_times(burst, 0.1, 1)
    if [list(each) for each in first] != [list(response_times(burst, 1.0, 4)), list(response_times(burst, 0.1, 1))]:  # type: ignore[call-overload]
        raise NotYet("Asked twice for the same burst you give two answers. What is left over from the first time?")
    return "Chain or front, in a burst and after a pause: each response time is right."


# ---- 3 find the bug


class _OnlyTriesAgain(BaseException):
    """Ends a worker that calls a dead mail server again and again. No Exception, so that it is not caught."""


class _NoEnd(BaseException):
    """Ends what lets virtual time pass for ever."""


def check_mails(_: Any, send_mails: Callable[..., object]) -> str:
    """Run the worker while the mail service dies at the third mail for five seconds, and again for a whole minute."""
    for outage in (5.0, 60.0):
        _one_outage(send_mails, outage)
    return "The mail service died twice, and everybody got one mail, soon after it was back."


def _one_outage(send_mails: Callable[..., object], outage: float) -> None:
    people = campus.sign_ups(6)
    to_do = deque(people)
    mailed: list[Any] = []
    tries: list[float] = []
    now = 0.0
    revived = math.inf
    done_at = 0.0

    def send(person: Any) -> None:
        nonlocal now, revived, done_at
        if len(mailed) == 2 and revived == math.inf:
            revived = now + outage
        if now < revived != math.inf:
            now += 0.01  # a dead service refuses at once
            tries.append(now)
            if len(tries) == MOST_TRIES:
                raise _OnlyTriesAgain
            raise ConnectionError("the mail service is dead")
        now += 0.6
        mailed.append(person)
        done_at = now

    def wait(seconds: float) -> None:
        nonlocal now
        if not isinstance(seconds, int | float) or seconds < 0:
            raise NotYet(f"You call `wait({seconds!r})`. How many seconds should that be?")
        now += seconds
        if now > MOST_SECONDS:
            raise _NoEnd

    try:
        send_mails(to_do, send, wait)
    except ConnectionError:
        raise NotYet(
            "The mail service died, and your worker with it. Who starts it again, and what is left in the queue?"
        ) from None
    except _OnlyTriesAgain:
        raise NotYet(
            f"The mail service was dead, and your worker called it {MOST_TRIES} times. What else can it do meanwhile?"
        ) from None
    except _NoEnd:
        raise NotYet(
            "More than an hour has passed, and your worker is still not done. What is it waiting for?"
        ) from None
    except IndexError:
        raise NotYet("Your worker took from an empty queue. What does it ask before it takes the next one?") from None
    if not mailed:
        raise NotYet("Six people waited for a mail, and none went out. Who calls `send`?")
    strangers = [person for person in mailed if person not in people]
    if strangers:
        raise NotYet(f"`send` was given {strangers[0]!r}. What lies in the queue?")
    twice = [person for person in people if mailed.count(person) > 1]
    if twice:
        raise NotYet(f"{bench.names(twice)} got more than one mail. When do you take a person out of the queue?")
    missing = [person for person in people if person not in mailed]
    lost = [person for person in missing if person not in to_do]
    if lost:
        raise NotYet(
            f"The mail service was dead for {outage:g} s. It is back, and {bench.names(lost)} will never get a mail. "
            "Where was that message while `send` failed?"
        )
    if missing:
        raise NotYet(f"{bench.names(missing)} still waits in the queue. Why has your worker stopped?")
    if to_do:
        raise NotYet(
            f"Everybody has a mail, and {bench.names(list(to_do))} is still in the queue. Who will get a second one?"
        )
    if len(tries) > 1.5 * outage + 3:
        raise NotYet(
            f"In {outage:g} s your worker called a dead service {len(tries)} times. It comes up under that burst. "
            "How long could your worker `wait` between two tries?"
        )
    if done_at > revived + 45:
        raise NotYet(
            f"The service was back, and the last mail went out {done_at - revived:.0f} s later. "
            "Is the pause between two tries longer than it need be?"
        )


# ---- 4 predict, then measure


class Campus:
    """Mails in virtual time: each second some people sign up, and the workers send what they can; `second` is lent."""

    def __init__(self, arrivals: tuple[int, ...], service: int) -> None:
        self._arrivals, self._service = arrivals, service
        self.history: list[tuple[bool, int]] = []  # of each second: was the service alive, and the backlog after it

    def second(self, alive: bool) -> int:
        """Let a second pass; return the backlog after it."""
        if len(self.history) >= MOST_SECONDS:
            raise _NoEnd
        backlog = self.history[-1][1] if self.history else 0
        backlog += self._arrivals[len(self.history) % len(self._arrivals)]
        if alive:
            backlog = max(0, backlog - self._service)
        self.history.append((bool(alive), backlog))
        return backlog


def measured(arrivals: tuple[int, ...], service: int, outage: int) -> tuple[int, int]:
    """Return what a right measurement gives: the peak, and the seconds from the revival to an empty queue."""
    site, peak, seconds = Campus(arrivals, service), 0, 0
    for _ in range(outage):
        peak = max(peak, site.second(False))
    backlog = peak
    while backlog:
        backlog, seconds = site.second(True), seconds + 1
        peak = max(peak, backlog)
    return peak, seconds


def check_outage(_: Any, predict: Callable[..., object], measure: Callable[..., object]) -> str:
    """Compare predictions with d·a and d·a / (m − a), and measurements with what happened in the lent seconds."""
    for outage, a, m in ((60, 2, 5), (30, 4, 5), (10, 3, 6)):
        peak, seconds = _pair(predict(outage, a, m), "predict")
        asked = f"{outage} s of outage, {a} a second come, {m} a second can be served"
        if abs(peak - outage * a) > CLOSE:
            raise NotYet(f"{asked}: you predict a peak of {peak:g}. Who serves during the outage, and how many come?")
        if abs(seconds - outage * a / m) < CLOSE:
            raise NotYet(f"{asked}: you predict {seconds:g} s to recover. Does nobody sign up meanwhile?")
        if abs(seconds - outage - outage * a / (m - a)) < CLOSE:
            raise NotYet(f"{asked}: you predict {seconds:g} s to recover. Is that from the death, or from the revival?")
        if abs(seconds - outage * a / (m - a)) > CLOSE:
            raise NotYet(
                f"{asked}: you predict {seconds:g} s to recover. By how much does the backlog fall each second?"
            )
    for a, m in ((5, 5), (6, 5)):
        try:
            _, seconds = _pair(predict(10, a, m), "predict")
        except ZeroDivisionError:
            raise NotYet(
                f"{a} a second come and {m} can be served: you divide by 0. When is that backlog gone?"
            ) from None
        if seconds != math.inf:
            raise NotYet(
                f"{a} a second come, {m} a second can be served, and you predict {seconds:g} s. "
                "Does that backlog ever fall?"
            )
    for arrivals, service, outage in (((2,), 5, 60), ((0, 6, 0), 3, 22), ((1, 0, 2), 2, 45)):
        _measurement(measure, arrivals, service, outage)
    return "Prediction and measurement agree where people come evenly; where they do not, you measured what was."


def _measurement(measure: Callable[..., object], arrivals: tuple[int, ...], service: int, outage: int) -> None:
    site = Campus(arrivals, service)
    try:
        peak, seconds = _pair(measure(site.second, outage), "measure")
    except _NoEnd:
        raise NotYet("More than an hour has passed in your measurement. When is it over?") from None
    dead = [alive for alive, _ in site.history].count(False)
    if not site.history:
        raise NotYet("Your measurement let no second pass. Who calls `second`?")
    if dead != outage:
        raise NotYet(
            f"The outage was to be {outage} s, and the service was dead for {dead}. How many `second(False)` is that?"
        )
    if any(not alive for alive, _ in site.history[outage:]):
        raise NotYet("The service was alive before the outage, or in the middle of it. Which seconds come first?")
    if site.history[-1][1]:
        raise NotYet(f"When you stopped, {site.history[-1][1]} still waited in the queue. What ends the measurement?")
    right = measured(arrivals, service, outage)
    if seconds == len(site.history) != right[1]:
        raise NotYet(f"You measured {seconds:g} s to recover. Is the outage among them?")
    if abs(peak - right[0]) > CLOSE:
        raise NotYet(f"You measured a peak of {peak:g}; it was {right[0]}. At which moment is the backlog highest?")
    if abs(seconds - right[1]) > CLOSE:
        raise NotYet(
            f"You measured {seconds:g} s to recover; it was {right[1]}. From which moment to which do you count?"
        )


def _pair(value: object, name: str) -> tuple[float, float]:
    returned(value, tuple, name)
    assert isinstance(value, tuple)
    if len(value) != 2 or not all(isinstance(each, int | float) for each in value):
        raise NotYet(f"`{name}` gave back {value!r}. Is it a pair of numbers: the peak, and the seconds to recover?")
    return float(value[0]), float(value[1])


# ---- 5 the front door


class Door:
    """A front door in virtual time: people come, workers take what was put and need `work` seconds for each."""

    def __init__(self, workers: int, work: float) -> None:
        self.now = 0.0
        self.work = work
        self.stored: list[Any] = []
        self._waiting: deque[tuple[Any, float]] = deque()
        self._free = [0.0] * workers
        self.delays: dict[Any, float] = {}
        self.puts: list[Any] = []

    def store(self, person: Any) -> None:
        self.stored.append(person)

    def put(self, person: Any) -> None:
        self.puts.append(person)
        self._waiting.append((person, self.now))

    def __len__(self) -> int:
        return len(self._waiting)

    def until(self, now: float) -> None:
        """Let the workers take all that they begin before `now`."""
        while self._waiting:
            n = self._free.index(min(self._free))
            person, put = self._waiting[0]
            begin = max(put, self._free[n])
            if begin >= now:
                break
            self._waiting.popleft()
            self._free[n] = begin + self.work
            self.delays[person] = begin + self.work - put
        self.now = now

    def would_take(self) -> float:
        """Return after how long somebody who is put now would have their mail."""
        free = list(self._free)
        for _ in range(len(self._waiting) + 1):
            n = free.index(min(free))
            free[n] = max(self.now, free[n]) + self.work
            last = free[n]
        return last - self.now


def check_door(_: Any, accept: Callable[..., object]) -> str:
    """Let three bursts come, and look at who was refused, who was stored, and how late the mails were."""
    for people, gap, workers, work, promise in (
        (3, 1.0, 3, 0.9, 5.0),
        (80, 0.1, 3, 0.9, 10.0),
        (120, 0.05, 1, 0.5, 4.0),
        (200, 0.02, 8, 2.0, 12.0),
    ):
        _one_burst(accept, people, gap, workers, work, promise)
    return "In every burst the accepted had their mail in time, the refused knew at once, and no worker stood idle."


def _one_burst(
    accept: Callable[..., object], people: int, gap: float, workers: int, work: float, promise: float
) -> None:
    door = Door(workers, work)
    told: dict[Any, bool] = {}
    hasty = None
    case = f"{people} people, one every {gap:g} s; workers: {workers}; {work:g} s a mail; promised within {promise:g} s"
    for n, person in enumerate(campus.sign_ups(people)):
        door.until(n * gap)
        delay = door.would_take()
        answer = accept(person, door.store, door, workers, work, promise)
        if not isinstance(answer, bool):
            returned(answer, bool, "accept")
        told[person] = bool(answer)
        if not answer and delay < promise / 2 and hasty is None:
            hasty = person, delay
    accepted = [person for person, yes in told.items() if yes]
    refused = [person for person, yes in told.items() if not yes]
    door.until(math.inf)
    for person in refused:
        if person in door.stored:
            raise NotYet(f"{person.name} was refused, and still has an account. What happens when they come back?")
        if person in door.puts:
            raise NotYet(
                f"{person.name} was refused, and still is in the queue. Who decides first: the door, or the queue?"
            )
    for person in accepted:
        if person not in door.stored:
            raise NotYet(f"{person.name} was accepted, but no account is stored. Which two things does a yes need?")
        if person not in door.puts:
            raise NotYet(f"{person.name} was accepted, but is not in the queue. Who will send the mail?")
    if len(door.puts) > len(accepted) or len(door.stored) > len(accepted):
        raise NotYet("Somebody was stored or put more than once. How often is each step done for a person?")
    if hasty:
        raise NotYet(
            f"{case}. {hasty[0].name} was refused, though the mail would have been out after {hasty[1]:.1f} s. "
            "How long does somebody wait behind so many, with so many workers?"
        )
    worst = max((door.delays[person] for person in accepted), default=0.0)
    if worst > promise + work + CLOSE:
        raise NotYet(
            f"{case}. You accepted {len(accepted)}, and the slowest mail took {worst:.1f} s. "
            "What did the queue tell you at that moment?"
        )


EXERCISES = [
    Exercise(
        1,
        "Store, put, answer",
        check_sign_up,
        (
            "Ask of each of the four steps: does the visitor need its result to read the next page?",
            "Only storing must be done at once. The rest is for a worker, who needs to know the whole person.",
            '`services.store(person)`, then `to_do.put(person)`, then `return "welcome"`. No `try`: an error of '
            "`store` is for the visitor.",
        ),
    ),
    Exercise(
        2,
        "Calculate the response times of a burst",
        check_times,
        (
            "For each process remember one number: the time from which on it is free.",
            "Work begins at the later of two times: when the person comes, and when the first process is free.",
            "`n = free_at.index(min(free_at))`, `free_at[n] = max(at, free_at[n]) + work`, and the response time is "
            "`free_at[n] - at`.",
        ),
    ),
    Exercise(
        3,
        "Find out why mails are lost",
        check_mails,
        (
            "Follow one person through the loop while `send` fails. Where is the person after the first line?",
            "Take a person out only when the mail is out. `to_do[0]` looks without taking.",
            "`send(to_do[0])` in the `try`, then `to_do.popleft()` in its `else`. In the `except`: `wait(1)`, and the "
            "loop tries again.",
        ),
    ),
    Exercise(
        4,
        "Predict an outage, then measure it",
        check_outage,
        (
            "During the outage the backlog only grows. Afterwards it grows and falls in the same second.",
            "It falls by service − arrivals each second. When that is not above 0, it never vanishes: `math.inf`. "
            "For the measurement count the calls of `second(True)`.",
            "`peak = outage * arrivals`, `peak / (service - arrivals)`. Measure: `second(False)` in a loop of `outage` "
            "rounds, then `while backlog:` with `second(True)`; keep the `max` of all backlogs.",
        ),
    ),
    Exercise(
        5,
        "Refuse early",
        check_door,
        (
            "Before you store anything: estimate how long this person would wait for the mail.",
            "`len(to_do)` are before them, and `workers` take at the same time. Then comes their own mail.",
            "`delay = (len(to_do) / workers + 1) * work`. If it is more than the promise, `return False`; else store, "
            "put, and `return True`.",
        ),
    ),
]
