"""Lab 08 on a real broker: wrong in the classic ways, right in more than one way."""

from typing import Any

import pytest
from answers import answer, assert_correct, assert_not_yet, with_bodies

from mqlab.exercises import Outcome


def judge(rabbit: Any, n: int, *bodies: str) -> Outcome:
    """Judge the starter's functions with other bodies."""
    return answer("08", n, with_bodies("08", n, *bodies), rabbit)


# ---- 1 publish, and know

KEEP = "keep = pika.BasicProperties(delivery_mode=2)\n"
LISTS = "confirmed, returned = [], []\n"
CONFIRM = "channel.confirm_delivery()\n"
GIVE = "return confirmed, returned"
PUBLISH = "channel.basic_publish(exchange, event.course, campus.to_bytes(event), keep, mandatory=True)"
TRY = f"""
for event in events:
    try:
        {PUBLISH}
        confirmed.append(event)
    except pika.exceptions.UnroutableError:
        returned.append(event)
"""
KNOW = KEEP + LISTS + CONFIRM + TRY + GIVE

KNOW_WRONG = {
    "no confirms": (KNOW.replace(CONFIRM, ""), "never asked to confirm anything"),
    "confirms only": (KNOW.replace(", mandatory=True", ""), "What must the publish say"),
    "stops at the first return": (KNOW.replace("returned.append(event)", "raise"), "your function stopped there"),
    "leaves at the first return": (KNOW.replace("returned.append(event)", "break"), "is in none of your lists"),
    "ignores returns": (KNOW.replace("returned.append(event)", "confirmed.append(event)"), "What must the publish say"),
    "in both lists": (KNOW.replace("    try:", "    confirmed.append(event)\n    try:"), "Can both be true?"),
    "transient": (KNOW.replace("delivery_mode=2", "delivery_mode=1"), "Which property keeps a message on disk?"),
    "a queue for the invented": (
        KEEP
        + LISTS
        + CONFIRM
        + "channel.queue_declare('check-alchemy', durable=True, arguments={'x-expires': 5000})\n"
        + "channel.queue_bind('check-alchemy', exchange, 'Alchemy')\n"
        + TRY
        + GIVE,
        "Who was to make one?",
    ),
    "tries each twice": (
        KNOW.replace(f"        {PUBLISH}", f"        {PUBLISH}\n        {PUBLISH}"),
        "Is each published once?",
    ),
    "the default exchange": (KNOW.replace("(exchange,", "('',"), "with which routing key?"),
    "names instead of events": (KNOW.replace("append(event)", "append(event.course)"), "hold the events themselves"),
    "only one list": (KNOW.replace(GIVE, "return confirmed"), "gave back list"),
}
KNOW_RIGHT = {
    "both errors": KNOW.replace("UnroutableError:", "UnroutableError as error:\n        assert error.messages"),
    "set apart by difference": KEEP
    + LISTS
    + CONFIRM
    + TRY.replace("returned.append(event)", "pass")
    + "returned = [event for event in events if event not in confirmed]\n"
    + GIVE,
    "a channel of its own": KNOW.replace(CONFIRM, "channel = channel.connection.channel()\n" + CONFIRM),
}


@pytest.mark.parametrize("name", KNOW_WRONG)
def test_knowing_goes_wrong(rabbit: Any, name: str) -> None:
    body, question = KNOW_WRONG[name]
    assert_not_yet(judge(rabbit, 1, body), question)


@pytest.mark.parametrize("name", KNOW_RIGHT)
def test_knowing_goes_right_in_more_than_one_way(rabbit: Any, name: str) -> None:
    assert_correct(judge(rabbit, 1, KNOW_RIGHT[name]))


# ---- 2 find the bug: charged twice, or never

