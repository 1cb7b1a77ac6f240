"""Lab 09, request and reply: each check plays the other side of the conversation and looks at what was said."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pika
from pika.adapters.blocking_connection import BlockingChannel, BlockingConnection
from pika.exceptions import AMQPError, ChannelClosedByBroker, ConnectionClosedByBroker, UnroutableError

from mqlab import frames
from mqlab.exercises import Exercise, NotYet, Overtime, bench, limit, returned
from mqlab.exercises.desk import PRICES, Desk, NoSuchCourse, letters, look_up, mailbox, question, strangers_first

MOST_TRIES = 100  # look-ups, after which a desk is taken for one that only tries again
QUIET = 0.2  # seconds without a question, after which a desk is to stop
PATIENCE = 0.8  # seconds, in which an answer connects and counts, also on a slow machine
DIRECT = "amq.rabbitmq.reply-to"


class OnlyTriesAgain(BaseException):
    """Ends a desk that works on the same question again and again. No Exception, so that it is not caught."""


# ---- 1 the server


def check_serve(broker: Any, serve: Callable[..., object]) -> str:
    """Put questions of two pages on the desk, one of them bad; then let the register fail at the second."""
    stuck = "No more questions came, and your function still ran after 3 s. How does it learn of the quiet?"
    with bench.channel(broker) as page, bench.queue(broker, "check-desk", []) as queue:
        here, there = mailbox(page), mailbox(page)
        asked = [("chess", here, "n-1"), ("opera", here, "n-2"), ("pottery", there, "n-1"), ("poetry", here, "n-3")]
        page.confirm_delivery()
        for text, box, number in asked:
            question(page, queue, text, box, number)
        with bench.watched(broker) as seen:

            def until_quiet(channel: BlockingChannel) -> int:
                serve(channel, queue, look_up, QUIET)
                return bench.consumers(broker, queue)

            try:
                consumers = bench.lend(broker, until_quiet, stuck, seen.url_as("Desk"))
            except NoSuchCourse:
                raise NotYet(
                    "A page asked for a course that is not there, and your desk died of it. "
                    "Who answers that page, and the next one?"
                ) from None
        got = {here: letters(page, here, 3), there: letters(page, there, 1)}
        back = bench.ready(broker, queue)
        order = [event.kind for event in seen.events if event.connection == "Desk" and event.kind in ("publish", "ack")]
        _expect_answers(got, here, there)
        if back:
            raise NotYet(
                f"All pages have their answers, but {bench.some(back)} came back to the queue. Who acknowledges?"
            )
        if consumers:
            raise NotYet("It is quiet, but your consumer is still there. Who cancels it?")
        _expect_it_survives_a_failure(broker, serve, page, here)
        if any(order[: n + 1].count("ack") > order[: n + 1].count("publish") for n in range(len(order))):
            raise NotYet(
                "You acknowledge a question before its answer is out. What becomes of the page if your machine stops "
                "between the two?"
            )
    return "Four questions of two pages, each answered at its own address, with its own number: the bad one, too."


def _expect_answers(got: dict[str, list[tuple[str | None, str | None, str]]], here: str, there: str) -> None:
    every = got[here] + got[there]
    if not every:
        raise NotYet(
            "Four questions, and not one answer has arrived. Through which exchange do you answer, and with which "
            "routing key?"
        )
    if len(every) > 4:
        raise NotYet(f"Four questions, and {len(every)} answers. Is each question answered once?")
    if len(got[there]) != 1:
        raise NotYet("Two pages have asked, and one has got the other's answer. Whose address do you use?")
    if any(number is None for number, _, _ in every):
        raise NotYet("An answer has come without a number. How is a page to know which of its questions it answers?")
    numbers = sorted(number or "" for number, _, _ in got[here])
    bad = [each for each in got[here] if each[0] == "n-2"]
    if not bad:
        raise NotYet("A page asked for a course that is not there, and heard nothing. Must it wait for ever?")
    if numbers != ["n-1", "n-2", "n-3"]:
        raise NotYet(
            f"The questions had the numbers n-1, n-2 and n-3, the answers {', '.join(numbers)}. Which belong together?"
        )
    if bad[0][2] != "no course opera":
        raise NotYet(
            f"The error says “no course opera”; your answer says {bad[0][2]!r}. What is a page to tell its visitor?"
        )
    if bad[0][1] != "error":
        raise NotYet("The error has come as if it were a price. Which property tells the page, and what is its word?")
    if any(kind == "error" for number, kind, _ in every if number != "n-2"):
        raise NotYet("A good answer has come as an error. When is `type` set?")
    prices = {number: text for number, _, text in got[here] if number != "n-2"}
    if prices != {"n-1": "40", "n-3": "30"} or got[there][0][2] != "65":
        raise NotYet(f"Chess costs 40 and poetry 30, and the page was told {prices}. What goes into the answer's body?")


def _expect_it_survives_a_failure(broker: Any, serve: Callable[..., object], page: BlockingChannel, box: str) -> None:
    """Ask (by NotYet) when a question is lost, or answered again, because the register failed at the next one."""
    calls = 0

    def failing(text: str) -> str:
        nonlocal calls
        calls += 1
        if calls == MOST_TRIES:
            raise OnlyTriesAgain
        if calls > 1:
            raise bench.WorkFailed("the register does not answer")
        return look_up(text)

    with bench.queue(broker, "check-desk-fails", []) as queue:
        for text in ("chess", "pottery", "poetry"):
            question(page, queue, text, box, text)
        try:
            with suppress(bench.WorkFailed):
                stuck = "The register failed, and your function still ran after 3 s. What does it wait for?"
                bench.lend(broker, lambda channel: serve(channel, queue, failing, QUIET), stuck)
        except OnlyTriesAgain:
            raise NotYet(
                f"The register was down, and your desk called it {MOST_TRIES} times without a pause. "
                "What should a desk do that cannot work?"
            ) from None
        with bench.channel(broker) as line:
            left = [body.decode() for _, _, body in bench.taken(line, queue)]
        answered = [number for number, _, _ in letters(page, box, 1)]
    lost = [text for text in ("chess", "pottery", "poetry") if text not in left and text not in answered]
    if lost:
        raise NotYet(
            f"The register failed at the second question, and now {' and '.join(lost)} is gone without an answer. "
            "When does RabbitMQ hear that a question is done?"
        )
    if "chess" in left:
        raise NotYet("Chess was answered, and its question is in the queue again. When do you acknowledge it?")


# ---- 2 the client


def check_ask(broker: Any, ask: Callable[..., object]) -> str:
    """Ask twice among strangers' answers, and once where nothing but strangers' answers comes."""

    def act(desk: Desk, asked: Any, text: str) -> None:
        if text == "nothing":
            desk.babble(asked, 1.3)
        else:
            strangers_first(desk, asked, text)

    stuck = "Nobody answered, and your function still waited after 3 s. Who tells it that the time is over?"
    with bench.queue(broker, "check-ask", []) as queue, Desk(broker, queue, act) as desk:

        def three(channel: BlockingChannel) -> None:
            connection = channel.connection
            for text in ("chess", "pottery"):
                _expect_price(desk, lambda: ask(connection, queue, text, 1.0), text)  # noqa: B023
                if not connection.is_open:
                    raise NotYet("The connection is closed. Who lent it to you, and may want to ask again?")
            _expect_timeout(lambda: ask(connection, queue, "nothing", 0.3), 0.3)
            for asked, _ in desk.asked:
                if not _gone(broker, asked.reply_to):
                    raise NotYet(
                        "The page has its answer, and your mailbox is still there: one more for each question, as long "
                        "as the connection lives. Who deletes it, even when the time is over?"
                    )

        bench.lend(broker, three, stuck)
        if len(desk.asked) != 3:
            raise NotYet(f"Three calls, and {len(desk.asked)} questions came to the desk. Is each asked once?")
    return "Two answers found among strangers', no answer reported in time, and nothing left behind."


def _expect_price(desk: Desk, call: Callable[[], object], text: str) -> None:
    before = len(desk.asked)
    timed_out, answer = False, None
    try:
        answer = call()
    except TimeoutError:
        timed_out = True
    if len(desk.asked) == before:
        raise NotYet("No question has come to the desk. With which exchange and routing key do you ask?")
    asked, was = desk.asked[-1]
    if was != text:
        raise NotYet(f"The question should be {text!r}, and the desk got {was!r}. What is the body?")
    if not asked.reply_to:
        raise NotYet("Your question came to the desk, but it does not say where to answer. Which property does?")
    if not asked.correlation_id:
        raise NotYet("Your question has no number. How will you know its answer among others?")
    if before and asked.correlation_id == desk.asked[-2][0].correlation_id:
        raise NotYet("Two questions had the same number. What if the answer to the first comes late?")
    if timed_out:
        raise NotYet("The desk answered at once, and you reported that nobody did. Do you listen where you said?")
    if isinstance(answer, bytes | bytearray):
        raise NotYet("You gave back bytes. What makes text of them?")
    returned(answer, str, "the function")
    if answer != PRICES[text]:
        raise NotYet(
            f"{text.title()} costs {PRICES[text]}, and you gave back {answer!r}: an answer to somebody else's "
            "question. How do you know that an answer is yours?"
        )


def _expect_timeout(call: Callable[[], object], timeout: float) -> None:
    began = time.monotonic()
    try:
        answer = call()
    except TimeoutError:
        took = time.monotonic() - began
    else:
        raise NotYet(
            f"Nobody answered, and you gave back {answer!r}. How does the page learn that it has no answer? "
            "The goal names the error."
        )
    if took > timeout + 0.8:
        raise NotYet(
            f"You should give up after {timeout} s, and did so after {took:.1f} s: all the while answers for others "
            "came. Does your wait begin anew with each of them?"
        )
    if took < timeout / 2:
        raise NotYet(f"You should wait for {timeout} s, and gave up after {took:.1f} s. What ended the wait?")


def _gone(broker: Any, name: str) -> bool:
    """Whether there is no queue of this name, now or in a moment."""
    end = time.monotonic() + 0.6
    while True:
        try:
            with bench.channel(broker) as line:
                line.queue_declare(name, passive=True)
        except ChannelClosedByBroker as error:
            if error.reply_code == 404:
                return True
        if time.monotonic() > end:
            return False
        time.sleep(0.05)


# ---- 3 find the bug: who gets whose answer

OLD = {"1": "11", "2": "22", "3": "33", "4": "44", "0": "10"} | {course: "1" for course in PRICES}


def check_ask_all(broker: Any, ask_all: Callable[..., object]) -> str:
    """Answer backwards, one of them twice, into a mailbox that has answers of yesterday; then once more."""
    wanted = ["chess", "pottery", "poetry"]

    def act(desk: Desk, asked: Any, text: str) -> None:
        if len(desk.asked) % 3 == 0:
            last = desk.asked[-3:][::-1]
            for each, course in [last[0], *last]:
                desk.reply(each, PRICES.get(course, "996"), each.correlation_id)

    stuck = "All was answered, and your function still ran after 3 s. What does it wait for?"
    with (
        bench.queue(broker, "check-ask-all", []) as queue,
        bench.queue(broker, "check-mailbox", []) as box,
        Desk(broker, queue, act) as desk,
    ):
        with bench.channel(broker) as line:
            line.confirm_delivery()
            for number, old in OLD.items():
                line.basic_publish("", box, old.encode(), pika.BasicProperties(correlation_id=number))
            line.basic_publish("", box, b"9")
        for _ in range(2):
            before = len(desk.asked)
            try:
                found = bench.lend(broker, lambda channel: ask_all(channel, queue, box, wanted, 1.0), stuck)
            except TimeoutError:
                found = None
            _expect_all(desk, desk.asked[before:], box, wanted, found)
    return "Answered backwards, one of them twice, among yesterday's answers: and each course has its own price."


def _expect_all(desk: Desk, asked: list[tuple[Any, str]], box: str, wanted: list[str], found: object) -> None:
    if found is None and 0 < len(asked) < 3:
        raise NotYet(
            f"The desk waited for all three questions, and had got {len(asked)}. "
            "Do you wait for one answer before you ask the next?"
        )
    if sorted(text for _, text in asked) != sorted(wanted):
        raise NotYet(f"Three questions should come to the desk, and {len(asked)} did. Is each asked once?")
    numbers = [about.correlation_id for about, _ in asked]
    if any(about.reply_to != box for about, _ in asked):
        raise NotYet("The answers should go to the mailbox that you were given. What does your `reply_to` say?")
    if None in numbers:
        raise NotYet("Your questions have no number. How can an answer be told from another?")
    if len(set(numbers)) < len(numbers):
        raise NotYet("Your three questions share a number. Which answer belongs to which?")
    returned(found, dict, "ask_all")
    assert isinstance(found, dict)
    right = {course: PRICES[course] for course in wanted}
    if found == right:
        if set(numbers) & OLD.keys() or set(numbers) & {each.correlation_id for each, _ in desk.asked[:-3]}:
            raise NotYet(
                f"Your questions had the numbers {', '.join(map(str, numbers))} before. "
                "What if an old answer comes late?"
            )
        return
    told = "You gave back " + ", ".join(f"{course}: {price}" for course, price in found.items()) + "."
    if any(isinstance(price, bytes) for price in found.values()):
        raise NotYet("Your prices are bytes. What makes text of them?")
    if set(found.values()) & set(OLD.values()) or "9" in found.values():
        whose = (
            "numbers that yesterday's questions had, too"
            if set(numbers) & OLD.keys()
            else "an answer without a look at its number"
        )
        raise NotYet(f"{told} That is from yesterday: it lay in the mailbox before you asked. Do you take {whose}?")
    if found.keys() != right.keys():
        raise NotYet(
            f"{told} One question was answered twice, because its worker died after the answer. What do you count?"
        )
    raise NotYet(
        f"{told} The answers came backwards, and one of them twice. By what do you match them with the courses?"
    )


# ---- 4 predict, then measure


def check_given_up(broker: Any, given_up: Callable[..., object]) -> str:
    """Let the answer measure four questions without a limit, then three with one."""
    for courses, expire, expected in ((list(PRICES), False, (3, 3, 4)), (list(PRICES)[:3], True, (2, 0, 0))):
        opened: list[BlockingConnection] = []
        with bench.watched(broker) as seen, bench.queue(broker, "check-given-up", []) as queue:

            def connect(seen: bench.Seen = seen, opened: list[BlockingConnection] = opened) -> BlockingConnection:
                address = seen.url_as(f"Measure {len(opened) + 1}")
                opened.append(BlockingConnection(pika.URLParameters(address)))
                return opened[-1]

            try:
                with limit(bench.SECONDS):
                    numbers = given_up(connect, queue, courses, PATIENCE, expire)
            except Overtime:
                raise NotYet("Your function was still running after 3 s. What does it wait for?") from None
            except (ChannelClosedByBroker, ConnectionClosedByBroker) as error:
                if "expiration" in error.reply_text:
                    raise NotYet(
                        "RabbitMQ refused a question and closed its channel (406): it cannot read the `expiration`. "
                        "In which unit does it count, and are there halves of one?"
                    ) from None
                raise NotYet(bench.refusal(error)) from None
            finally:
                still_open = any(connection.is_open for connection in opened)
                for connection in opened:
                    bench.close(connection)
            seen.settle()
            events = seen.events
            asked = [event for event in events if event.kind == "publish" and event.connection.startswith("Measure")]
            _expect_measured(asked, expire, len(courses), numbers, expected)
            if still_open:
                raise NotYet("A connection is still open at the end. Who hangs up?")
            real = bench.ready(broker, queue)
            if real != expected[2]:
                raise NotYet(
                    f"After your measurement {bench.some(real, 'question')} should be {expected[2]}. "
                    "Did you acknowledge one, or take more than one?"
                )
    return "Without a limit: 3, 3, 4. With one: 2, 0, and the one in hand is dropped as well when it comes back."


def _expect_measured(asked: list[Any], expire: bool, n: int, numbers: object, expected: tuple[int, int, int]) -> None:
    if len(asked) != n:
        raise NotYet(f"There were {n} courses, and you published {len(asked)} questions. Is each asked once?")
    lives = [dict(frames.fields(event)).get("expiration") for event in asked]
    if expire and None in lives:
        raise NotYet("With `expire` your questions should have a limit, and they have none. Which property is it?")
    if expire and any(str(life) != f"{PATIENCE * 1000:.0f}" for life in lives):
        raise NotYet(
            f"The patience is {PATIENCE:g} s, and your `expiration` says {lives[0]}. In which unit does RabbitMQ "
            "count, and as what?"
        )
    if not expire and any(lives):
        raise NotYet("Without `expire` the questions should live for ever, and yours have a limit. When do you set it?")
    returned(numbers, tuple, "given_up")
    if numbers != expected:
        first, second, _ = expected
        why = ""
        if isinstance(numbers, tuple) and len(numbers) == 3 and all(isinstance(each, int) for each in numbers):
            if numbers[0] != first:
                why = "The first: do you count while one question is in hand, and the others are still fresh?"
            elif numbers[1] != second:
                why = "The second: is the patience over when you count?"
            else:
                why = "The third: has the one in hand gone back, unacknowledged, when you count?"
        raise NotYet(
            f"The check measured {expected}, your function gave back {numbers!r}. {why or 'Which three counts?'}"
        )


# ---- 5 direct reply-to


def check_ask_directly(broker: Any, ask_directly: Callable[..., object]) -> str:
    """Ask twice on one channel among strangers' answers, then once in vain."""

    def act(desk: Desk, asked: Any, text: str) -> None:
        if text == "nothing":
            desk.babble(asked, 1.3)
        else:
            strangers_first(desk, asked, text)

    stuck = "Nobody answered, and your function still waited after 3 s. Who tells it that the time is over?"
    with (
        bench.watched(broker) as seen,
        bench.queue(broker, "check-directly", []) as queue,
        Desk(broker, queue, act) as desk,
    ):

        def three(channel: BlockingChannel) -> None:
            for text in ("chess", "pottery"):
                with _refusals(seen):
                    _expect_price(desk, lambda: ask_directly(channel, queue, text, 1.0), text)  # noqa: B023
                    if not channel.is_open:
                        raise NotYet("The channel is closed. Who lent it to you, and may want to ask again?")
                _expect_direct(seen, desk)
            with _refusals(seen):
                _expect_timeout(lambda: ask_directly(channel, queue, "nothing", 0.3), 0.3)
            if not _gone(broker, desk.asked[-1][0].reply_to):
                raise NotYet(
                    "The page has given up, and your consumer is still there. Who cancels it, whatever happens?"
                )

        bench.lend(broker, three, stuck, seen.url_as("Page"))
    return "Two answers and a timeout on one channel, and RabbitMQ had to make no queue."


