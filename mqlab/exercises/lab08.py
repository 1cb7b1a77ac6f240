"""Lab 08, reliable delivery: each check breaks something on the way of a message, and looks at what arrived."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import pika
from pika.adapters.blocking_connection import BlockingConnection
from pika.exceptions import AMQPConnectionError, AMQPError, NackError, UnroutableError

from mqlab import campus
from mqlab.exercises import Exercise, NotYet, Overtime, bench, limit, returned
from mqlab.exercises.bench import some
from mqlab.exercises.lab08_faults import FLOOD, Cable, Ledger, Stopped, Work, until

Message = tuple[str, campus.Event]  # its message_id, and what is in it


def subscribed(*users: int) -> list[campus.Subscribed]:
    return [campus.Subscribed(user, "Statistics") for user in users]


def who(*events: Any) -> str:
    """Return the names of those whom these events are about."""
    return ", ".join(campus.PEOPLE[event.user - 1][0] for event in events) or "nobody"


def id_of(event: Any) -> str:
    return f"subscribed-{event.user}"


def put(broker: Any, queue: str, messages: Sequence[Message]) -> None:
    """Publish persistent messages with these ids, and wait until the broker has them."""
    with bench.channel(broker) as channel:
        channel.confirm_delivery()
        for id, event in messages:
            channel.basic_publish(
                "", queue, campus.to_bytes(event), pika.BasicProperties(message_id=id, delivery_mode=2)
            )


@contextmanager
def queues(broker: Any, *names: str) -> Iterator[list[str]]:
    """Give names of queues that are not there; delete these queues at the end."""
    full = [broker.name(name) for name in names]

    def delete() -> None:
        with bench.channel(broker) as channel:
            for name in full:
                channel.queue_delete(name)

    delete()
    try:
        yield full
    finally:
        delete()


def there(broker: Any, queue: str) -> list[tuple[Any, campus.Event]]:
    """Take what is in a queue: (properties, event) of each message. NotYet: there is no such queue."""
    try:
        with bench.channel(broker) as channel:
            return [(properties, campus.from_bytes(body)) for _, properties, body in bench.taken(channel, queue)]
    except pika.exceptions.ChannelClosedByBroker:
        raise NotYet(f"There is no queue `{queue}`. Did you declare it, durable, under the name you got?") from None


# ---- 1 publish, and know


def check_publish_and_know(broker: Any, publish_and_know: Callable[..., object]) -> str:
    """Give the answer an exchange where two of four courses have a queue, and compare what it says with what is so."""
    courses = ("Statistics", "Alchemy", "Geometry", "Alchemy", "Statistics")
    events = [campus.Subscribed(user, course) for user, course in enumerate(courses, 1)]
    exchange = broker.name("check-courses")
    stuck = "Your function was still running after 3 s. What does it wait for?"
    with queues(broker, "check-statistics", "check-geometry") as names, bench.channel(broker) as line:
        line.exchange_delete(exchange)
        line.exchange_declare(exchange, durable=True)
        for name, course in zip(names, ("Statistics", "Geometry"), strict=True):
            line.queue_declare(name, durable=True)
            line.queue_bind(name, exchange, course)
        try:
            with bench.watched(broker) as seen:
                value = bench.lend(
                    broker, lambda channel: publish_and_know(channel, exchange, list(events)), stuck, seen.url
                )
        except UnroutableError:
            raise NotYet(
                "RabbitMQ gave a message back, and your function stopped there. What about the events behind it?"
            ) from None
        arrived = [each for name in names for each in there(broker, name)]
        line.confirm_delivery()
        try:
            line.basic_publish(exchange, "Alchemy", b"", mandatory=True)
            raise NotYet("There is a queue for Alchemy now, and nobody consumes from it. Who was to make one?")
        except UnroutableError:
            pass
        finally:
            line.exchange_delete(exchange)
    returned(value, tuple, "publish_and_know")
    if not (isinstance(value, tuple) and len(value) == 2 and all(isinstance(part, list) for part in value)):
        raise NotYet("`publish_and_know` should give back two lists, `confirmed, returned`. What does yours give back?")
    confirmed, back = value
    _expect_events(confirmed + back, events)
    good = [event for event in events if event.course != "Alchemy"]
    if len(arrived) > len(good):
        raise NotYet(f"{some(len(good), 'event')} had a queue, {some(len(arrived))} arrived. Is each published once?")
    if len(arrived) < len(good):
        missing = [event for event in good if event not in [each for _, each in arrived]]
        raise NotYet(f"Nothing of {who(*missing)} is in a queue. Did you publish it, with which routing key?")
    if not any(event.kind == "confirms" for event in seen.events):
        raise NotYet(
            "You tell what RabbitMQ confirmed, but it was never asked to confirm anything. Which method of the "
            "channel asks it?"
        )
    if not back and len(confirmed) == len(events):
        raise NotYet(
            f"RabbitMQ confirmed the message of {who(events[1])}, but no queue has it. What must the publish say so "
            "that such a message comes back?"
        )
    if confirmed != good or back != [event for event in events if event not in good]:
        raise NotYet(
            f"You say confirmed: {who(*confirmed)}; returned: {who(*back)}. In truth {who(*good)} are in a queue. "
            "How do you tell the two apart?"
        )
    if any(properties.delivery_mode != 2 for properties, _ in arrived):
        raise NotYet("Confirmed, and after a restart it would be gone. Which property keeps a message on disk?")
    return "Three confirmed and in a queue, two returned, and nobody between."


def _expect_events(found: list[Any], events: Sequence[Any]) -> None:
    """Ask (by NotYet) when somebody is in no list, or in two."""
    if wrong := next((each for each in found if not isinstance(each, campus.Subscribed)), None):
        raise NotYet(f"The lists should hold the events themselves. In yours is {type(wrong).__name__}: what is it?")
    for event in events:
        if event not in found:
            raise NotYet(f"{who(event)} is in none of your lists. What became of that event?")
        if found.count(event) > 1:
            raise NotYet(f"{who(event)} is in your lists {found.count(event)} times. Can both be true?")


# ---- 2 find the bug: charged twice, or never


def check_charge(broker: Any, charge_all: Callable[..., object]) -> str:
    """Give the answer a message twice; then let the power fail before and after each of the first commits."""
    amina, bjorn, chidi = subscribed(1, 2, 3)
    twice = [("a", amina), ("b", bjorn), ("b", bjorn), ("c", amina)]
    charges, left = _charged(broker, charge_all, twice, [])
    if not charges:
        raise NotYet("Nothing is in the ledger when your worker has gone. When is a transaction of sqlite complete?")
    if charges[2] > 1:
        raise NotYet(
            f"A careful producer published the message of {who(bjorn)} twice, and now {who(bjorn)} has paid "
            f"{charges[2]} times. By what can your worker tell that it is the same one?"
        )
    if charges[1] < 2:
        raise NotYet(
            f"{who(amina)} subscribed, left, and subscribed again: two events, two ids, and you charged "
            f"{charges[1]} of them. What makes two messages the same?"
        )
    if charges != {1: 2, 2: 1}:
        raise NotYet(f"{who(bjorn)} should have paid once, {who(amina)} twice. The ledger says {dict(charges)}. Why?")
    if left:
        raise NotYet(f"All are charged, but {some(left)} came back to the queue. Does a duplicate need an ack as well?")
    cuts = [{"before": 1}, {"after": 1}, {"before": 2}, {"after": 2}]
    charges, left = _charged(broker, charge_all, [(id_of(each), each) for each in (amina, bjorn, chidi)], cuts)
    lost = [event for event in (amina, bjorn, chidi) if not charges[event.user]]
    if lost:
        raise NotYet(
            f"The power failed in the middle of the work, and {who(*lost)} was never charged. "
            "What had been acked, skipped or remembered by then, and was it true?"
        )
    paid = [event for event in (amina, bjorn, chidi) if charges[event.user] > 1]
    if paid:
        raise NotYet(
            f"The power failed between the charge and the ack, and {who(*paid)} has paid {charges[paid[0].user]} "
            "times. Where is the id remembered, and is it in the same transaction as the charge?"
        )
    if left:
        raise NotYet(f"All are charged, but {some(left)} came back to the queue. Which ack is missing?")
    return "Published twice, delivered again, four power cuts: everybody paid once for each subscription."


def _charged(
    broker: Any, charge_all: Callable[..., object], messages: Sequence[Message], cuts: list[dict[str, int]]
) -> tuple[Counter[int], int]:
    """Run the answer once for each cut, then once more; return charges by user, and how many messages are left."""
    endless = "Your worker was still running after 3 s. How does it notice that nobody is left?"
    ledger = sqlite3.connect(":memory:", factory=Ledger)
    ledger.executescript("CREATE TABLE charges (user, course); CREATE TABLE seen (message_id PRIMARY KEY);")
    with bench.queue(broker, "check-charge", []) as queue:
        put(broker, queue, messages)
        for cut in [*cuts, {}]:
            ledger.fail(**cut)
            with suppress(Stopped):
                bench.lend(broker, lambda channel: charge_all(channel, queue, ledger), endless)
            ledger.rollback()  # what was not committed is gone
        left = bench.ready(broker, queue)
    ledger.fail()
    rows = ledger.execute("SELECT user, count(*) FROM charges GROUP BY user").fetchall()
    ledger.close()
    return Counter(dict(rows)), left


# ---- 3 and 5: work that fails

ALWAYS = 1_000_000
PAUSE = 150  # milliseconds


def check_retry(broker: Any, declare_queues: Callable[..., object], serve: Callable[..., object]) -> str:
    """Let the answer serve four, of whom one always fails and one fails once; look at tries, pauses, what is left."""
    amina, diego, chidi, emre = events = subscribed(1, 4, 3, 5)
    work = Work({diego.user: ALWAYS, chidi.user: 1})
    endless = "Your functions were still running after 3 s, and it was quiet long before. What makes `serve` stop?"
    with queues(broker, "check-jobs", "check-retry", "check-parking") as names:
        queue, retry, parking = names
        bench.lend(broker, lambda channel: declare_queues(channel, queue, retry, parking, PAUSE), endless)
        there(broker, queue)
        put(broker, queue, [(id_of(event), event) for event in events])
        try:
            bench.lend(broker, lambda channel: serve(channel, queue, retry, parking, work, 0.5), endless)
        except Stopped:
            raise NotYet(
                f"The work of {who(diego)} failed {FLOOD} times, and your worker was still at it. "
                "Where do you count, and who counts for you?"
            ) from None
        except bench.WorkFailed:
            raise NotYet(
                f"The work of {who(diego)} failed, and that was the end of your worker. Who serves the others?"
            ) from None
        parked, waiting, resting = (there(broker, name) for name in (parking, queue, retry))
    good = [amina, chidi, emre]
    lost = [event for event in good if event.user not in work.done]
    if lost:
        raise NotYet(
            f"{who(*lost)} was never done"
            + (", though a second try would have succeeded. Who tries again?" if lost == [chidi] else ". Why not?")
        )
    if work.times(emre.user)[0] > (work.times(diego.user)[1:] or [float("inf")])[0]:
        raise NotYet(
            f"{who(emre)} had to wait while {who(diego)} was tried again. Where does a failed message rest, and who "
            "works meanwhile?"
        )
    if work.tries(diego.user) != 3:
        raise NotYet(f"{who(diego)} was tried {work.tries(diego.user)} times, not three. Where do you count?")
    gaps = [b - a for a, b in zip(work.times(diego.user), work.times(diego.user)[1:], strict=False)]
    if min(gaps) < 0.8 * PAUSE / 1000:
        raise NotYet(
            f"Between two tries there should be {PAUSE} ms, and there were {min(gaps) * 1000:.0f}. "
            "What keeps a message in `retry` for so long?"
        )
    if len(work.done) > len(good):
        raise NotYet("Somebody was served twice. What becomes of a message after the work?")
    if not parked:
        raise NotYet(f"{who(diego)} failed three times, and is nowhere. Who puts that message into `parking`?")
    if [event for _, event in parked] != [diego]:
        raise NotYet(f"In `parking` is {who(*(event for _, event in parked))}, and not {who(diego)} alone. Why?")
    if waiting or resting:
        raise NotYet(f"{some(len(waiting + resting))} were left over. Which ack is missing?")
    reason = (parked[0][0].headers or {}).get("reason")
    if "no price" not in str(reason):
        raise NotYet(
            f"A person finds the parked message, and asks why. Its header `reason` is {reason!r}. Who knows the error?"
        )
    return "Good ones at once, one saved by its second try, one parked after three tries with its reason."


def check_flood(broker: Any, serve_all: Callable[..., object]) -> str:
    """Let the answer serve four from a quorum queue with a delivery limit, of whom one always fails, one once."""
    amina, diego, chidi, emre = events = subscribed(1, 4, 3, 5)
    work = Work({diego.user: ALWAYS, chidi.user: 1})
    endless = "Your worker was still running after 3 s. How does it notice that nobody is left?"
    with queues(broker, "check-parking", "check-quorum") as (parking, queue):
        with bench.channel(broker) as line:
            line.queue_declare(parking, durable=True)
            dead = {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": parking}
            line.queue_declare(queue, durable=True, arguments=dead | {"x-queue-type": "quorum", "x-delivery-limit": 3})
        put(broker, queue, [(id_of(event), event) for event in events])
        try:
            bench.lend(broker, lambda channel: serve_all(channel, queue, work), endless)
        except Stopped:
            raise NotYet(
                f"The work of {who(diego)} failed {FLOOD} times without a pause, and more would have followed. The "
                "queue has a delivery limit of 3: which way of giving a message back does RabbitMQ count?"
            ) from None
        except bench.WorkFailed:
            raise NotYet(
                "One message failed, and your worker is dead: the next one will die of it as well. Who serves the rest?"
            ) from None
        until(lambda: bench.ready(broker, parking) > 0, 0.3)
        parked, left = there(broker, parking), there(broker, queue)
    lost = [event for event in (amina, emre) if event.user not in work.done]
    if lost:
        raise NotYet(f"{who(*lost)} did nothing wrong, and was not served. When does your worker stop?")
    if chidi.user not in work.done:
        raise NotYet(
            f"The work of {who(chidi)} failed once, and would have succeeded the next time. Who tries it again?"
        )
    if len(work.done) > 3:
        raise NotYet("Somebody was served twice. What becomes of a message after the work?")
    if left:
        raise NotYet(f"{who(*(event for _, event in left))} is in the queue again. Which answer did RabbitMQ not get?")
    if [event for _, event in parked] != [diego]:
        raise NotYet(
            f"In the parking queue is {who(*(event for _, event in parked))}. It should be {who(diego)} alone. "
            "What did your worker tell RabbitMQ about the failed message?"
        )
    return f"Three served, one of them at the second try. {who(diego)} was parked after {work.tries(diego.user)} tries."


# ---- 4 predict, then measure


PATIENCE = 0.2  # seconds
RULES: dict[str, dict[str, Any]] = {
    "x-max-length 3": {"x-max-length": 3},
    "x-max-length 3, reject-publish": {"x-max-length": 3, "x-overflow": "reject-publish"},
    "x-max-length 3, reject-publish-dlx": {"x-max-length": 3, "x-overflow": "reject-publish-dlx"},
    "x-message-ttl 50": {"x-message-ttl": 50},
}


def check_fates(broker: Any, fates: Callable[..., object]) -> str:
    """Let the answer measure four rules of a queue, and compare with what each rule does."""
    events = subscribed(1, 2, 3, 4, 5)
    first, last = events[:2], events[2:]
    truth: dict[str, tuple[list[Any], list[Any], list[Any]]] = {
        "x-max-length 3": (last, [(event, "maxlen") for event in first], []),
        "x-max-length 3, reject-publish": (events[:3], [], events[3:]),
        "x-max-length 3, reject-publish-dlx": (events[:3], [(event, "maxlen") for event in events[3:]], events[3:]),
        "x-message-ttl 50": ([], [(event, "expired") for event in events], []),
    }
    stuck = "Your function was still running after 3 s. What does it wait for?"
    for rule, arguments in RULES.items():
        with queues(broker, "check-limited", "check-dead") as (queue, dead):
            try:
                value = bench.lend(
                    broker,
                    lambda channel, q=queue, d=dead, a=arguments: fates(  # type: ignore[misc]
                        channel, q, d, dict(a), list(events), PATIENCE
                    ),
                    stuck,
                )
            except NackError:
                raise NotYet(
                    f"With `{rule}` RabbitMQ refused a message, and your function stopped there. "
                    "What about the events behind it?"
                ) from None
        returned(value, tuple, "fates")
        if not (isinstance(value, tuple) and len(value) == 3 and all(isinstance(part, list) for part in value)):
            raise NotYet("`fates` should give back three lists, `waiting, died, refused`. What does yours give back?")
        _compare(rule, value, truth[rule])
    return "The oldest dropped, the newest refused, refused and kept all the same, expired: four rules, four fates."


def _compare(rule: str, value: tuple[Any, ...], truth: tuple[list[Any], list[Any], list[Any]]) -> None:
    waiting, died, refused = value
    if not all(isinstance(each, tuple) and len(each) == 2 for each in died):
        raise NotYet(
            "`died` should hold pairs, each an event and the reason of its death. Where does RabbitMQ tell it?"
        )
    if (waiting, died, refused) == truth:
        return
    said = (
        f"With `{rule}` you found waiting: {who(*waiting)}; died: {who(*(event for event, _ in died))}; "
        f"refused: {who(*refused)}. "
    )
    if len(waiting) == 5:
        raise NotYet(
            said + "Nothing happened. Has your queue the `arguments` that you got, and do you wait long enough?"
        )
    if not refused and truth[2]:
        raise NotYet(said + "RabbitMQ refused two of them. Who tells you, and did you ask it to?")
    if not died and truth[1]:
        raise NotYet(
            said
            + "Some are missing: the dead. Does the queue know where its dead go, and do you look there late enough?"
        )
    if [each for each, _ in died] == [each for each, _ in truth[1]] and died != truth[1]:
        raise NotYet(f"With `{rule}` you say they died of {died[0][1]!r}. What does their header `x-death` say?")
    if sorted(map(who, waiting)) == sorted(map(who, truth[0])) and waiting != truth[0]:
        raise NotYet(said + "These are the right ones. In which order did they come?")
    raise NotYet(said + f"The check found waiting: {who(*truth[0])}. When do you look, and in which queue?")


# ---- 6 a producer that survives


def check_survive(broker: Any, publish_all: Callable[..., object]) -> str:
    """Let the answer publish over a line that breaks twice; then give it no line at all."""
    events = subscribed(1, 2, 3, 4, 5, 6)
    with bench.queue(broker, "check-survive", []) as queue, bench.watched(broker) as seen:
        cable = Cable(broker, seen, queue)
        try:
            with limit(3):
                publish_all(cable.connect, queue, list(events))
        except Overtime:
            raise NotYet(
                "The line broke, and your function was still running after 3 s. Can a channel be used again whose "
                "connection is dead?"
            ) from None
        except AMQPError as error:
            raise NotYet(
                f"The line broke, and your function gave up ({type(error).__name__}). Who publishes the rest?"
            ) from None
        finally:
            left = cable.end()
        found = there(broker, queue)
    lost = [event for event in events if event not in [each for _, each in found]]
    if lost:
        raise NotYet(
            f"The line broke, and {who(*lost)} never arrived. By what does your function know that RabbitMQ has a "
            "message, and what does it do when it does not know?"
        )
    if not any(event.kind == "confirms" for event in seen.events):
        raise NotYet(
            "This time all arrived, but RabbitMQ never confirmed anything. By what does your function know that a "
            "message is there?"
        )
    if any(properties.message_id is None for properties, _ in found):
        raise NotYet("Some arrived twice, as they must, but nothing tells so. Which property names a message?")
    if any(properties.message_id != id_of(event) for properties, event in found):
        raise NotYet(
            f"The message of {who(events[0])} should have the id `{id_of(events[0])}`, in every copy. What is your id "
            "made of: of what happened, or of the try?"
        )
    if any(properties.delivery_mode != 2 for properties, _ in found):
        raise NotYet("All arrived, but a restart would lose them. Which property keeps a message?")
    if left:
        raise NotYet(f"All arrived, but {some(len(left), 'connection')} of yours is still open. Who hangs up?")
    tries = 0

    def nobody() -> BlockingConnection:
        nonlocal tries
        tries += 1
        if tries == FLOOD:
            raise Stopped
        raise AMQPConnectionError("connection refused")

    try:
        with limit(3):
            publish_all(nobody, queue, events[:1])
    except AMQPError:
        pass
    except Stopped:
        raise NotYet(
            f"RabbitMQ was not there, and you have called it {FLOOD} times. After which try does it end?"
        ) from None
    except Overtime:
        raise NotYet(
            "RabbitMQ was not there, and your function tried for more than 3 s. When does it give up?"
        ) from None
    else:
        raise NotYet(
            "RabbitMQ was not there, nothing was published, and your function came back in peace. Who is told?"
        )
    if tries < 2:
        raise NotYet("RabbitMQ did not answer once, and your function gave up. How many tries has an event?")
    return "The line broke twice. Everything arrived, and what arrived twice has one id."


EXERCISES = [
    Exercise(
        1,
        "Publish, and know",
        check_publish_and_know,
        (
            "Two questions go to RabbitMQ: do you have it, and does any queue take it? Each has its own word in pika.",
            "`channel.confirm_delivery()` once, then `mandatory=True` at each publish. A message that no queue takes "
            "comes out as the exception `pika.exceptions.UnroutableError`.",
            "For each event: `try:` publish and append to `confirmed`; `except pika.exceptions.UnroutableError:` "
            "append to `returned`. The routing key is `event.course`, and the properties have `delivery_mode=2`.",
        ),
        seconds=9,
    ),
    Exercise(
        2,
        "Find out who pays twice",
        check_charge,
        (
            "Two kinds of duplicates come: copies made by the producer, and redeliveries. Which of the two does the "
            "worker notice? And is a redelivered message always one that was charged?",
            "Look at `properties.message_id`, not at `method.redelivered`. `INSERT OR IGNORE INTO seen VALUES (?)` "
            "has the `rowcount` 1 for a new id, 0 for a known one.",
            "In one `with ledger:` insert the id into `seen`, and only if its `rowcount` is 1 insert into `charges`. "
            "After the `with`, ack, whether it was new or not.",
        ),
        seconds=9,
    ),
    Exercise(
        3,
        "Try three times, with a pause",
        check_retry,
        (
            "A failed message leaves the work queue, rests where nobody consumes, and comes back by itself. RabbitMQ "
            "writes down each death.",
            'Declare `queue` with `x-dead-letter-exchange` "" and `x-dead-letter-routing-key` `retry`; declare '
            "`retry` the other way round, with `x-message-ttl`. A failure is `basic_reject(tag, requeue=False)`. The "
            "header `x-death` has a `count` for each queue and reason.",
            'Failures so far: the `count` of the entry in `properties.headers["x-death"]` whose `reason` is '
            "`rejected`, or 0. Is it 2, then this was the third: publish the body to `parking` with "
            '`headers={"reason": str(error)}`, then ack.',
        ),
        seconds=9,
    ),
    Exercise(
        4,
        "Predict four fates, then measure",
        check_fates,
        (
            "Three things can happen to an event: it waits, it is refused while you publish it, it dies later. You "
            "learn of each in another place: the queue, an exception, the queue `dead`.",
            '`arguments | {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": dead}` sends the dead to '
            "`dead`. With `confirm_delivery()` a refusal is the exception `pika.exceptions.NackError`. "
            "`channel.connection.sleep(patience)` waits.",
            "Empty both queues with `basic_get(..., auto_ack=True)` until the method is None. The reason of a death is "
            '`properties.headers["x-death"][0]["reason"]`.',
        ),
        seconds=9,
    ),
    Exercise(
        5,
        "Find out what floods the worker",
        check_flood,
        (
            "The queue has a delivery limit. What is counted: how often a body fails, or how often a *message* comes "
            "back? What does the worker do with the message after a failure?",
            "A message that is published again is a new one: its count begins at 0. Give the old one back instead. "
            "Since 4.3 not every way to give back is counted.",
            "In `except`: `channel.basic_reject(method.delivery_tag, requeue=True)`, and no publish, no ack. Above the "
            "limit RabbitMQ dead-letters it by itself.",
        ),
        seconds=9,
    ),
    Exercise(
        6,
        "Survive a broken line",
        check_survive,
        (
            "As long as there is no confirm, you do not know. What is the only safe thing to do then, and on which "
            "connection?",
            "`except pika.exceptions.AMQPError:` catches what a broken line raises, in `connect()` as well. Then take"
            " a new connection and publish the same event again. A `for` loop of five tries ends by itself.",
            "For each event, five times: `try:` connect, `confirm_delivery()`, publish with `message_id`, and leave "
            "the loop; `except pika.exceptions.AMQPError as error:` keep it. After five, raise the last error.",
        ),
        seconds=9,
    ),
]