QUIET = "for method, properties, body in channel.consume(queue, inactivity_timeout=0.2):\n"
UNTIL = "    if method is None:\n        break\n"
EVENT = "    event = campus.from_bytes(body)\n"
ACK = "    channel.basic_ack(method.delivery_tag)\n"
CANCEL = "channel.cancel()\n"
SEEN = 'ledger.execute("INSERT OR IGNORE INTO seen VALUES (?)", (properties.message_id,)).rowcount'
ROW = 'ledger.execute("INSERT INTO charges VALUES (?, ?)", (event.user, event.course))'
ONCE = f"    with ledger:\n        if {SEEN}:\n            {ROW}\n"
HEAD = QUIET + UNTIL + EVENT

CHARGE_WRONG = {
    "every delivery": (HEAD + f"    with ledger:\n        {ROW}\n" + ACK + CANCEL, "By what can your worker tell"),
    "auto_ack": (
        HEAD.replace("queue,", "queue, auto_ack=True,") + ONCE + CANCEL,
        "was never charged",
    ),
    "ack before the charge": (HEAD + ACK + ONCE + CANCEL, "What had been acked, skipped or remembered"),
    "skips what is redelivered": (
        HEAD
        + f"    if not method.redelivered:\n        with ledger:\n            if {SEEN}:\n                {ROW}\n"
        + ACK
        + CANCEL,
        "was never charged",
    ),
    "the same event, not the same id": (
        HEAD
        + '    known = ledger.execute("SELECT * FROM charges WHERE user = ?", (event.user,)).fetchone()\n'
        + f"    if not known:\n        with ledger:\n            {ROW}\n"
        + ACK
        + CANCEL,
        "What makes two messages the same?",
    ),
    "a set in memory": (
        "ids = set()\n"
        + HEAD
        + f"    if properties.message_id not in ids:\n        with ledger:\n            {ROW}\n"
        + "    ids.add(properties.message_id)\n"
        + ACK
        + CANCEL,
        "in the same transaction as the charge?",
    ),
    "the id first, in its own transaction": (
        HEAD
        + f"    with ledger:\n        new = {SEEN}\n    if new:\n        with ledger:\n            {ROW}\n"
        + ACK
        + CANCEL,
        "was never charged",
    ),
    "the charge first, in its own transaction": (
        HEAD
        + '    known = ledger.execute("SELECT * FROM seen WHERE message_id = ?", (properties.message_id,)).fetchone()\n'
        + f"    if not known:\n        with ledger:\n            {ROW}\n        with ledger:\n            {SEEN}\n"
        + ACK
        + CANCEL,
        "in the same transaction as the charge?",
    ),
    "no ack for duplicates": (
        HEAD + ONCE.replace(ROW, ROW + "\n            channel.basic_ack(method.delivery_tag)") + CANCEL,
        "Does a duplicate need an ack as well?",
    ),
    "never commits": (
        HEAD + f"    if {SEEN}:\n        {ROW}\n" + ACK + CANCEL,
        "When is a transaction of sqlite complete?",
    ),
    "commits at the end": (
        HEAD + f"    if {SEEN}:\n        {ROW}\n" + ACK + CANCEL + "ledger.commit()\n",
        "was never charged",
    ),
    "waits for ever": (HEAD.replace(", inactivity_timeout=0.2", "") + ONCE + ACK, "How does it notice"),
}
CHARGE_RIGHT = {
    "IntegrityError": "import sqlite3\n"
    + HEAD
    + f"""
    try:
        with ledger:
            ledger.execute("INSERT INTO seen VALUES (?)", (properties.message_id,))
            {ROW}
    except sqlite3.IntegrityError:
        pass
"""
    + ACK
    + CANCEL,
    "select, then commit by hand": HEAD
    + f"""
    known = ledger.execute("SELECT 1 FROM seen WHERE message_id = ?", (properties.message_id,)).fetchone()
    if not known:
        {ROW}
        {SEEN}
        ledger.commit()
"""
    + ACK
    + CANCEL,
    "begin and commit in SQL, prefetch 1": "channel.basic_qos(prefetch_count=1)\n"
    + HEAD
    + f'    ledger.execute("BEGIN")\n    if {SEEN}:\n        {ROW}\n    ledger.execute("COMMIT")\n'
    + ACK
    + CANCEL,
}