def _expect_direct(seen: bench.Seen, desk: Desk) -> None:
    seen.settle()
    declared = [e.queue for e in seen.events if e.connection == "Page" and e.kind == "declare"]
    if any(not name.startswith((DIRECT, "replies to")) for name in declared):
        raise NotYet("You got the answer through a queue of your own. Which address needs none?")
    if not desk.asked[-1][0].reply_to.startswith(f"{DIRECT}."):
        raise NotYet(f"The desk was told to answer to {desk.asked[-1][0].reply_to!r}. Which address needs no queue?")


@contextmanager
def _refusals(seen: bench.Seen) -> Iterator[None]:
    """Ask about what RabbitMQ has refused on the channel, whatever the answer has made of it."""
    try:
        yield
    except (NotYet, AMQPError) as error:
        seen.settle()
        words = [
            str(dict(frames.fields(event)).get("reply_text", dict(frames.fields(event)).get("reply-text", "")))
            for event in seen.events
            if event.connection == "Page" and event.way == "<" and frames.name(event) == "channel.close"
        ]
        said = words[-1] if words else ""
        if "does not exist" in said and "reply consumer" in said:
            raise NotYet(
                "RabbitMQ closed your channel (406): when your question came, nobody on its channel was listening for "
                "the answer. What must come before the publish? And mind: does `channel.consume(...)` begin at once?"
            ) from None
        if "cannot acknowledge" in said:
            raise NotYet(
                "RabbitMQ closed your channel (406): there is no queue, so nothing could come back to one. "
                "How must a direct reply be consumed?"
            ) from None
        if "already set" in said:
            raise NotYet(
                "RabbitMQ closed your channel (406): a channel has one consumer for direct replies, and yours has it "
                "already. Who cancels the first, after its answer?"
            ) from None
        if words and not isinstance(error, NotYet):
            raise NotYet(f"RabbitMQ closed your channel: {said}. What did your code ask for?") from None
        raise


