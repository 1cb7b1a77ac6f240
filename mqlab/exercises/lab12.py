"""Lab 12, patterns that survive: each check runs the answer on real sockets; servers are processes, and are killed."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from typing import Any

import zmq

from mqlab.exercises import Exercise, NotYet, Overtime, limit, returned
from mqlab.exercises import zmq_bench as bench
from mqlab.exercises.lab12_balance import check_balance
from mqlab.exercises.lab12_survive import check_ask, check_desk

SECONDS = 3.0  # for one call of an answer
PLAIN = {"rcvtimeo": -1, "sndtimeo": -1}  # they wait for ever, as sockets do
_numbers = count(1)


# ---- 1 where the queue ends

MARKS, MANY = (4, 6), 50
TRUTH = {"PUSH": (10, 10), "PUB": (50, 10)}


def check_measure(_: Any, prediction: Any, measure: Callable[..., object]) -> str:
    """Hold the prediction against the truth, and the measurement against lines of several lengths."""
    _expect_prediction(prediction)
    for sending, marks, n in (
        (zmq.PUSH, MARKS, MANY),
        (zmq.PUB, MARKS, MANY),
        (zmq.PUSH, (2, 3), 20),
        (zmq.PUB, MARKS, 5),
    ):
        room = sum(marks)
        truth = (n if sending == zmq.PUB else min(n, room), min(n, room))
        _expect_measured(measure, sending, marks, n, truth)
    return "PUSH took 10 and then would have waited. PUB took all 50, and 10 arrived. As you predicted."


def _expect_prediction(prediction: Any) -> None:
    returned(prediction, dict, "prediction")
    for kind, truth in TRUTH.items():
        guess = prediction.get(kind)
        if not isinstance(guess, tuple) or len(guess) != 2:
            raise NotYet(
                f"`prediction` has no pair of numbers for {kind}. How many does `send` accept, how many arrive?"
            )
        if guess == truth:
            continue
        if kind == "PUSH" and guess[0] in MARKS:
            raise NotYet(f"{guess[0]} is the mark of one end. Does a message wait at one end of the line only?")
        if kind == "PUSH" and guess[0] == MANY:
            raise NotYet("PUSH took all 50, you say. Where would they be, if nobody reads? When does PUSH wait?")
        if kind == "PUB" and guess[0] != MANY:
            raise NotYet(
                f"A PUB that accepts {guess[0]} would have to wait, or to refuse, for one slow reader. What about "
                "the others?"
            )
        if kind == "PUB":
            raise NotYet("PUB accepts all 50. How many of them find room, while nobody reads?")
        raise NotYet(
            f"Your prediction for {kind} is {guess}. What is accepted, where does it wait, and does all of it arrive?"
        )


def _expect_measured(
    measure: Callable[..., object], sending: int, marks: tuple[int, int], n: int, truth: tuple[int, int]
) -> None:
    kind = "PUB" if sending == zmq.PUB else "PUSH"
    with bench.stage() as stage:
        sender = stage.socket(sending, **PLAIN)
        receiver = stage.socket(zmq.SUB if sending == zmq.PUB else zmq.PULL, **PLAIN)
        sender.sndhwm, receiver.rcvhwm = marks
        if sending == zmq.PUB:
            receiver.subscribe(b"")
        address = f"inproc://lab-12-{next(_numbers)}"
        sender.bind(address)
        receiver.connect(address)
        try:
            with limit(SECONDS / 2):
                found = measure(sender, receiver, n)
        except Overtime:
            if not receiver.closed and receiver.poll(0):
                raise NotYet(
                    f"The line of a {kind} was full, and your `send` waited for ever. Which flag makes it raise "
                    "`zmq.Again` in its place?"
                ) from None
            raise NotYet(
                f"The {kind}'s line was empty, and your `recv` waited for one more. How do you learn that nothing "
                "is left?"
            ) from None
        except zmq.ZMQError as error:
            if question := bench.refusal(error):
                raise NotYet(question) from None
            raise
        left = 0 if receiver.closed else receiver.poll(0)
    returned(found, tuple, "measure")
    assert isinstance(found, tuple)
    if found == truth:
        return
    line = (
        f"A {kind}, marks {marks[0]} and {marks[1]}, {n} messages, nobody reads: it is {truth}, you measured {found!r}."
    )
    if found == truth[::-1]:
        raise NotYet(f"{line} Which of the two numbers comes first?")
    if found[:1] == (n,) and kind == "PUSH":
        raise NotYet(f"{line} Did you count what was refused as well, or did you read while you were sending?")
    if left:
        raise NotYet(f"{line} More was there to be received. When did you stop?")
    raise NotYet(f"{line} What is accepted, and what arrives?")


# ---- 2 a subscriber that notices


def check_follow(_: Any, follow: Callable[..., object]) -> str:
    """Publish with and without gaps, to one who comes late, and to one who is really too slow."""
    _expect_all_shown(follow)
    for numbers, shown, missed in (
        ([41, 42, 43], 3, 0),  # late, and then complete
        ([8, 9, 10, 11, 15, 16, 17], 4, 3),
        ([1, 2, 4], 2, 1),
        ([5, 7, 8, 12], 1, 1),
    ):
        _expect_noticed(follow, numbers, shown, missed)
    _expect_really_too_slow(follow)
    return "Late comers are welcome, nothing is shown after a gap, and you know how many are missing."


@contextmanager
def _news(mark: int = 1_000) -> Iterator[tuple[Callable[[int], object], zmq.Socket[Any]]]:
    """Give a function that publishes news of a number, and a subscriber that is connected."""
    with bench.stage() as stage:
        publisher, subscriber = stage.socket(zmq.PUB, **PLAIN), stage.socket(zmq.SUB, **PLAIN)
        publisher.sndhwm = subscriber.rcvhwm = mark
        subscriber.subscribe(b"")
        address = f"inproc://lab-12-{next(_numbers)}"
        publisher.bind(address)
        subscriber.connect(address)
        yield lambda n: publisher.send_multipart([b"%d" % n, _text(n).encode()]), subscriber


def _text(n: int) -> str:
    return f"{1000 - n} free places"


def _followed(
    follow: Callable[..., object], subscriber: zmq.Socket[Any], show: Callable[[str], None], quiet: float
) -> object:
    try:
        with limit(SECONDS):
            return follow(subscriber, show, quiet)
    except Overtime:
        raise NotYet(
            f"Nothing had come for much longer than {quiet:g} s, and your function was still running after "
            f"{SECONDS:g} s. "
            "How does it learn of the quiet?"
        ) from None


def _expect_all_shown(follow: Callable[..., object]) -> None:
    shown: list[str] = []
    with _news() as (publish, subscriber):
        later = threading.Timer(0.1, lambda: publish(12))

        def show(text: str) -> None:
            shown.append(text)
            if len(shown) == 2:
                later.start()

        for n in (10, 11):
            publish(n)
        try:
            missed = _followed(follow, subscriber, show, 0.7)
        finally:
            if later.ident:
                later.join()
    wanted = [_text(n) for n in (10, 11, 12)]
    if not shown and missed:
        raise NotYet(
            f"The subscriber came late: number 10 was the first it got. You say that {missed!r} are missing. Is "
            "that its fault?"
        )
    if not shown:
        raise NotYet("News came, and `show` was never called. Who shows them?")
    if any(not isinstance(text, str) for text in shown):
        raise NotYet(f"`show` was given {type(shown[0]).__name__}, not str. How do bytes become a text?")
    if shown == wanted[:1]:
        raise NotYet(
            "10 came, then 11, and you stopped between them. Is the number that comes an `int`, as the one you expect?"
        )
    if shown == wanted[:2]:
        raise NotYet(
            "One more came 0.1 s after the others, and you had left. In which unit does `poll` take its limit?"
        )
    if shown != wanted:
        raise NotYet(
            f"Numbers 10, 11 and 12 came, you showed {len(shown)} texts: {shown}. Is each shown once, in order?"
        )
    if missed != 0 or isinstance(missed, bool):
        raise NotYet(
            f"Nothing was missing, and your function gave back {missed!r}. What does it return when it is quiet?"
        )


def _expect_noticed(follow: Callable[..., object], numbers: list[int], expected: int, missing: int) -> None:
    shown: list[str] = []
    with _news() as (publish, subscriber):
        for n in numbers:
            publish(n)
        missed = _followed(follow, subscriber, shown.append, 0.1)
    listed = ", ".join(map(str, numbers))
    if len(shown) > expected and not missed:
        raise NotYet(
            f"The numbers {listed} came, and you went on as if nothing were missing. Where would a gap be noticed?"
        )
    if len(shown) > expected:
        raise NotYet(
            f"The numbers {listed} came, and you showed news from behind the gap. Do you look before you show?"
        )
    if len(shown) < expected:
        raise NotYet(f"The numbers {listed} came, and you showed only {len(shown)}. What made you stop there?")
    if missed != missing or isinstance(missed, bool):
        raise NotYet(
            f"The numbers {listed} came: {missing} missing at the first gap. You gave back {missed!r}. How do you "
            "count?"
        )


def _expect_really_too_slow(follow: Callable[..., object]) -> None:
    """Publish much more than the line holds while the first news is being shown."""
    shown: list[str] = []
    numbers = count(1)
    with _news(mark=5) as (publish, subscriber):

        def show(text: str) -> None:
            shown.append(text)
            time.sleep(0.005)  # a slow display
            if len(shown) < 40:
                for _ in range(100 if len(shown) == 1 else 1):
                    publish(next(numbers))

        publish(next(numbers))
        missed = _followed(follow, subscriber, show, 0.1)
    if not missed:
        raise NotYet(
            f"While you showed the first news, 100 more came, and the line holds 10. You showed {len(shown)} and "
            "noticed "
            "nothing. What do the numbers say?"
        )


EXERCISES = [
    Exercise(
        1,
        "Measure where the queue ends",
        check_measure,
        (
            "A line of two sockets has two queues, one at each end. Who waits when both are full, and who throws away?",
            "`sender.send(b'…', zmq.NOBLOCK)` raises `zmq.Again` where it would have to wait. "
            "`receiver.poll(100)` tells "
            "whether something has come within 100 ms.",
            "Count in a `for` loop until `zmq.Again`; then `while receiver.poll(100):` receive and count. PUSH "
            "(10, 10); "
            "PUB accepts everything, and keeps what has room.",
        ),
        seconds=9,
    ),
    Exercise(
        2,
        "Find out why it shows old news",
        check_follow,
        (
            "Go through the loop with the numbers 1, 2, 5. What is `expected` when 5 comes, and what happens to "
            "it then?",
            "Only the first number may be anything: the subscriber may come late. Every other one must be the "
            "one before "
            "plus one.",
            "Begin with `expected = None`. `if expected is not None and int(number) != expected: return int(number) - "
            "expected`, before `show`.",
        ),
        seconds=9,
    ),
    Exercise(
        3,
        "Never disturb a busy worker",
        check_balance,
        (
            "Keep a line of idle workers. Who says something on `back` joins it; who is given work leaves it.",
            "From `back` comes `[worker, b'', b'READY']` or `[worker, b'', client, b'', answer]`. From `front` comes "
            "`[client, b'', request]`. Look at `front` only while somebody is idle.",
            "`zmq.select([back, front] if idle else [back], [], [])[0]` says who can be read. To a worker: "
            "`back.send_multipart([idle.pop(0), b'', *letter])`. To a client: `front.send_multipart(letter[2:])`.",
        ),
        seconds=9,
    ),
    Exercise(
        4,
        "Outlive your server",
        check_ask,
        (
            "Three things are wrong: what the socket may do after a send, what the number says to the server, and what "
            "becomes of the sockets.",
            "A REQ that has sent must receive. When nothing comes, close it with `linger=0` and take a new one. The "
            "request stays the same request, so its number is made once.",
            "Make `number` before the loop. In the loop: a new socket, connect, send, "
            "`if socket.poll(patience * 1000): return …`, and `socket.close(linger=0)` in a `finally`.",
        ),
        seconds=9,
    ),
    Exercise(
        5,
        "Turn strangers away",
        check_desk,
        (
            "A socket is told its keys before it binds or connects. One side is the server; it must be told that, too.",
            "The desk needs `curve_secretkey`, `curve_publickey` and `curve_server = True`. A client needs its "
            "own two and "
            "the desk's public key.",
            "Client: `socket.curve_publickey, socket.curve_secretkey = mine` and `socket.curve_serverkey = "
            "desk_public`, "
            "then `connect`. Desk: the same two of its own, `socket.curve_server = True`, then `bind`.",
        ),
        seconds=9,
    ),
]
