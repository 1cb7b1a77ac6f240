"""Lab 02, the bounded buffer: the answers run in threads of the check, and are judged by what came out of them."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from mqlab import campus
from mqlab.exercises import Exercise, NotYet, limit, returned
from mqlab.exercises.guard import Overtime

SECONDS = 3.0  # for one call of an answer
SOON = 1.0  # within which a thread that is woken has gone on
WHILE = 0.25  # so long a thread is watched that should be waiting


def _call(answer: Callable[..., Any], *given: Any, hangs: str) -> Any:
    """Return what the answer gives back; NotYet with `hangs` when it does not come back."""
    try:
        with limit(SECONDS):
            return answer(*given)
    except Overtime:
        raise NotYet(hangs) from None


@contextmanager
def _no_thread_left() -> Iterator[None]:
    """Ask (by NotYet) about threads that were started in this block and still run after it."""
    before = set(threading.enumerate())
    yield
    mine = [thread for thread in threading.enumerate() if thread not in before and not thread.name.startswith("mqlab")]
    end = time.monotonic() + SOON
    for thread in mine:
        thread.join(max(0.0, end - time.monotonic()))
    left = sum(thread.is_alive() for thread in mine)
    if left:
        raise NotYet(
            f"Your function came back, and {left} of its threads still {'runs' if left == 1 else 'run'}. What are they "
            "waiting for, and who tells them that nothing more will come?"
        )


class _Call(threading.Thread):
    """A call in a thread of its own: whether it has come back, with what, or with which error; and its CPU time."""

    def __init__(self, function: Callable[..., Any], *given: Any) -> None:
        super().__init__(name="mqlab check", daemon=True)
        self.function, self.given = function, given
        self.value: Any = None
        self.error: BaseException | None = None
        self.busy = 0.0
        self.start()

    def run(self) -> None:
        began = time.thread_time()
        try:
            self.value = self.function(*self.given)
        except BaseException as error:
            self.error = error
        self.busy = time.thread_time() - began

    def back(self, within: float = SOON) -> bool:
        """Tell whether it comes back within so many seconds; raises its error."""
        self.join(within)
        if self.error is not None:
            raise self.error
        return not self.is_alive()


# ---- 1 gather


def check_gather(_: Any, gather: Callable[..., object]) -> str:
    """Give the answer three sources, two that wait for each other, and none."""
    people = [event.name for event in campus.sign_ups(9)]
    parts = [people[:3], people[3:6], people[6:]]
    hangs = "Your function was still running after 3 s. How does its consumer learn that all sources are done?"
    with _no_thread_left():
        found = _call(gather, [lambda part=part: iter(part) for part in parts], hangs=hangs)
        returned(found, list, "gather")
        assert isinstance(found, list)
        if None in found:
            raise NotYet("There is a None among the people. Is that a person, or a goodbye?")
        if not found:
            raise NotYet("Nine people came from three sources, and your list is empty. Who puts, and who takes?")
        missing = [name for name in people if name not in found]
        if missing:
            raise NotYet(
                f"{', '.join(missing)} came, and is not in your list. Did you wait until each source was done?"
            )
        if len(found) != len(people):
            raise NotYet(f"Nine people came, and your list has {len(found)}. Who is in it twice?")
        for part in parts:
            if [name for name in found if name in part] != part:
                raise NotYet(
                    f"One source brought {', '.join(part)} in this order, your list has another. Who mixed them?"
                )

    met = threading.Barrier(2)

    def meeting(name: str) -> Iterator[str]:
        try:
            met.wait(SOON)
        except threading.BrokenBarrierError:
            return
        yield name

    with _no_thread_left():
        found = _call(gather, [lambda: meeting("Ana"), lambda: meeting("Ben")], hangs=hangs)
    if sorted(found) != ["Ana", "Ben"]:
        raise NotYet("Two sources wait for each other before they bring anybody. Yours never met. Do they run at once?")
    if _call(gather, [], hangs=hangs) != []:
        raise NotYet("Without any source nobody comes. What does your function give back then?")
    return "Three sources at once, nobody lost, each source in its own order, and all threads have gone home."


# ---- 2 a bounded buffer


def check_buffer(_: Any, Buffer: type) -> str:
    """Put and take from threads: who waits, who is woken, with what; and how much processor time a wait takes."""
    buffer = Buffer(2)
    early = _Call(buffer.get)
    early.join(WHILE)
    if isinstance(early.error, IndexError):
        raise NotYet("The buffer was empty, and `get` raised an IndexError. What should a consumer do instead?")
    if early.back(0):
        raise NotYet(f"The buffer was empty, and `get` came back with {early.value!r}. What should it wait for?")
    _Call(buffer.put, "Ana").back()
    if not early.back():
        raise NotYet("A consumer waited, Ana came, and the consumer still waits. Who wakes it?")
    if early.value != "Ana":
        raise NotYet(f"Ana was put, and `get` brought {early.value!r}. What does it give back?")
    if early.busy > WHILE / 5:
        raise NotYet(
            "While it waited, your `get` kept the processor busy: it asked again and again. How can it sleep until "
            "something changes?"
        )

    for name in ("Ben", "Chi"):
        if not _Call(buffer.put, name).back():
            raise NotYet("There are two places and two people. The second one found it full. How do you count?")
    late = _Call(buffer.put, "Dia")
    if late.back(WHILE):
        raise NotYet("Two places, three people, and nobody had to wait. When is your buffer full?")
    first = _Call(buffer.get)
    if not first.back():
        raise NotYet("The buffer is full, and `get` waits. Does somebody sleep there with the lock in hand?")
    if first.value != "Ben":
        raise NotYet(f"Ben came first, and {first.value!r} was taken first. At which end do you take?")
    if not late.back():
        raise NotYet("A producer waited at the full buffer. Somebody was taken, and it still waits. Who wakes it?")
    if late.busy > WHILE / 5:
        raise NotYet("While it waited, your `put` kept the processor busy. How can it sleep until something changes?")
    order = [_Call(buffer.get) for _ in range(2)]
    if not all(call.back() for call in order) or {call.value for call in order} != {"Chi", "Dia"}:
        raise NotYet("Chi and Dia should be in the buffer now. Who is?")

    two = [_Call(buffer.get), _Call(buffer.get)]
    for call in two:
        call.join(WHILE / 2)
    _Call(buffer.put, "Eve").back()
    end = time.monotonic() + SOON
    while time.monotonic() < end and all(call.is_alive() for call in two):
        time.sleep(0.01)
    time.sleep(WHILE / 5)  # for the other one, which should go on waiting
    if any(isinstance(call.error, IndexError) for call in two):
        raise NotYet(
            "Two consumers waited, one person came. Both woke, and the second found nobody. What has to be asked once "
            "more after one has been woken?"
        )
    if sum(call.is_alive() for call in two) != 1:
        raise NotYet("Two consumers waited, one person came, and not just one of them went on. Who was woken, and why?")
    _Call(buffer.put, "Finn").back()
    if not all(call.back() for call in two) or {call.value for call in two} != {"Eve", "Finn"}:
        raise NotYet("Two consumers waited, Eve and Finn came. One of the consumers still waits. Whom did you wake?")
    return "Empty makes the consumer wait, full makes the producer wait, and each is woken when it can go on."


# ---- 3 find the bug


def check_send_all(_: Any, send_all: Callable[..., object]) -> str:
    """Let one worker, then three, then five send twelve mails, each a little slow."""
    people = [event.name for event in campus.sign_ups(12)]
    for workers in (1, 3, 5):
        sent: list[str] = []
        now: list[str] = []  # in the making
        most = [0]

        def send(name: str, sent: list[str] = sent, now: list[str] = now, most: list[int] = most) -> None:
            now.append(name)
            most[0] = max(most[0], len(now))
            time.sleep(0.01)
            now.remove(name)
            sent.append(name)

        word = f"{workers} worker{'' if workers == 1 else 's'}"
        with _no_thread_left():
            try:
                with limit(SECONDS):
                    send_all(people, send, workers)
            except Overtime:
                raise NotYet(
                    f"With {word} your function did not come back within 3 s, and {len(set(sent))} of "
                    f"12 mails were sent. "
                    "Count the goodbyes, and who takes them. Which thread still waits?"
                ) from None
            done = list(sent)
        if None in done:
            raise NotYet("A mail went to None. What does a worker do with a goodbye?")
        missing = [name for name in people if name not in done]
        if missing:
            raise NotYet(
                f"With {word} your function came back, and {len(missing)} of 12 mails were not sent "
                f"by then. Where does "
                "the last goodbye stand, and whom do you wait for?"
            )
        if len(done) != len(people):
            raise NotYet(f"With {word} {len(done)} mails went to 12 people. Who got two?")
        if workers > 1 and most[0] == 1:
            raise NotYet(f"There were {word}, but never more than one mail in the making. Do they work at once?")
    return "Twelve mails by one, three and five workers: each sent once, and every worker went home."


# ---- 4 predict, then measure


def check_ahead(_: Any, prediction: Any, measured: Callable[..., object]) -> str:
    """Compare the three predictions with places + consumers, and the measured numbers too."""
    cases = [(4, 1, 1), (4, 1, 2), (4, 3, 1)]
    try:
        guess = [int(number) for number in prediction]
    except (TypeError, ValueError):
        raise NotYet(f"`prediction` should be three numbers. It is {prediction!r:.60}.") from None
    if len(guess) != 3:
        raise NotYet(f"`prediction` should be three numbers. It has {len(guess)}.")
    if guess == [4, 4, 4]:
        raise NotYet("You predict as many as there are places. And the message that the consumer has in hand?")
    for number, (places, producers, consumers) in zip(guess, cases, strict=True):
        if number != places + consumers:
            raise NotYet(
                f"{places} places, {producers} producing, {consumers} consuming: you predict {number}. Where is each "
                "message that was put, when nothing moves any more?"
            )
    for places, producers, consumers in [*cases, (1, 2, 3)]:
        hangs = "Your measurement was still running after 3 s. Which of its waits has no limit?"
        found = _call(measured, places, producers, consumers, hangs=hangs)
        returned(found, int, "measured")
        if found != places + consumers:
            raise NotYet(
                f"{places} places, {producers} producing, {consumers} consuming: {places + consumers} can be put, you "
                f"measured {found}. Do the consumers take one each and keep it, and do you count what really got in?"
            )
    return "As many as there are places, and one more for each consumer's hands, however many producers there are."


# ---- 5 a consumer that falls


class MailFailed(Exception):
    """What the work of a check raises."""


def check_run_all(_: Any, run_all: Callable[..., object]) -> str:
    """Let work fail once, always, never; watch how far ahead of it the names are asked for."""
    people = [event.name for event in campus.sign_ups(8)]
    hangs = (
        "Your function did not come back within 3 s. The work has failed, nobody takes any more, and "
        "the buffer is full. "
        "Who waits for whom?"
    )
    for failing in ({people[2]}, set(people), set()):
        asked, worked, ahead = [0], [0], [0]

        def names(asked: list[int] = asked, worked: list[int] = worked, ahead: list[int] = ahead) -> Iterator[str]:
            for name in people:
                asked[0] += 1
                ahead[0] = max(ahead[0], asked[0] - worked[0])
                yield name

        threads: set[int] = set()

        def work(name: str, failing: set[str] = failing, worked: list[int] = worked, ids: set[int] = threads) -> None:
            ids.add(threading.get_ident())
            time.sleep(0.005)
            worked[0] += 1
            if name in failing:
                raise MailFailed(f"no mail server for {name}")

        with _no_thread_left():
            try:
                found = _call(run_all, names(), work, 2, hangs=hangs)
            except MailFailed:
                raise NotYet("The work failed for one, and your function failed with it. What of the others?") from None
        returned(found, tuple, "run_all")
        assert isinstance(found, tuple)
        if len(found) != 2:
            raise NotYet("Two lists are asked for: for whom it was done, for whom it failed. What is the rest?")
        done, failed = (list(each) for each in found)
        fine = [name for name in people if name not in failing]
        unfit = [name for name in people if name in failing]
        if None in done + failed:
            raise NotYet("There is a None in your lists. Is a goodbye a person?")
        if done != fine and set(done) >= set(people) and failing:
            raise NotYet("The work failed, and your lists say that it was done. Which line knows that it was?")
        if failed != unfit and done == fine:
            raise NotYet(f"{len(unfit)} failed, and {len(failed)} are in your second list. Who is told of a failure?")
        if done != fine:
            raise NotYet(
                f"The work fails for {', '.join(unfit) or 'nobody'}. It should be done for "
                f"{len(fine)} people, and is for "
                f"{len(done)}. What does your worker do after the first failure?"
            )
        if worked[0] != len(people):
            raise NotYet(f"There are 8 people, and work was called {worked[0]} times. Is each tried once?")
        if threading.get_ident() in threads:
            raise NotYet("The work was done in the thread that puts. Which thread should take?")
        if ahead[0] > 2 + 2:
            raise NotYet(
                f"There are 2 places, but {ahead[0]} names were taken from the source before their work was done. What "
                "makes the producer wait?"
            )
    return "It came through with one failure, with nothing but failures, and with none. Nobody was forgotten."


EXERCISES = [
    Exercise(
        1,
        "Gather what comes from everywhere",
        check_gather,
        (
            "Each source needs a thread that puts its people into one queue. One consumer takes them. How does it know "
            "that it is over?",
            "Let each thread put a `None` when its source is done, and count them: after as many as there are sources, "
            "nothing more can come.",
            "In each thread: `for name in source(): line.put(name)`, then `line.put(None)`. The "
            "consumer takes until it has "
            "seen `len(sources)` times `None`, and keeps all else in a list.",
        ),
        seconds=9,
    ),
    Exercise(
        2,
        "Build the buffer",
        check_buffer,
        (
            "A lock makes look-and-take one step; a condition is a lock with a waiting room. Each "
            "method has three parts: "
            "wait until it can, do it, tell the others.",
            "`self.changed = Condition()`. In each method `with self.changed:`, and in it "
            "`self.changed.wait_for(...)` with "
            "a function that says whether it can go on.",
            "In `put`: `self.changed.wait_for(lambda: len(self.items) < self.size, 10)`, then append, then "
            "`self.changed.notify_all()`. `get` is the same with `lambda: self.items` and `popleft`.",
        ),
        seconds=9,
    ),
    Exercise(
        3,
        "Find out why it never ends",
        check_send_all,
        (
            "With one worker it ends. With three, two of them wait. What for?",
            "A goodbye is a message like any other: the worker that takes it takes it away.",
            "Put one `None` for each worker, after all the names. Then wait for each of them by `join`.",
        ),
        seconds=9,
    ),
    Exercise(
        4,
        "Predict how far ahead a producer can be",
        check_ahead,
        (
            "Draw the buffer when nothing moves any more. Where is each message that was put?",
            "The consumers have taken one each and hold it. Then all places fill. A producer whose "
            "put waits has not put.",
            "`places + consumers`. To measure, let each consumer `get` once and end; let each "
            "producer put with a timeout of "
            "0.3 s, count, and end at `Full`; then join all and return the count.",
        ),
        seconds=9,
    ),
    Exercise(
        5,
        "Survive a worker's failure",
        check_run_all,
        (
            "If the worker ends at the first failure, nobody takes, the buffer fills, and the producer waits for ever. "
            "Where must the error be caught?",
            "Catch it around `work(name)` only, note the name in the second list, and take the next one.",
            "The worker: for each name until `None`: `try: work(name)`, `except Exception: failed.append(name)`, "
            "`else: done.append(name)`. The producer puts all names and a `None`, then joins the worker.",
        ),
        seconds=9,
    ),
]