@pytest.mark.parametrize("name", CHARGE_WRONG)
def test_charging_goes_wrong(rabbit: Any, name: str) -> None:
    body, question = CHARGE_WRONG[name]
    assert_not_yet(judge(rabbit, 2, body), question)


@pytest.mark.parametrize("name", CHARGE_RIGHT)
def test_charging_goes_right_in_more_than_one_way(rabbit: Any, name: str) -> None:
    assert_correct(judge(rabbit, 2, CHARGE_RIGHT[name]))


# ---- 3 three tries, with a pause

DECLARE = """
def dead(to):
    return {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": to}
channel.queue_declare(queue, durable=True, arguments=dead(retry))
channel.queue_declare(retry, durable=True, arguments=dead(queue) | {"x-message-ttl": pause})
channel.queue_declare(parking, durable=True)
"""
PLAIN = "for name in (queue, retry, parking):\n    channel.queue_declare(name, durable=True)\n"
SERVE = """
for method, properties, body in channel.consume(queue, inactivity_timeout=quiet):
    if method is None:
        break
    try:
        work(campus.from_bytes(body))
    except Exception as error:
        headers = properties.headers or {}
        deaths = headers.get("x-death", [])
        tries = 1 + sum(death["count"] for death in deaths if death["reason"] == "rejected")
        if tries < 3:
            channel.basic_reject(method.delivery_tag, requeue=False)
            continue
        properties.headers = headers | {"reason": str(error)}
        channel.basic_publish("", parking, body, properties)
    channel.basic_ack(method.delivery_tag)
channel.cancel()
"""
COUNTED = """
for method, properties, body in channel.consume(queue, inactivity_timeout=quiet):
    if method is None:
        break
    try:
        work(campus.from_bytes(body))
    except Exception as error:
        tries = (properties.headers or {}).get("tries", 0) + 1
        why = {"tries": tries, "reason": str(error)}
        to = retry if tries < 3 else parking
        channel.basic_publish("", to, body, pika.BasicProperties(delivery_mode=2, headers=why))
    channel.basic_ack(method.delivery_tag)
channel.cancel()
"""
IN_PLACE = """
import time
for method, properties, body in channel.consume(queue, inactivity_timeout=quiet):
    if method is None:
        break
    for tries in (1, 2, 3):
        try:
            work(campus.from_bytes(body))
            break
        except Exception as error:
            time.sleep(0.2)
            if tries == 3:
                channel.basic_publish("", parking, body, pika.BasicProperties(headers={"reason": str(error)}))
    channel.basic_ack(method.delivery_tag)
channel.cancel()
"""