# ---- 6 find the bug: nobody there to hear it


def check_serve_all(broker: Any, serve_all: Callable[..., object]) -> str:
    """Put five questions on the desk: one whose mailbox is gone, one without an address, three good ones."""
    looked_up = 0

    def counted(text: str) -> str:
        nonlocal looked_up
        looked_up += 1
        if looked_up == MOST_TRIES:
            raise OnlyTriesAgain
        return look_up(text)

    stuck = "No more questions came, and your function still ran after 3 s. What does it wait for?"
    with bench.channel(broker) as page, bench.queue(broker, "check-all", []) as queue:
        with bench.channel(broker) as leaving:
            gone = mailbox(leaving)
        if not _gone(broker, gone):
            raise NotYet("The broker is very slow just now. Will you run the check once more?")
        box = mailbox(page)
        page.confirm_delivery()
        for text, address in (("chess", box), ("pottery", gone), ("poetry", box), ("physics", None), ("chess", box)):
            question(page, queue, text, address, text)
        try:
            count = bench.lend(broker, lambda channel: serve_all(channel, queue, counted, QUIET), stuck)
        except OnlyTriesAgain:
            raise NotYet(
                f"Your desk has looked up {MOST_TRIES} prices for five questions. What becomes of a question that goes "
                "back to the queue, when its page will never be there again?"
            ) from None
        except UnroutableError:
            raise NotYet(
                "Pottery's page is gone, RabbitMQ gave its answer back, and your desk died of it. What does the next "
                "desk find at the head of the queue?"
            ) from None
        except (TypeError, AssertionError, AttributeError, ValueError) as error:
            raise NotYet(
                f"Physics was asked without an address, and your desk died of it ({type(error).__name__}). "
                "What can you do for somebody who does not say where to answer?"
            ) from None
        left = bench.ready(broker, queue)
        told = [number for number, _, _ in letters(page, box, 3)]
    if left:
        raise NotYet(f"It is quiet, but {bench.some(left, 'question')} came back to the queue. Which ack is missing?")
    if sorted(map(str, told)) != ["chess", "chess", "poetry"]:
        heard = ", ".join(map(str, told)) or "nothing"
        raise NotYet(f"Three pages are still there: chess, poetry, chess. They heard of {heard}. Who was left out?")
    returned(count, tuple, "serve_all")
    if count != (3, 2):
        raise NotYet(
            f"Three pages were answered, two could not be, and your function gave back {count!r}. "
            "Who tells you that no queue took an answer, and do you ask to be told?"
        )
    return "Three answered, two who could not be told, and the desk is still alive."


