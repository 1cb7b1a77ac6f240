"""Lab 06, work queues: each check runs the answer as a worker and looks at what became of the messages."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from functools import wraps
from typing import Any

from pika.adapters.blocking_connection import BlockingChannel, BlockingConnection
from pika.exceptions import ChannelClosedByBroker, ConnectionClosedByBroker

from mqlab import campus
from mqlab.exercises import Exercise, NotYet, Overtime, bench, limit, returned

MOST_TRIES = 100  # of work that always fails, after which a worker is taken for one that only tries again
QUIET = 0.3  # seconds
BEAT = 1.0  # seconds that a connection may be left alone in exercise 4
SOON = 2.0  # seconds in which a worker should have stopped; it is told one

Worker = Callable[[BlockingChannel, str, bench.Work], object]


# ---- what several checks need


class Hands:
    """Who touches a channel: the acks so far, and the methods that another thread than its own has called."""

    def __init__(self, channel: BlockingChannel) -> None:
        self.acks = 0
        self.strangers: list[str] = []
        own = threading.get_ident()
        for name in ("basic_ack", "basic_nack", "basic_reject", "basic_cancel", "stop_consuming", "cancel"):
            setattr(channel, name, self._told(channel, getattr(channel, name), own))

    def _told(self, channel: BlockingChannel, method: Callable[..., Any], own: int) -> Callable[..., Any]:
        @wraps(method)
        def told(*args: Any, **named: Any) -> Any:
            if threading.get_ident() != own:  # done all the same, but safely, so that the check comes to an end
                self.strangers.append(method.__name__)
                channel.connection.add_callback_threadsafe(lambda: method(*args, **named))
                return None
            self.acks += method.__name__ == "basic_ack"
            return method(*args, **named)

        return told

    def expect_own_thread(self) -> None:
        if self.strangers:
            raise NotYet(
                f"`{self.strangers[0]}` was called by another thread than the one that consumes. A pika connection is "
                "for one thread. How does another thread ask it for something?"
            )


def _expect_events(worked: list[Any]) -> None:
    if not worked:
        raise NotYet("Your function came back before any work was done. Who calls `work`?")
    if not all(isinstance(event, campus.SignUp) for event in worked):
        raise NotYet(f"`work` was given {type(worked[0]).__name__}, not a SignUp. What does `campus.from_bytes` do?")


def _expect_ack_after_work(broker: Any, consume: Worker) -> None:
    """Ask (by NotYet) when `consume(channel, queue, work)` loses, or does twice, what failing work leaves."""
    people = campus.sign_ups(4)
    done: list[campus.Event] = []
    with bench.queue(broker, "check-fails", people) as queue:
        stuck = "The printer failed at the second order, and your function still runs after 3 s. What does it wait for?"
        with suppress(bench.WorkFailed):
            bench.lend(broker, lambda channel: consume(channel, queue, bench.fails_once_at(2, done)), stuck)
        left = bench.left(broker, queue)
    lost = [event for event in people if event not in done and event not in left]
    if lost:
        raise NotYet(
            f"The printer failed at {people[1].name}, and now {bench.names(lost)} is gone. Who told RabbitMQ that this "
            "was done: an ack before the work, or `auto_ack`?"
        )
    twice = [event for event in done if event in left]
    if twice:
        raise NotYet(
            f"The printer failed at {people[1].name}, and {bench.names(twice)}, whose certificate was done, is in the "
            "queue again. When do you acknowledge each one?"
        )


# ---- 1 a fair worker


def check_fair(broker: Any, fair_worker: Callable[..., object]) -> str:
    """Let the answer work on four, and count during each work how many are left for others."""
    people = campus.sign_ups(4)
    worked: list[Any] = []
    others: list[int] = []

    def work(event: campus.Event) -> None:
        worked.append(event)
        others.append(bench.ready(broker, queue))

    def run(channel: BlockingChannel) -> int:
        fair_worker(channel, queue, work, QUIET)
        return bench.consumers(broker, queue)

    with bench.queue(broker, "check-fair", people) as queue:
        consumers = bench.lend(
            broker, run, "All orders were done, and your worker still ran after 3 s. How does it notice the quiet?"
        )
        left = bench.left(broker, queue)
    _expect_events(worked)
    if left == people and len(worked) < len(people):
        raise NotYet(
            f"{bench.names(worked)} was done, and then nothing more came, though others waited. You may hold only so "
            "many: what does RabbitMQ have to hear, and on which channel, before it sends the next?"
        )
    if len(worked) > len(people):
        raise NotYet(f"Four orders waited, and `work` was called {len(worked)} times. What becomes of a done one?")
    if len(worked) < len(people):
        raise NotYet(f"Four orders waited, and you worked on {bench.names(worked)} only. Why did your worker stop?")
    if left:
        raise NotYet(f"All was done, but {bench.names(left)} is in the queue again. Which ack is missing?")
    _expect_ack_after_work(broker, lambda channel, queue, work: fair_worker(channel, queue, work, QUIET))
    if others[0] == 0:
        raise NotYet(
            "While you worked on the first of four, nothing was left in the queue for other workers: you held all. "
            "Which limit does RabbitMQ know of, and did you set it before you began to consume?"
        )
    if others != [3, 2, 1, 0]:
        raise NotYet(
            f"While you worked on the first of four, {others[0]} of the other three were left for other workers. "
            "How many do you hold besides the one you work on?"
        )
    if consumers:
        raise NotYet("All is quiet, but your consumer is still there. Who cancels it?")
    return "Four done, one at a time, and what you did not hold was there for others."


# ---- 2 the worker that falls asleep


def check_once(broker: Any, print_once: Callable[..., object]) -> str:
    """Give the answer orders that came twice; then work that fails, and a second start."""
    people = campus.sign_ups(4)
    amina, bjorn, chidi, diego = people
    orders = [amina, amina, bjorn, chidi, bjorn, diego, diego]
    worked: list[Any] = []
    endless = (
        "Your worker was still running after 3 s, though everybody had a certificate. Where does an order go that it "
        "skips, and who gets it next?"
    )
    with bench.queue(broker, "check-once", orders) as queue:
        bench.lend(broker, lambda channel: print_once(channel, queue, set(), worked.append), endless)
        left = bench.left(broker, queue)
    _expect_events(worked)
    missing = [event for event in people if event not in worked]
    if missing and left:
        raise NotYet(
            f"{bench.names(missing)} still waits, and your worker has left: for half a second nothing had come. It "
            "may hold two orders. Which two did it still hold?"
        )
    if missing:
        raise NotYet(
            f"{bench.names(missing)} got no certificate, and the order is gone. Whose order did you throw away?"
        )
    if len(worked) > len(people):
        raise NotYet("Somebody got two certificates. How does your worker know who has one?")
    if left:
        raise NotYet(
            f"Everybody has a certificate, but an order of {bench.names(left)} is in the queue again, for the next "
            "worker to find. Who tells RabbitMQ that there is nothing to do for it?"
        )
    printed: set[int] = set()
    done: list[campus.Event] = []
    fails = bench.fails_once_at(3, done)
    with bench.queue(broker, "check-once", orders) as queue:
        with suppress(bench.WorkFailed):
            bench.lend(broker, lambda channel: print_once(channel, queue, printed, fails), endless)
        bench.lend(broker, lambda channel: print_once(channel, queue, printed, fails), endless)
    lost = [event for event in people if event not in done]
    if lost:
        raise NotYet(
            f"The printer failed at {chidi.name}. After the repair {bench.names(lost)} never got a certificate. At "
            "which moment is an order done, for RabbitMQ and for `printed`?"
        )
    if len(done) > len(people):
        raise NotYet("After a failure somebody got two certificates. When do you acknowledge, and when do you note it?")
    return "Everybody has one certificate, nothing is left in the queue, and nobody was lost when the printer failed."


# ---- 3 who holds what


def check_shares(broker: Any, prediction: object, measure: Callable[..., object]) -> str:
    """Let the answer measure with three limits, compare with what is on the broker, then look at the prediction."""
    returned(prediction, dict, "prediction")
    truth = {0: (5, 5), 1: (1, 9), 4: (4, 6)}
    for prefetch, expected in truth.items():
        _expect_measured(broker, measure, prefetch, expected)
    assert isinstance(prediction, dict)
    for prefetch, expected in truth.items():
        guess = prediction.get(prefetch)
        if guess != expected:
            raise NotYet(
                f"Your measurement is right: with prefetch {prefetch} it gives {expected}. Your prediction says "
                f"{guess}. To whom goes each of the ten, while Ada acknowledges nothing?"
            )
    return "(5, 5) without a limit, (1, 9) with 1, (4, 6) with 4: as you said."


def _expect_measured(broker: Any, measure: Callable[..., object], prefetch: int, expected: tuple[int, int]) -> None:
    opened: list[BlockingConnection] = []
    there: list[int] = []

    def connect() -> BlockingConnection:
        opened.append(bench.connect(broker))
        return opened[-1]

    def send() -> None:
        there.append(bench.consumers(broker, queue))
        bench.publish(broker, queue, campus.sign_ups(10))

    with bench.queue(broker, "check-shares", []) as queue:
        try:
            with limit(bench.SECONDS):
                numbers = measure(connect, queue, prefetch, send)
        except Overtime:
            raise NotYet("Your measurement was still running after 3 s. How does it notice that Bo is idle?") from None
        except (ChannelClosedByBroker, ConnectionClosedByBroker) as error:
            raise NotYet(bench.refusal(error)) from None
        finally:
            hung_up = not any(connection.is_open for connection in opened)
            for connection in opened:
                bench.close(connection)
        left = len(bench.left(broker, queue))
    returned(numbers, tuple, "measure")
    if len(there) != 1:
        raise NotYet(f"`send()` was called {len(there)} times. It publishes the ten orders: when do you need them?")
    if there[0] != 2:
        raise NotYet(
            f"When the ten orders came, RabbitMQ knew of {bench.some(there[0], 'consumer')} at this queue. Do Ada and "
            "Bo both consume before you call `send()`?"
        )
    if not hung_up:
        raise NotYet("Your measurement is over, and a connection is still open. Who hangs up?")
    if left == 10:
        raise NotYet("After your measurement all ten orders are in the queue again. Who acknowledges what Bo has done?")
    if left == 0:
        raise NotYet(
            "After your measurement the queue is empty. Ada is not done before the evening: who acked for her?"
        )
    if left != expected[0]:
        raise NotYet(
            f"With prefetch {prefetch}, {left} came back when the two hung up; Ada should have held {expected[0]}. Did "
            "you set the limit on the channel of each, before it began to consume, and wait until Bo was idle?"
        )
    if numbers != expected:
        raise NotYet(
            f"With prefetch {prefetch} the check saw {expected}, your function gave back {numbers!r}. How many did Bo "
            "acknowledge? Who holds the others?"
        )


# ---- 4 long work


def check_long(broker: Any, run_worker: Callable[..., object]) -> str:
    """Let the answer work on three of four, and ask during the work whether the connection is served."""
    people = campus.sign_ups(4)
    worked: list[Any] = []
    silent: list[Any] = []
    hands: list[Hands] = []
    line: list[BlockingChannel] = []
    early = at_once = busy = 0

    def work(event: campus.Event) -> None:
        nonlocal early, at_once, busy
        busy += 1
        at_once = max(at_once, busy)
        if not silent:
            beat = threading.Event()
            line[0].connection._impl.ioloop.add_callback_threadsafe(beat.set)  # where heartbeats come from
            if not beat.wait(BEAT):
                silent.append(event)
        early += hands[0].acks > len(worked)
        worked.append(event)
        busy -= 1

    def run(channel: BlockingChannel) -> None:
        line.append(channel)
        hands.append(Hands(channel))
        run_worker(channel, queue, 3, work)

    endless = "Three orders were to be done, and your worker still ran after 3 s. What makes it stop after the third?"
    with bench.queue(broker, "check-long", people) as queue:
        try:
            bench.lend(broker, run, endless)
        except NotYet:
            if not silent and hands:
                hands[0].expect_own_thread()
            raise
        left = bench.left(broker, queue)
    _expect_events(worked)
    if silent:
        raise NotYet(
            f"While `work` ran for {silent[0].name}, nothing else could happen on the connection for {BEAT:g} s: no "
            "heartbeat could leave. Who waits until `work` is done?"
        )
    hands[0].expect_own_thread()
    if early:
        raise NotYet("RabbitMQ heard of the ack while the work was still going on. Who knows when the work is done?")
    if at_once > 1:
        raise NotYet(
            f"`work` ran {at_once} times at once. The printer takes one order at a time: which limit keeps RabbitMQ "
            "from sending the next one?"
        )
    if worked != people[:3]:
        raise NotYet(f"{bench.names(people[:3])} were to be done, and you worked on {bench.names(worked)}. Who counts?")
    if left != people[3:]:
        raise NotYet(
            f"Three are done, so one should be left in the queue. There is: {bench.names(left)}. Is each order "
            "acknowledged once, after its work, and none of the others?"
        )
    return "Three long jobs, one at a time, and the connection was served all the while."


# ---- 5 stop cleanly


def check_stop(broker: Any, serve: Callable[..., object]) -> str:
    """Say stop during the second of six; say it to an idle worker; let the work fail."""
    people = campus.sign_ups(6)
    _expect_stop_at_work(broker, serve, people)
    _expect_stop_when_idle(broker, serve, people)
    _expect_ack_after_work(broker, lambda channel, queue, work: serve(channel, queue, work, threading.Event()))
    return "It finished what it had in hand, gave back the rest, and an idle worker heard the word as well."


def _expect_stop_at_work(broker: Any, serve: Callable[..., object], people: list[campus.SignUp]) -> None:
    stop = threading.Event()
    worked: list[Any] = []
    hands: list[Hands] = []

    def work(event: campus.Event) -> None:
        worked.append(event)
        if len(worked) == 2:
            stop.set()
            time.sleep(0.1)  # the rest of the work

    def run(channel: BlockingChannel) -> tuple[object, int]:
        hands.append(Hands(channel))
        return serve(channel, queue, work, stop), bench.consumers(broker, queue)

    endless = "Your worker was told to stop, and still ran after 3 s. Where does it look at `stop`?"
    with bench.queue(broker, "check-stop", people) as queue:
        count, consumers = bench.lend(broker, run, endless)
        left = bench.left(broker, queue)
    _expect_events(worked)
    hands[0].expect_own_thread()
    if len(worked) > 2:
        raise NotYet(
            f"Stop came during the second order, and your worker did {len(worked)} of 6. Where does it look at `stop`?"
        )
    if len(worked) < 2:
        raise NotYet("Your worker left after one order, and nobody had said stop. Why?")
    again = [event for event in worked if event in left]
    if again:
        raise NotYet(f"{bench.names(again)} was done and is in the queue again. Do you acknowledge before you leave?")
    lost = [event for event in people[2:] if event not in left]
    if lost:
        raise NotYet(
            f"{bench.names(lost)} had not been begun when stop came, and is gone. What did RabbitMQ hear about it?"
        )
    if consumers:
        raise NotYet("Your worker has stopped, but its consumer is still there, and RabbitMQ sends to it. Who cancels?")
    if count != 2:
        raise NotYet(f"Two were done, and your function gave back {count!r}. What does it return?")


def _expect_stop_when_idle(broker: Any, serve: Callable[..., object], people: list[campus.SignUp]) -> None:
    stop, go_on = threading.Event(), threading.Event()
    worked: list[Any] = []
    said: list[float] = []

    def work(event: campus.Event) -> None:
        worked.append(event)
        go_on.set()

    def day() -> None:
        time.sleep(0.4)
        bench.publish(broker, queue, people[:1])
        go_on.wait(2)
        time.sleep(0.1)
        said.append(time.monotonic())
        stop.set()

    endless = (
        "Nothing was to be done, stop was said, and your worker still waited after 3 s. How does it look at `stop` "
        "while no message comes?"
    )
    with bench.queue(broker, "check-stop", []) as queue:
        someone = threading.Thread(target=day, daemon=True)
        someone.start()
        try:
            bench.lend(broker, lambda channel: serve(channel, queue, work, stop), endless)
            ended = time.monotonic()
        finally:
            go_on.set()
            someone.join()
    if not worked:
        raise NotYet(
            "An order came after half a second without any, and your worker had left, though nobody had said stop. "
            "What makes it leave?"
        )
    if ended - said[0] > SOON:
        raise NotYet("Your idle worker took seconds to hear stop. How often does it look, while no message comes?")


# ---- 6 the order that nobody can print


class _OnlyTriesAgain(BaseException):
    """Ends a worker that does the same again and again. No Exception, so that it is not caught."""


def check_refuse(broker: Any, print_or_refuse: Callable[..., object]) -> str:
    """Give the answer four orders: one can never be printed, one jams the printer once."""
    people = campus.sign_ups(4)
    _, bjorn, chidi, _ = people
    tries: Counter[campus.Event] = Counter()
    done: list[Any] = []

    def work(event: campus.Event) -> None:
        tries[event] += 1
        if tries[event] == MOST_TRIES:
            raise _OnlyTriesAgain
        if event == bjorn or (event == chidi and tries[event] == 1):
            raise bench.WorkFailed("paper jam")
        done.append(event)

    endless = "Your worker was still running after 3 s. How does it notice that nothing comes any more?"
    with bench.queue(broker, "check-refuse", people) as queue:
        try:
            refused = bench.lend(broker, lambda channel: print_or_refuse(channel, queue, work), endless)
        except _OnlyTriesAgain:
            raise NotYet(
                f"Your worker tried {bjorn.name}'s order {MOST_TRIES} times without a pause, and would never end. "
                "How can it tell, from what RabbitMQ says, that an order has been tried before?"
            ) from None
        except bench.WorkFailed:
            raise NotYet("A paper jam, and your worker was dead. Who catches the error of `work`?") from None
        left = bench.left(broker, queue)
    if not tries:
        raise NotYet("Your function came back before any work was done. Who calls `work`?")
    if not all(isinstance(event, campus.SignUp) for event in tries):
        raise NotYet(
            f"`work` was given {type(next(iter(tries))).__name__}, not a SignUp. What does `campus.from_bytes` do?"
        )
    if chidi not in done and tries[chidi] == 1:
        raise NotYet(
            f"The paper jammed once at {chidi.name}, who never got a certificate. Does a failed order get a second try?"
        )
    missing = [event for event in people if event != bjorn and event not in done]
    if missing:
        raise NotYet(f"{bench.names(missing)} never got a certificate. What became of the order?")
    if left:
        raise NotYet(
            f"Your worker has left, and an order of {bench.names(left)} is still in the queue. Who settles it?"
        )
    if len(done) > 3:
        raise NotYet("Somebody got two certificates. Is each printed order acknowledged?")
    if tries[bjorn] != 2:
        raise NotYet(
            f"{bjorn.name}'s order was tried {tries[bjorn]} times; two were asked for. When is it given back, when not?"
        )
    returned(refused, list, "print_or_refuse")
    if refused != [bjorn]:
        raise NotYet(f"{bjorn.name}'s order was refused; your list says: {refused!r:.80}. What goes into it, and when?")
    return "Three printed, the jam included; one refused after its second try; and the worker lives."


EXERCISES = [
    Exercise(
        1,
        "Write a fair worker",
        check_fair,
        (
            "Two lines of the worker of notebook 05 are enough, and one more before it begins to consume.",
            "`channel.basic_qos(prefetch_count=...)` limits how many unacked messages RabbitMQ lets a consumer hold. "
            "It is for consumers that begin after it.",
            "`channel.basic_qos(prefetch_count=1)`, then `for method, _, body in channel.consume(queue, "
            "inactivity_timeout=quiet):`. Leave `if method is None`; else work, then `basic_ack`. `channel.cancel()` "
            "after the loop.",
        ),
        seconds=9,
    ),
    Exercise(
        2,
        "Wake the worker that falls asleep",
        check_once,
        (
            "Go through the loop with the orders Amina, Amina, Björn, Björn, Chidi. After each: how many does the "
            "worker hold unacked?",
            "`continue` jumps over everything that stands below it in the loop, also over the ack.",
            "Put `channel.basic_ack(method.delivery_tag)` in front of `continue`: there is nothing to do for this "
            "order, so it is done.",
        ),
        seconds=9,
    ),
    Exercise(
        3,
        "Predict who holds what, then measure",
        check_shares,
        (
            "Deal ten cards to two players in turn. Ada never puts one down, and may hold so many; Bo puts each down "
            "at once.",
            "Both consume with `basic_qos` and `basic_consume` on a connection of their own; then `send()`. Ada's "
            "callback does nothing; Bo's acks and counts. `bo.sleep(0.3)` serves his "
            "connection for so long, so that his callback runs.",
            "`while True:` remember the count, `bo.sleep(0.3)`, and leave when the count is as before. Then Ada "
            "holds `10 - done`. With prefetch 4 she is dealt the 1st, 3rd, 5th and 7th; Bo gets all the others.",
        ),
        seconds=9,
    ),
    Exercise(
        4,
        "Keep the heart beating",
        check_long,
        (
            "As long as your callback runs, pika does nothing else. What takes minutes must happen elsewhere.",
            "Start a `threading.Thread` in the callback and let the callback return. When the work is done, the thread "
            "asks for the ack by `channel.connection.add_callback_threadsafe(...)`.",
            "In `on_message` define `finish()`, which acks, counts and stops, and `long()`, which calls "
            "`work(campus.from_bytes(body))` and then `channel.connection.add_callback_threadsafe(finish)`. Then "
            "`Thread(target=long, daemon=True).start()`.",
        ),
        seconds=9,
    ),
    Exercise(
        5,
        "Stop cleanly",
        check_stop,
        (
            "Look at `stop` at two moments: after each order, and now and then while there is none.",
            "`channel.consume(queue, inactivity_timeout=0.2)` comes round five times a second when nothing happens, "
            "with `(None, None, None)`.",
            "In the loop: `if method:` work, ack, count. Then, in any case, `if stop.is_set(): break`. After it "
            "`channel.cancel()`, which gives back the rest, and return the count.",
        ),
        seconds=9,
    ),
    Exercise(
        6,
        "End the endless loop",
        check_refuse,
        (
            "A message that is given back to its old place is the next one to come. What is different about it then?",
            "`method.redelivered` is true when RabbitMQ has sent this message before. `requeue=False` gives it back "
            "for good.",
            "In `except`: `channel.basic_reject(method.delivery_tag, requeue=not method.redelivered)`, and "
            "`if method.redelivered:` append the event to the list that you return.",
        ),
        seconds=9,
    ),
]