RETRY_WRONG = {
    "requeue loop": (
        PLAIN,
        SERVE.replace("tries < 3", "True").replace("requeue=False", "requeue=True"),
        "Where do you count",
    ),
    "back at once, three times": (
        DECLARE.replace('| {"x-message-ttl": pause}', '| {"x-message-ttl": 1}'),
        SERVE,
        "What keeps a message in `retry`",
    ),
    "sleeps in the worker": (PLAIN, IN_PLACE, "who works meanwhile?"),
    "never gives up": (DECLARE.replace("pause}", "5}"), SERVE.replace("tries < 3", "True"), "Where do you count"),
    "gives up after two": (DECLARE, SERVE.replace("tries < 3", "tries < 2"), "was tried 2 times, not three"),
    "no second try": (DECLARE, SERVE.replace("tries < 3", "tries < 1"), "Who tries again?"),
    "no reason": (DECLARE, SERVE.replace('headers | {"reason": str(error)}', "headers"), "Who knows the error?"),
    "drops the third": (
        DECLARE,
        SERVE.replace('channel.basic_publish("", parking, body, properties)', "pass"),
        "Who puts that message into",
    ),
    "no way to the retry queue": (PLAIN, SERVE, "Who tries again?"),
    "the parked one expires as well": (
        DECLARE,
        COUNTED.replace("headers=why", "headers=why, expiration='220'"),
        "and is nowhere",
    ),
    "ends with the error": (DECLARE, SERVE.replace("except Exception", "except KeyError"), "Who serves the others?"),
    "nothing declared": ("pass", SERVE, "Did you declare it"),
}
RETRY_RIGHT = {
    "counts in a header of its own": (DECLARE, COUNTED),
    "the message brings its time to live": (
        PLAIN.replace("(queue, retry, parking)", "(queue, parking)")
        + 'back = {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": queue}\n'
        + "channel.queue_declare(retry, durable=True, arguments=back)\n",
        COUNTED.replace("headers=why", "headers=why, expiration='220' if to == retry else None"),
    ),
    "quorum queue, prefetch 1": (
        DECLARE.replace("arguments=dead(retry)", 'arguments=dead(retry) | {"x-queue-type": "quorum"}'),
        "channel.basic_qos(prefetch_count=1)\n" + SERVE,
    ),
}


@pytest.mark.parametrize("name", RETRY_WRONG)
def test_retrying_goes_wrong(rabbit: Any, name: str) -> None:
    *bodies, question = RETRY_WRONG[name]
    assert_not_yet(judge(rabbit, 3, *bodies), question)


@pytest.mark.parametrize("name", RETRY_RIGHT)
def test_retrying_goes_right_in_more_than_one_way(rabbit: Any, name: str) -> None:
    assert_correct(judge(rabbit, 3, *RETRY_RIGHT[name]))


# ---- 4 predict, then measure

FATES = """
dead_to = {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": dead}
channel.queue_declare(dead, durable=True)
channel.queue_declare(queue, durable=True, arguments={**arguments, **dead_to})
channel.confirm_delivery()
waiting, died, refused = [], [], []
for event in events:
    try:
        channel.basic_publish("", queue, campus.to_bytes(event))
    except pika.exceptions.NackError:
        refused.append(event)
channel.connection.sleep(patience)
while True:
    method, properties, body = channel.basic_get(queue, auto_ack=True)
    if method is None:
        break
    waiting.append(campus.from_bytes(body))
while True:
    method, properties, body = channel.basic_get(dead, auto_ack=True)
    if method is None:
        break
    died.append((campus.from_bytes(body), properties.headers["x-death"][0]["reason"]))
return waiting, died, refused
"""
FATES_WRONG = {
    "no confirms": (FATES.replace("channel.confirm_delivery()", ""), "Who tells you, and did you ask it to?"),
    "stops at a nack": (FATES.replace("refused.append(event)", "raise"), "your function stopped there"),
    "no dead-letter exchange": (FATES.replace("{**arguments, **dead_to}", "arguments"), "know where its dead go"),
    "without the arguments": (FATES.replace("{**arguments, **dead_to}", "dead_to"), "Nothing happened"),
    "does not look among the dead": (
        FATES.replace("return waiting, died", "return waiting, []"),
        "know where its dead go",
    ),
    "no reasons": (
        FATES.replace(
            '(campus.from_bytes(body), properties.headers["x-death"][0]["reason"])', "campus.from_bytes(body)"
        ),
        "the reason of its death",
    ),
    "guesses the reason": (
        FATES.replace('properties.headers["x-death"][0]["reason"]', '"overflow"'),
        "What does their header `x-death` say?",
    ),
    "backwards": (
        FATES.replace("waiting.append(campus.from_bytes(body))", "waiting.insert(0, campus.from_bytes(body))"),
        "In which order did they come?",
    ),
    "two lists": (FATES.replace("return waiting, died, refused", "return waiting, died"), "three lists"),
    "returns nothing": (FATES.replace("return waiting, died, refused", ""), "is there a `return`"),
}
FATES_RIGHT = {
    "time.sleep": "import time\n" + FATES.replace("channel.connection.sleep", "time.sleep"),
    "first death reason": FATES.replace('["x-death"][0]["reason"]', '["x-first-death-reason"]'),
}


