"""Lab 05, the first message: each check runs the answer on the broker and looks at what became of the messages."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from pika.adapters.blocking_connection import BlockingChannel, BlockingConnection
from pika.exceptions import ChannelClosedByBroker, ConnectionClosedByBroker

from mqlab import campus
from mqlab.exercises import Exercise, NotYet, Overtime, bench, limit, returned

MOST_TRIES = 100  # failed mails, after which a worker is taken for one that only tries again

# ---- 1 publish


def check_publish(broker: Any, publish_sign_ups: Callable[..., object]) -> str:
    """Call the answer twice, each time on a new connection, and fetch what is in the queue."""
    people = campus.sign_ups(4)
    with bench.queue(broker, "check-publish") as queue:

        def publish(some: list[campus.SignUp]) -> None:
            stuck = "Your function was still running after 3 s. What does it wait for?"
            bench.lend(broker, lambda channel: publish_sign_ups(channel, queue, some), stuck)

        publish(people[:2])
        publish(people[2:])
        _expect_durable(broker, queue)
        with bench.channel(broker) as channel:
            found = list(bench.taken(channel, queue))
    if not found:
        raise NotYet(
            "The queue is there, but it is empty. With which routing key did you publish? "
            "The default exchange looks for the queue of exactly that name."
        )
    try:
        events = [campus.from_bytes(body) for _, _, body in found]
    except ValueError as error:
        raise NotYet(f"A consumer cannot read your message. {error} How does an event become bytes?") from None
    if events == people[2:]:
        raise NotYet("The check called your function twice, and the first two people are gone. Who emptied the queue?")
    if len(events) != len(people):
        raise NotYet(
            f"{bench.some(len(people), 'sign-up')} came in, {bench.some(len(events))} went out. Is each sent once?"
        )
    if events != people:
        raise NotYet(f"The people should be {bench.names(people)}, in this order. Whom did you send, and when?")
    if any(properties.content_type != "application/json" for _, properties, _ in found):
        raise NotYet("The bodies are JSON, but the messages do not say so. Which property tells a consumer?")
    if any(properties.delivery_mode != 2 for _, properties, _ in found):
        raise NotYet(
            "The queue is durable, but after a restart it would be empty: your messages are transient. "
            "Which property keeps a message?"
        )
    return "Four people wait in a durable queue, each in a persistent message that says what it is."


def _expect_durable(broker: Any, queue: str) -> None:
    """Ask (by NotYet) when there is no such queue, or when it would not be there after a restart."""
    try:
        with bench.channel(broker) as channel:
            channel.queue_declare(queue, passive=True)
    except ChannelClosedByBroker:
        raise NotYet(
            f"When your function has run, there is no queue `{queue}`. Did you declare it, under the name you were "
            "given, and may it outlive your connection?"
        ) from None
    try:
        with bench.channel(broker) as channel:
            channel.queue_declare(queue, durable=True)
    except ChannelClosedByBroker as error:
        if "'durable'" in error.reply_text:
            raise NotYet("Your queue is there, but it would not outlive a restart. Which word is missing?") from None
        if "'auto_delete'" in error.reply_text:
            raise NotYet("Your queue deletes itself after its last consumer. What if more people sign up?") from None
        # any other difference, such as the queue's type, is the learner's own choice


# ---- 2 take


def check_take(broker: Any, take: Callable[..., object]) -> str:
    """Let the answer take three of five, three of five with work that fails, and two of two."""
    people = campus.sign_ups(5)
    endless = (
        "Your function was still waiting after 3 s, though three messages were there to take. "
        "What makes it stop after the last one?"
    )
    worked: list[Any] = []
    with bench.queue(broker, "check-take", people) as queue:

        def three(channel: BlockingChannel) -> int:
            take(channel, queue, 3, worked.append)
            return bench.consumers(broker, queue)

        refused, consumers = None, 0
        try:
            consumers = bench.lend(broker, three, endless)
        except NotYet as question:
            refused = question
        left = bench.left(broker, queue)
    if 0 < len(worked) <= 3 and len(left) < 2:
        raise NotYet(
            "Those you should have left in the queue are gone too. "
            + (
                "When does RabbitMQ take a message for done, if your consumer says `auto_ack=True`?"
                if _all_gone_at_first_failure(broker, take)
                else "How far does one of your acks reach: to its own message, or to `multiple`?"
            )
        )
    if refused:
        raise refused
    if not worked:
        raise NotYet("Your function came back before any work was done. Who calls `work`?")
    if not all(isinstance(event, campus.SignUp) for event in worked):
        raise NotYet(f"`work` was given {type(worked[0]).__name__}, not a SignUp. What does `campus.from_bytes` do?")
    if len(worked) != 3:
        raise NotYet(f"Three were to be taken, and `work` was called {len(worked)} times. Where do you count?")
    if worked != people[:3]:
        raise NotYet(f"{bench.names(people[:3])} came first, but you worked on {bench.names(worked)}. In which order?")
    if left == people:
        raise NotYet(
            "The work was done, but all five messages are in the queue again. Who tells RabbitMQ that three are done, "
            "on the channel that brought them?"
        )
    again = [event for event in worked if event in left]
    if again:
        raise NotYet(
            f"{bench.names(again)} was worked on and is in the queue again. "
            "Do you acknowledge before you leave the loop?"
        )
    if consumers:
        raise NotYet(
            "The work is done, but your consumer is still there, and RabbitMQ goes on sending to it. Who cancels it?"
        )
    _expect_acks_after_work(broker, take)
    with bench.queue(broker, "check-take", people[:2]) as queue:
        stuck = "With exactly as many messages as it should take, your function waits for one more. When do you count?"
        bench.lend(broker, lambda channel: take(channel, queue, 2, lambda event: None), stuck)
        if bench.ready(broker, queue):
            raise NotYet("Two were there, two were to be taken, and the queue is not empty. Which ack is missing?")
    return "Three taken and done, two still in the queue, and nobody lost when the work failed."


def _all_gone_at_first_failure(broker: Any, take: Callable[..., object]) -> bool:
    with bench.queue(broker, "check-take", campus.sign_ups(5)) as queue:
        with suppress(bench.WorkFailed):
            bench.lend(broker, lambda channel: take(channel, queue, 3, bench.fails_once_at(1, [])), "")
        return bench.ready(broker, queue) == 0


def _expect_acks_after_work(broker: Any, consume: Callable[..., object]) -> None:
    """Ask (by NotYet) when `consume(channel, queue, 3, work)` loses, or does twice, what failing work leaves."""
    people = campus.sign_ups(5)
    done: list[campus.Event] = []
    with bench.queue(broker, "check-take", people) as queue:
        stuck = "The work failed at the second message, and your function still runs after 3 s. What does it wait for?"
        with suppress(bench.WorkFailed):
            bench.lend(broker, lambda channel: consume(channel, queue, 3, bench.fails_once_at(2, done)), stuck)
        left = bench.left(broker, queue)
    lost = [event for event in people if event not in done and event not in left]
    if lost:
        raise NotYet(
            f"The work failed at {people[1].name}, and now {bench.names(lost)} is gone. "
            "Did you acknowledge after the work, or before?"
        )
    twice = [event for event in done if event in left]
    if twice:
        raise NotYet(
            f"The work failed at {people[1].name}, and {bench.names(twice)}, who was done, is in the queue again. "
            "Do you acknowledge each message, or all at the end?"
        )


# ---- 3 find the bug


class _OnlyTriesAgain(BaseException):
    """Ends a worker that calls a dead mail server again and again. No Exception, so that it is not caught."""


def check_mails(broker: Any, send_welcome_mails: Callable[..., object]) -> str:
    """Run the worker while the mail server dies at the third mail, then once more on a working server."""
    people = campus.sign_ups(5)
    mailed: list[campus.Event] = []
    tries = 0

    def dying(event: campus.Event) -> None:
        nonlocal tries
        if len(mailed) < 2:
            mailed.append(event)
            return
        tries += 1
        if tries == MOST_TRIES:
            raise _OnlyTriesAgain
        raise bench.WorkFailed("the mail server does not answer")

    endless = "Your worker was still running after 3 s. How does it notice that nobody is left?"
    with bench.queue(broker, "check-mails", people) as queue:
        try:
            with suppress(bench.WorkFailed):
                bench.lend(broker, lambda channel: send_welcome_mails(channel, queue, dying), endless)
        except _OnlyTriesAgain:
            raise NotYet(
                f"The mail server was down, and your worker called it {MOST_TRIES} times without a pause. "
                "What should a worker do that cannot work?"
            ) from None
        bench.lend(broker, lambda channel: send_welcome_mails(channel, queue, mailed.append), endless)
        left = bench.left(broker, queue)
    missing = [event for event in people if event not in mailed]
    twice = [event for event in people if mailed.count(event) > 1]
    lost = [event for event in missing if event not in left]
    if lost == people[2:]:
        raise NotYet(
            f"The mail server died at {people[2].name}. After the repair {bench.names(lost)} never got a mail. "
            "Only one mail was in the making: what had become of the other messages?"
        )
    if lost:
        raise NotYet(
            f"The mail server died at {people[2].name}, and {bench.names(lost)} never got a mail. "
            "What did RabbitMQ hear about that message, and was it true?"
        )
    if missing:
        raise NotYet(f"{bench.names(missing)} still waits in the queue after the repair. Why did your worker stop?")
    if twice or left:
        raise NotYet(
            f"Nobody was lost, but {bench.names(twice or left)} got a mail and is served again. "
            "When does RabbitMQ hear that a mail is done?"
        )
    return "The mail server died in the middle, and everybody got their mail: once."


# ---- 4 what a queue keeps


def check_kept(broker: Any, kept: Callable[..., object]) -> str:
    """Give the answer a queue of two and three to publish, and look at its numbers, its connections and the queue."""
    opened: list[BlockingConnection] = []

    def connect() -> BlockingConnection:
        opened.append(bench.connect(broker))
        return opened[-1]

    try:
        with bench.queue(broker, "check-kept", campus.sign_ups(2)) as queue:
            try:
                with limit(bench.SECONDS):
                    numbers = kept(connect, queue, campus.sign_ups(3, first=3))
            except Overtime:
                raise NotYet("Your function was still running after 3 s. What does it wait for?") from None
            except (ChannelClosedByBroker, ConnectionClosedByBroker) as error:
                raise NotYet(bench.refusal(error)) from None
            hung_up = not any(connection.is_open for connection in opened)
            for connection in opened:
                bench.close(connection)
            really = len(bench.left(broker, queue))
    finally:
        for connection in opened:
            bench.close(connection)
    returned(numbers, tuple, "kept")
    if len(opened) < 2 or not hung_up:
        raise NotYet(
            f"You called `connect()` {len(opened)} time{'' if len(opened) == 1 else 's'}"
            f"{'' if hung_up else ', and a connection is still open'}. "
            "Does the producer hang up before you count on another connection?"
        )
    if really == 0:
        raise NotYet("After your measurement the queue is empty. Did you count the messages, or take them all?")
    if really == 3:
        raise NotYet("Two messages were there before you came, and they are gone. Did you empty the queue first?")
    if really == 2:
        raise NotYet("Three people were to be published, and none is in the queue. Which routing key did you use?")
    if really == 4:
        raise NotYet("After your measurement one message is gone. Who told RabbitMQ that it was done?")
    if really != 5:
        raise NotYet(f"2 and 3 make 5, but {bench.some(really)} are in the queue. Is each person published once?")
    if numbers != (2, 5, 4):
        raise NotYet(
            f"The check measured (2, 5, 4), your function gave back {numbers!r}. Do you ask RabbitMQ before you "
            "publish, after the producer has hung up, and while you hold one message?"
        )
    return "2 before, 5 after the producer had gone, 4 while one was in hand. And all 5 are still there."


# ---- 5 until it is quiet


def check_serve(broker: Any, serve: Callable[..., object]) -> str:
    """Let the answer serve three, one that comes during the work, and one that comes a little later."""
    people = campus.sign_ups(5)
    done: list[campus.Event] = []
    later = threading.Timer(0.3, lambda: bench.publish(broker, queue, people[4:]))

    def work(event: campus.Event) -> None:
        done.append(event)
        if event == people[2]:
            bench.publish(broker, queue, people[3:4])
        if event == people[3] and not later.ident:
            later.start()

    endless = (
        "Nothing had come for a long while, and your function still waited after 3 s. How does it learn of the quiet?"
    )
    with bench.queue(broker, "check-serve", people[:3]) as queue:

        def until_quiet(channel: BlockingChannel) -> tuple[object, int]:
            return serve(channel, queue, work, 1.0), bench.consumers(broker, queue)

        try:
            count, consumers = bench.lend(broker, until_quiet, endless)
        finally:
            if later.ident:  # it was started
                later.join()
        left = bench.left(broker, queue)
    if not done:
        raise NotYet("Three people waited, and nobody was served. Who calls `work`?")
    if len(set(done)) < len(done):
        raise NotYet("Somebody was served twice. What becomes of a message after the work?")
    if len(done) < 4:
        raise NotYet(
            f"Somebody signed up while you served {people[2].name}, and nobody served them. "
            "Did you count at the beginning? A queue may grow while you work."
        )
    if len(done) < 5:
        raise NotYet(
            f"{people[4].name} came 0.3 s after the others, and your function had left. "
            "Is a queue quiet as soon as it is empty?"
        )
    if left:
        raise NotYet(f"Everybody was served, but {bench.names(left)} came back to the queue. Which ack is missing?")
    if consumers:
        raise NotYet("All is quiet, but your consumer is still there. Who cancels it?")
    if count != 5:
        raise NotYet(f"Five people were served, and your function gave back {count!r}. What does it return?")
    _expect_acks_after_work(broker, lambda channel, queue, _, work: serve(channel, queue, work, 0.2))
    return "Five served: three who waited, one who came meanwhile, one a little later. Then it was quiet, and you left."


EXERCISES = [
    Exercise(
        1,
        "Publish sign-ups",
        check_publish,
        (
            "Four things make it safe: a durable queue, the default exchange, a body that a consumer can read, and "
            "properties that say how to keep it.",
            "`channel.queue_declare(queue, durable=True)`, then one `channel.basic_publish(...)` for each event. "
            'The default exchange is `""`; its routing key is the name of the queue.',
            "The body is `campus.to_bytes(event)`. The properties are `pika.BasicProperties(...)` with "
            '`content_type="application/json"` and `delivery_mode=pika.DeliveryMode.Persistent`.',
        ),
    ),
    Exercise(
        2,
        "Take exactly n",
        check_take,
        (
            "Take, work, acknowledge, count: in this order. Leave the loop as soon as the count is n, not when the "
            "next message is there.",
            "`for method, properties, body in channel.consume(queue):` brings the messages. `method.delivery_tag` is "
            "the number to acknowledge. `channel.cancel()` after the loop sends back what you did not take.",
            "In the loop: `work(campus.from_bytes(body))`, `channel.basic_ack(method.delivery_tag)`, `taken += 1`, and "
            "`if taken == n: break`.",
        ),
        seconds=9,
    ),
    Exercise(
        3,
        "Find out why it loses people",
        check_mails,
        (
            "Go through the loop as if `send` failed at the third person. What does RabbitMQ know about the third "
            "message at that moment? About the fourth?",
            "`auto_ack=True` makes RabbitMQ forget a message when it is sent. Without it, RabbitMQ keeps the message "
            "until your ack.",
            "Drop `auto_ack=True`, and write `channel.basic_ack(method.delivery_tag)` on the line after `send(...)`. "
            "Let the error of `send` end the worker: the rest goes back to the queue.",
        ),
        seconds=9,
    ),
    Exercise(
        4,
        "Show what a queue keeps",
        check_kept,
        (
            "Nobody needs to take a message to count it. Ask for the queue as if to declare it, but only look.",
            "`channel.queue_declare(queue, passive=True).method.message_count` is the number of ready messages. "
            "Publish in one `with connect() as connection:` and count in another one.",
            "For the third number: `channel.basic_get(queue)` takes one message in hand. Do not acknowledge it, count, "
            "and let the `with` hang up.",
        ),
        seconds=6,
    ),
    Exercise(
        5,
        "Serve until it is quiet",
        check_serve,
        (
            "You cannot know how many will come. You can know how long nobody has come.",
            "`channel.consume(queue, inactivity_timeout=quiet)` hands out `(None, None, None)` when nothing has come "
            "for `quiet` seconds.",
            "Leave the loop `if method is None`. Else work, acknowledge, and count. After the loop cancel, and return "
            "the count.",
        ),
        seconds=9,
    ),
]
