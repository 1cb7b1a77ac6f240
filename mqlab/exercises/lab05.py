"""Lab 05, the first message: each check runs the answer on the broker and looks at what became of the messages."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, TypeVar

import pika
from pika.adapters.blocking_connection import BlockingChannel, BlockingConnection
from pika.exceptions import AMQPError, ChannelClosedByBroker, ChannelWrongStateError, ConnectionClosedByBroker

from mqlab import campus
from mqlab.exercises import Exercise, NotYet, Overtime, limit, returned

SECONDS = 3.0  # for one call of an answer
MOST_TRIES = 100  # failed mails, after which a worker is taken for one that only tries again

Work = Callable[[campus.Event], None]
Answer = TypeVar("Answer")


# ---- the bench: queues of the check's own, and what is seen from outside


def _connect(broker: Any) -> BlockingConnection:
    return BlockingConnection(pika.URLParameters(broker.url))


@contextmanager
def _channel(broker: Any) -> Iterator[BlockingChannel]:
    with _connect(broker) as connection, connection.channel() as channel:
        yield channel


@contextmanager
def _queue(broker: Any, name: str, events: list[campus.SignUp] | None = None) -> Iterator[str]:
    """Give a queue with these events in it (None: the name of a queue that is not there); delete it at the end."""
    queue: str = broker.name(name)
    with _channel(broker) as channel:
        channel.queue_delete(queue)
        if events is not None:
            channel.queue_declare(queue, durable=True)
    if events:
        _publish(broker, queue, events)
    try:
        yield queue
    finally:
        with _channel(broker) as channel:
            channel.queue_delete(queue)


def _publish(broker: Any, queue: str, events: list[campus.SignUp]) -> None:
    keep = pika.BasicProperties(content_type="application/json", delivery_mode=pika.DeliveryMode.Persistent)
    with _channel(broker) as channel:
        channel.confirm_delivery()
        for event in events:
            channel.basic_publish("", queue, campus.to_bytes(event), keep)


def _ready(broker: Any, queue: str) -> int:
    """Return how many messages are ready in the queue."""
    with _channel(broker) as channel:
        return int(channel.queue_declare(queue, passive=True).method.message_count)


def _left(broker: Any, queue: str) -> list[campus.Event]:
    """Take all ready messages from the queue and return their events."""
    with _channel(broker) as channel:
        return [campus.from_bytes(body) for _, _, body in _taken(channel, queue)]


def _taken(channel: BlockingChannel, queue: str) -> Iterator[tuple[Any, Any, bytes]]:
    while True:
        method, properties, body = channel.basic_get(queue, auto_ack=True)
        if method is None:
            return
        yield method, properties, body


def _lend(broker: Any, answer: Callable[[BlockingChannel], Answer], still_running: str) -> Answer:
    """Return `answer(channel)` on a connection of its own, which is closed in any case.

    NotYet: with `still_running` when the time is over, or about what RabbitMQ refused.
    """
    connection = _connect(broker)
    try:
        with limit(SECONDS):
            channel = connection.channel()
            value = answer(channel)
            if channel.is_open:
                channel.basic_qos(prefetch_count=0)  # asks and waits: a late refusal of what was sent comes out here
            return value
    except Overtime:
        raise NotYet(still_running) from None
    except (ChannelClosedByBroker, ConnectionClosedByBroker) as error:
        raise NotYet(_refusal(error)) from None
    except ChannelWrongStateError:
        raise NotYet(
            "Your code uses a channel that is closed. RabbitMQ closes a channel after a mistake on it. Do you "
            "acknowledge a message on the channel that brought it?"
        ) from None
    finally:
        _close(connection)


def _close(connection: BlockingConnection) -> None:
    """Hang up, whatever state the answer has left the connection in."""
    with suppress(AMQPError, Overtime), limit(SECONDS):
        if connection.is_open:
            connection.close()


def _refusal(error: ChannelClosedByBroker | ConnectionClosedByBroker) -> str:
    """Return a question about what the broker refused."""
    code, text = error.reply_code, error.reply_text
    if code == 541 and "transient" in text:
        return (
            "RabbitMQ refused your queue and closed the connection (541): it is neither durable nor exclusive. "
            "Which word lets a queue outlive a restart?"
        )
    if code == 404 and "no exchange" in text:
        return (
            "RabbitMQ closed your channel (404): there is no exchange of that name. "
            "Which exchange is always there, and what is its name?"
        )
    if code == 404:
        return "RabbitMQ closed your channel (404): there is no queue of that name. Which queue were you given?"
    if code == 406 and "delivery tag" in text:
        return (
            "RabbitMQ closed your channel (406): it does not wait for an ack with that delivery tag. Do you "
            "acknowledge each message once, with its own tag, on the channel that brought it, and without `auto_ack`?"
        )
    if code == 406 and "inequivalent" in text:
        return "RabbitMQ closed your channel (406): the queue is there already, made otherwise. Is yours durable?"
    return f"RabbitMQ refused something ({code} {text.split(' - ')[0]}). What did your code ask for?"


def _names(events: list[Any]) -> str:
    return ", ".join(event.name for event in events) or "nobody"


def _some(n: int, what: str = "message") -> str:
    return f"{n} {what}{'' if n == 1 else 's'}"


# ---- 1 publish


def check_publish(broker: Any, publish_sign_ups: Callable[..., object]) -> str:
    """Call the answer twice, each time on a new connection, and fetch what is in the queue."""
    people = campus.sign_ups(4)
    with _queue(broker, "check-publish") as queue:

        def publish(some: list[campus.SignUp]) -> None:
            stuck = "Your function was still running after 3 s. What does it wait for?"
            _lend(broker, lambda channel: publish_sign_ups(channel, queue, some), stuck)

        publish(people[:2])
        publish(people[2:])
        _expect_durable(broker, queue)
        with _channel(broker) as channel:
            found = list(_taken(channel, queue))
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
        raise NotYet(f"{_some(len(people), 'sign-up')} came in, {_some(len(events))} went out. Is each sent once?")
    if events != people:
        raise NotYet(f"The people should be {_names(people)}, in this order. Whom did you send, and when?")
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
        with _channel(broker) as channel:
            channel.queue_declare(queue, passive=True)
    except ChannelClosedByBroker:
        raise NotYet(
            f"When your function has run, there is no queue `{queue}`. Did you declare it, under the name you were "
            "given, and may it outlive your connection?"
        ) from None
    try:
        with _channel(broker) as channel:
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
    with _queue(broker, "check-take", people) as queue:

        def three(channel: BlockingChannel) -> int:
            take(channel, queue, 3, worked.append)
            return _consumers(broker, queue)

        refused, consumers = None, 0
        try:
            consumers = _lend(broker, three, endless)
        except NotYet as question:
            refused = question
        left = _left(broker, queue)
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
        raise NotYet(f"{_names(people[:3])} came first, but you worked on {_names(worked)}. In which order?")
    if left == people:
        raise NotYet(
            "The work was done, but all five messages are in the queue again. Who tells RabbitMQ that three are done, "
            "on the channel that brought them?"
        )
    again = [event for event in worked if event in left]
    if again:
        raise NotYet(
            f"{_names(again)} was worked on and is in the queue again. Do you acknowledge before you leave the loop?"
        )
    if consumers:
        raise NotYet(
            "The work is done, but your consumer is still there, and RabbitMQ goes on sending to it. Who cancels it?"
        )
    _expect_acks_after_work(broker, take)
    with _queue(broker, "check-take", people[:2]) as queue:
        stuck = "With exactly as many messages as it should take, your function waits for one more. When do you count?"
        _lend(broker, lambda channel: take(channel, queue, 2, lambda event: None), stuck)
        if _ready(broker, queue):
            raise NotYet("Two were there, two were to be taken, and the queue is not empty. Which ack is missing?")
    return "Three taken and done, two still in the queue, and nobody lost when the work failed."


def _consumers(broker: Any, queue: str) -> int:
    with _channel(broker) as channel:
        return int(channel.queue_declare(queue, passive=True).method.consumer_count)


class WorkFailed(Exception):
    """What the work of a check raises, as the work of a real worker would."""


def _fails_once_at(n: int, done: list[campus.Event]) -> Work:
    """Return work that notes what it has done in `done`, and fails at the n-th call."""
    calls = 0

    def work(event: campus.Event) -> None:
        nonlocal calls
        calls += 1
        if calls == n:
            raise WorkFailed("the mail server does not answer")
        done.append(event)

    return work


def _all_gone_at_first_failure(broker: Any, take: Callable[..., object]) -> bool:
    with _queue(broker, "check-take", campus.sign_ups(5)) as queue:
        with suppress(WorkFailed):
            _lend(broker, lambda channel: take(channel, queue, 3, _fails_once_at(1, [])), "")
        return _ready(broker, queue) == 0


def _expect_acks_after_work(broker: Any, consume: Callable[..., object]) -> None:
    """Ask (by NotYet) when `consume(channel, queue, 3, work)` loses, or does twice, what failing work leaves."""
    people = campus.sign_ups(5)
    done: list[campus.Event] = []
    with _queue(broker, "check-take", people) as queue:
        stuck = "The work failed at the second message, and your function still runs after 3 s. What does it wait for?"
        with suppress(WorkFailed):
            _lend(broker, lambda channel: consume(channel, queue, 3, _fails_once_at(2, done)), stuck)
        left = _left(broker, queue)
    lost = [event for event in people if event not in done and event not in left]
    if lost:
        raise NotYet(
            f"The work failed at {people[1].name}, and now {_names(lost)} is gone. "
            "Did you acknowledge after the work, or before?"
        )
    twice = [event for event in done if event in left]
    if twice:
        raise NotYet(
            f"The work failed at {people[1].name}, and {_names(twice)}, who was done, is in the queue again. "
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
        raise WorkFailed("the mail server does not answer")

    endless = "Your worker was still running after 3 s. How does it notice that nobody is left?"
    with _queue(broker, "check-mails", people) as queue:
        try:
            with suppress(WorkFailed):
                _lend(broker, lambda channel: send_welcome_mails(channel, queue, dying), endless)
        except _OnlyTriesAgain:
            raise NotYet(
                f"The mail server was down, and your worker called it {MOST_TRIES} times without a pause. "
                "What should a worker do that cannot work?"
            ) from None
        _lend(broker, lambda channel: send_welcome_mails(channel, queue, mailed.append), endless)
        left = _left(broker, queue)
    missing = [event for event in people if event not in mailed]
    twice = [event for event in people if mailed.count(event) > 1]
    lost = [event for event in missing if event not in left]
    if lost == people[2:]:
        raise NotYet(
            f"The mail server died at {people[2].name}. After the repair {_names(lost)} never got a mail. "
            "Only one mail was in the making: what had become of the other messages?"
        )
    if lost:
        raise NotYet(
            f"The mail server died at {people[2].name}, and {_names(lost)} never got a mail. "
            "What did RabbitMQ hear about that message, and was it true?"
        )
    if missing:
        raise NotYet(f"{_names(missing)} still waits in the queue after the repair. Why did your worker stop?")
    if twice or left:
        raise NotYet(
            f"Nobody was lost, but {_names(twice or left)} got a mail and is served again. "
            "When does RabbitMQ hear that a mail is done?"
        )
    return "The mail server died in the middle, and everybody got their mail: once."


# ---- 4 what a queue keeps


def check_kept(broker: Any, kept: Callable[..., object]) -> str:
    """Give the answer a queue of two and three to publish, and look at its numbers, its connections and the queue."""
    opened: list[BlockingConnection] = []

    def connect() -> BlockingConnection:
        opened.append(_connect(broker))
        return opened[-1]

    try:
        with _queue(broker, "check-kept", campus.sign_ups(2)) as queue:
            try:
                with limit(SECONDS):
                    numbers = kept(connect, queue, campus.sign_ups(3, first=3))
            except Overtime:
                raise NotYet("Your function was still running after 3 s. What does it wait for?") from None
            except (ChannelClosedByBroker, ConnectionClosedByBroker) as error:
                raise NotYet(_refusal(error)) from None
            hung_up = not any(connection.is_open for connection in opened)
            for connection in opened:
                _close(connection)
            really = len(_left(broker, queue))
    finally:
        for connection in opened:
            _close(connection)
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
        raise NotYet(f"2 and 3 make 5, but {_some(really)} are in the queue. Is each person published once?")
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
    later = threading.Timer(0.3, lambda: _publish(broker, queue, people[4:]))

    def work(event: campus.Event) -> None:
        done.append(event)
        if event == people[2]:
            _publish(broker, queue, people[3:4])
        if event == people[3] and not later.ident:
            later.start()

    endless = (
        "Nothing had come for a long while, and your function still waited after 3 s. How does it learn of the quiet?"
    )
    with _queue(broker, "check-serve", people[:3]) as queue:

        def until_quiet(channel: BlockingChannel) -> tuple[object, int]:
            return serve(channel, queue, work, 1.0), _consumers(broker, queue)

        try:
            count, consumers = _lend(broker, until_quiet, endless)
        finally:
            if later.ident:  # it was started
                later.join()
        left = _left(broker, queue)
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
        raise NotYet(f"Everybody was served, but {_names(left)} came back to the queue. Which ack is missing?")
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