@pytest.mark.parametrize("name", FATES_WRONG)
def test_measuring_goes_wrong(rabbit: Any, name: str) -> None:
    body, question = FATES_WRONG[name]
    assert_not_yet(judge(rabbit, 4, body), question)


@pytest.mark.parametrize("name", FATES_RIGHT)
def test_measuring_goes_right_in_more_than_one_way(rabbit: Any, name: str) -> None:
    assert_correct(judge(rabbit, 4, FATES_RIGHT[name]))


# ---- 5 find the bug: the flood

LATE = "for method, properties, body in channel.consume(queue, inactivity_timeout=0.3):\n" + UNTIL
ATTEMPT = "    try:\n        work(campus.from_bytes(body))\n    except Exception:\n        {}\n"
NEXT = "\n        continue"
REJECT = "channel.basic_reject(method.delivery_tag, requeue={})"
AGAIN = 'channel.basic_publish("", queue, body, properties)'


def flood(do: str) -> str:
    return LATE + ATTEMPT.format(do) + ACK + CANCEL


FLOOD_WRONG = {
    "publishes again, at the front": (
        flood(AGAIN + "\n        channel.basic_ack(method.delivery_tag)" + NEXT),
        "which way of giving",
    ),
    "publishes again, after a reject": (
        flood(AGAIN + "\n        " + REJECT.format(False) + NEXT),
        "which way of giving",
    ),
    "throws away at once": (flood(REJECT.format(False) + NEXT), "Who tries it again?"),
    "forgets it": (flood("pass"), "Who tries it again?"),
    "neither ack nor reject": (flood("continue"), "Who tries it again?"),
    "ends with the error": (LATE + "    work(campus.from_bytes(body))\n" + ACK + CANCEL, "Who serves the rest?"),
    "leaves at an error": (flood(REJECT.format(True) + "\n        break"), "When does your worker stop?"),
    "tries in place, then forgets": (
        LATE
        + "    for _ in range(3):\n        try:\n            work(campus.from_bytes(body))\n            break\n"
        + "        except Exception:\n            pass\n"
        + ACK
        + CANCEL,
        "What did your worker tell RabbitMQ",
    ),
    "tries in place for ever": (
        LATE
        + "    while True:\n        try:\n            work(campus.from_bytes(body))\n            break\n"
        + "        except Exception:\n            pass\n"
        + ACK
        + CANCEL,
        "without a pause",
    ),
}
FLOOD_RIGHT = {
    "counts by the header": flood(
        "again = (properties.headers or {}).get('x-delivery-count', 0) < 2\n        " + REJECT.format("again") + NEXT
    ),
    "once in place, then to the dead": LATE
    + "    for last in (False, True):\n        try:\n            work(campus.from_bytes(body))\n"
    + "            channel.basic_ack(method.delivery_tag)\n            break\n        except Exception:\n"
    + "            if last:\n                channel.basic_reject(method.delivery_tag, requeue=False)\n"
    + CANCEL,
    "prefetch 1": "channel.basic_qos(prefetch_count=1)\n" + flood(REJECT.format(True) + NEXT),
}


@pytest.mark.parametrize("name", FLOOD_WRONG)
def test_flooding_goes_on(rabbit: Any, name: str) -> None:
    body, question = FLOOD_WRONG[name]
    assert_not_yet(judge(rabbit, 5, body), question)


@pytest.mark.parametrize("name", FLOOD_RIGHT)
def test_flooding_ends_in_more_than_one_way(rabbit: Any, name: str) -> None:
    assert_correct(judge(rabbit, 5, FLOOD_RIGHT[name]))