EXERCISES = [
    Exercise(
        1,
        "Answer at the desk",
        check_serve,
        (
            "Each question brings its own address and its own number. Neither is yours to choose.",
            "Answer by the default exchange, with the routing key `asked.reply_to` and the properties "
            "`pika.BasicProperties(correlation_id=asked.correlation_id)`. Then acknowledge.",
            "Put only `look_up` into a `try`. `except ValueError as error`: the body is `str(error)`, and the "
            'properties get `type="error"` as well. Publish and ack come after it, for both.',
        ),
        seconds=9,
    ),
    Exercise(
        2,
        "Ask, and wait no longer than you should",
        check_ask,
        (
            "Four steps: a mailbox, the question, the wait, the tidying up. The last must happen whatever becomes of "
            "the third.",
            "On a channel of your own, a nameless exclusive queue is the mailbox. Note when the time is over "
            "(`time.monotonic() + timeout`) before you wait, and let each wait be what is left of it.",
            "`try:` a loop over `channel.consume(mailbox, auto_ack=True, inactivity_timeout=0.05)` that returns the "
            "body of the answer with your `correlation_id`, and raises `TimeoutError` when the time is over. "
            "`finally:` `channel.cancel()`, `channel.queue_delete(mailbox)`, `channel.close()`.",
        ),
        seconds=9,
    ),
    Exercise(
        3,
        "Find out who got whose price",
        check_ask_all,
        (
            "There are two mistakes. One needs two workers, the other a restart. Which line knows which question an "
            "answer belongs to?",
            "Keep a dict from number to course when you ask. An answer whose number is not in it is not yours.",
            "`waiting[str(uuid.uuid4())] = question` for each. In the loop "
            "`course = waiting.pop(about.correlation_id, None)`, "
            "and when it is not None, `answers[course] = body.decode()`. Done when `waiting` is empty.",
        ),
        seconds=9,
    ),
    Exercise(
        4,
        "Measure what becomes of the given up",
        check_given_up,
        (
            "Three counts on one queue. Between the first and the second you only wait; between the second and the "
            "third a connection ends.",
            "The property is `expiration`, in milliseconds, as text: `str(int(patience * 1000))`, or None. "
            "`channel.queue_declare(queue, passive=True).method.message_count` counts.",
            "Hold the one in hand on a connection of its own: `with connect() as holder:` `basic_get`, count, "
            "`time.sleep(patience + 0.2)`, count. After that block count for the third time, on another connection.",
        ),
        seconds=9,
    ),
    Exercise(
        5,
        "Ask without a mailbox",
        check_ask_directly,
        (
            "RabbitMQ must know who listens before the question comes. And it has no place to put an answer back to.",
            f'`channel.basic_consume("{DIRECT}", on_answer, auto_ack=True)` before the publish, on the same channel; '
            "`channel.connection.process_data_events(time_limit=...)` lets `on_answer` be called.",
            "`on_answer` puts the body into a dict under `about.correlation_id`. Loop until your number is in it or "
            "the time is over. `finally: channel.basic_cancel(tag)`, where `tag` is what `basic_consume` gave back.",
        ),
        seconds=9,
    ),
    Exercise(
        6,
        "Find out why the desk is dead each morning",
        check_serve_all,
        (
            "A page may be gone when its answer is ready. Is that the desk's mistake? And what happens to a question "
            "that is never acknowledged?",
            "`mandatory=True` with confirms makes pika raise `UnroutableError` when no queue takes the answer. Catch "
            "just that, count it, and go on to the ack.",
            "`if not asked.reply_to: lost += 1`, else `try:` publish and `answered += 1`, "
            "`except pika.exceptions.UnroutableError: lost += 1`. After both: "
            "`channel.basic_ack(method.delivery_tag)`.",
        ),
        seconds=9,
    ),
]