def test_a_nack_is_counted_up_to_4_2(rabbit: Any) -> None:
    outcome = judge(rabbit, 5, flood("channel.basic_nack(method.delivery_tag, requeue=True)" + NEXT))
    if tuple(map(int, rabbit.version.split(".")[:2])) < (4, 3):
        assert_correct(outcome)
    else:
        assert_not_yet(outcome, "which way of giving a message back does RabbitMQ count?")


# ---- 6 a line that breaks

OWN = 'keep = pika.BasicProperties(message_id=f"subscribed-{event.user}", delivery_mode=2)\n'
SEND = 'channel.basic_publish("", queue, campus.to_bytes(event), keep)\n'
EACH = f"""
for event in events:
    {OWN}
    for tries in range(5):
        try:
            with connect() as connection, connection.channel() as channel:
                channel.confirm_delivery()
                {SEND}
            break
        except pika.exceptions.AMQPError as error:
            last = error
    else:
        raise last
"""
ALL = f"""
with connect() as connection, connection.channel() as channel:
    channel.confirm_delivery()
    for event in events:
        {OWN}
        {SEND}
"""
KEPT = f"""
todo, tries, connection = list(events), 0, None
while todo:
    try:
        if connection is None:
            connection = connect()
            channel = connection.channel()
            channel.confirm_delivery()
        event = todo[0]
        {OWN}
        {SEND}
        todo.pop(0)
        tries = 0
    except pika.exceptions.AMQPError:
        connection, tries = None, tries + 1
        if tries == 5:
            raise
connection.close()
"""

SURVIVE_WRONG = {
    "gives up": (ALL, "your function gave up"),
    "no confirms": (EACH.replace("channel.confirm_delivery()", ""), "By what does your function know"),
    "swallows the error": (EACH.replace("last = error", "break"), "By what does your function know"),
    "the same dead channel": (
        f"""
with connect() as connection, connection.channel() as channel:
    channel.confirm_delivery()
    for event in events:
        {OWN}
        while True:
            try:
                {SEND}
                break
            except pika.exceptions.AMQPError:
                pass
""",
        "still running after 3 s",
    ),
    "no message_id": (EACH.replace('message_id=f"subscribed-{event.user}", ', ""), "Which property names a message?"),
    "a new id for each try": (
        "import uuid\n" + EACH.replace('f"subscribed-{event.user}"', "str(uuid.uuid4())"),
        "of what happened, or of the try?",
    ),
    "transient": (EACH.replace(", delivery_mode=2", ""), "Which property keeps a message?"),
    "leaves connections open": (
        EACH.replace(
            "with connect() as connection, connection.channel() as channel:", "if channel := connect().channel():"
        ),
        "Who hangs up?",
    ),
    "tries for ever": (EACH.replace("for tries in range(5)", "while True"), "After which try does it end?"),
    "tells nobody": (EACH.replace("raise last", "pass"), "Who is told?"),
    "one try": (EACH.replace("range(5)", "range(1)"), "gave up"),
}
SURVIVE_RIGHT = {
    "for and else": EACH,
    "one connection until it breaks": KEPT,
    "everything again": f"""
for tries in range(5):
    try:
        {ALL.strip().replace(chr(10), chr(10) + " " * 8)}
        return
    except pika.exceptions.AMQPError as error:
        last = error
raise last
""",
}


@pytest.mark.parametrize("name", SURVIVE_WRONG)
def test_surviving_goes_wrong(rabbit: Any, name: str) -> None:
    body, question = SURVIVE_WRONG[name]
    assert_not_yet(judge(rabbit, 6, body), question)


@pytest.mark.parametrize("name", SURVIVE_RIGHT)
def test_surviving_goes_right_in_more_than_one_way(rabbit: Any, name: str) -> None:
    assert_correct(judge(rabbit, 6, SURVIVE_RIGHT[name]))
