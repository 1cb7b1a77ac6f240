"""Lab 05 on a real broker: wrong in the classic ways, right in more than one way."""

from typing import Any

import pika
import pytest
from answers import answer, assert_correct, assert_not_yet, with_bodies

from mqlab.exercises import Outcome


def judge(rabbit: Any, n: int, body: str) -> Outcome:
    """Judge the starter's function with another body."""
    return answer("05", n, with_bodies("05", n, body), rabbit)


# ---- 1 publish

KEEP = 'keep = pika.BasicProperties(delivery_mode=2, content_type="application/json")\n'
DURABLE = "channel.queue_declare(queue, durable=True)\n"
EACH = "for event in events:\n"
PUBLISH = EACH + '    channel.basic_publish("", queue, campus.to_bytes(event), keep)\n'

PUBLISH_WRONG = {
    "nothing declared": (KEEP + PUBLISH, "there is no queue `"),
    "another queue declared": (
        KEEP + "channel.queue_declare('sign-ups', durable=True)\n" + PUBLISH,
        "under the name you were given",
    ),
    "exclusive queue": (
        KEEP + "channel.queue_declare(queue, exclusive=True)\n" + PUBLISH,
        "may it outlive your connection?",
    ),
    "queue that deletes itself": (
        KEEP + "channel.queue_declare(queue, durable=True, auto_delete=True)\n" + PUBLISH,
        "deletes itself after its last consumer",
    ),
    "wrong routing key": (
        KEEP + DURABLE + EACH + '    channel.basic_publish("", "sign-up", campus.to_bytes(event), keep)',
        "With which routing key did you publish?",
    ),
    "an exchange that is not there": (
        KEEP + DURABLE + EACH + '    channel.basic_publish("campus", queue, campus.to_bytes(event), keep)',
        "there is no exchange of that name",
    ),
    "str() for a body": (
        KEEP + DURABLE + EACH + '    channel.basic_publish("", queue, str(event), keep)',
        "How does an event become bytes?",
    ),
    "a dict's str for a body": (
        KEEP + DURABLE + EACH + '    channel.basic_publish("", queue, str({"user": event.user}), keep)',
        "How does an event become bytes?",
    ),
    "queue emptied first": (KEEP + DURABLE + "channel.queue_purge(queue)\n" + PUBLISH, "Who emptied the queue?"),
    "only the first": (KEEP + DURABLE + PUBLISH.replace("events", "events[:1]"), "Is each sent once?"),
    "everything twice": (KEEP + DURABLE + PUBLISH + PUBLISH, "Is each sent once?"),
    "backwards": (KEEP + DURABLE + PUBLISH.replace("events", "reversed(events)"), "in this order"),
    "no content type": (
        "keep = pika.BasicProperties(delivery_mode=2)\n" + DURABLE + PUBLISH,
        "Which property tells a consumer?",
    ),
    "transient messages": (
        'keep = pika.BasicProperties(content_type="application/json")\n' + DURABLE + PUBLISH,
        "after a restart it would be empty",
    ),
    "never comes back": (KEEP + DURABLE + PUBLISH + "channel.start_consuming()\nwhile True: pass", "still running"),
}
PUBLISH_RIGHT = {
    "confirmed and mandatory": KEEP
    + DURABLE
    + "channel.confirm_delivery()\n"
    + PUBLISH.replace("keep)", "keep, True)"),
    "its own JSON": (
        "import json, dataclasses\n"
        + KEEP
        + DURABLE
        + EACH
        + '    body = json.dumps({"event": "SignUp"} | dataclasses.asdict(event))\n'
        + '    channel.basic_publish("", queue, body, keep)'
    ),
    "a quorum queue": KEEP
    + 'channel.queue_declare(queue, durable=True, arguments={"x-queue-type": "quorum"})\n'
    + PUBLISH,
    "an exchange of its own": (
        KEEP
        + DURABLE
        + 'channel.exchange_declare(queue, "direct", durable=True)\n'
        + "channel.queue_bind(queue, queue, 'new')\n"
        + EACH
        + '    channel.basic_publish(queue, "new", campus.to_bytes(event), keep)'
    ),
    "closes its channel": KEEP + DURABLE + PUBLISH + "channel.close()",
}


@pytest.mark.parametrize("name", PUBLISH_WRONG)
def test_publishing_goes_wrong(rabbit: Any, name: str) -> None:
    body, question = PUBLISH_WRONG[name]
    assert_not_yet(judge(rabbit, 1, body), question)


def test_a_queue_that_is_not_durable_is_refused_by_rabbitmq_or_by_the_check(rabbit: Any) -> None:
    outcome = judge(rabbit, 1, KEEP + "channel.queue_declare(queue)\n" + PUBLISH)
    question = (
        "Which word lets a queue outlive a restart?" if refuses_transient(rabbit) else "would not outlive a restart"
    )
    assert_not_yet(outcome, question)


def refuses_transient(rabbit: Any) -> bool:
    """RabbitMQ 4.3 does; older ones do not."""
    try:
        with pika.BlockingConnection(pika.URLParameters(rabbit.url)) as connection, connection.channel() as channel:
            channel.queue_declare(rabbit.name("transient"))
            channel.queue_delete(rabbit.name("transient"))
    except pika.exceptions.ConnectionClosedByBroker as error:
        assert error.reply_code == 541
        return True
    return False


@pytest.mark.parametrize("name", PUBLISH_RIGHT)
def test_publishing_goes_right_in_more_than_one_way(rabbit: Any, name: str) -> None:
    assert_correct(judge(rabbit, 1, PUBLISH_RIGHT[name]))


# ---- 2 take

CONSUME = "for method, properties, body in channel.consume(queue):\n"
WORK = "    work(campus.from_bytes(body))\n"
ACK = "    channel.basic_ack(method.delivery_tag)\n"
COUNT = "    n -= 1\n    if n == 0:\n        break\n"
CANCEL = "channel.cancel()\n"
CALLBACK = """
left = [n]

def on_message(channel, method, properties, body):
    work(campus.from_bytes(body))
    {ack}
    left[0] -= 1
    if left[0] == 0:
        {stop}

channel.basic_consume(queue, on_message)
channel.start_consuming()
"""

TAKE_WRONG = {
    "auto_ack": (
        CONSUME.replace("(queue)", "(queue, auto_ack=True)") + WORK + COUNT + CANCEL,
        "if your consumer says `auto_ack=True`?",
    ),
    "auto_ack with an ack": (
        CONSUME.replace("(queue)", "(queue, auto_ack=True)") + WORK + ACK + COUNT + CANCEL,
        "if your consumer says `auto_ack=True`?",
    ),
    "no ack": (CONSUME + WORK + COUNT + CANCEL, "Who tells RabbitMQ that three are done"),
    "ack before the work": (CONSUME + ACK + WORK + COUNT + CANCEL, "after the work, or before?"),
    "basic_get with auto_ack": (
        "for _ in range(n):\n    work(campus.from_bytes(channel.basic_get(queue, auto_ack=True)[2]))",
        "after the work, or before?",
    ),
    "the last one not acked": (CONSUME + WORK + COUNT + ACK + CANCEL, "before you leave the loop?"),
    "one ack for all that was sent": (
        CONSUME + WORK + COUNT + "channel.basic_ack(0, multiple=True)\n" + CANCEL,
        "or to `multiple`?",
    ),
    "acks at the end": (
        "tags = []\n"
        + CONSUME
        + WORK
        + "    tags.append(method.delivery_tag)\n"
        + COUNT
        + "for tag in tags:\n    channel.basic_ack(tag)\n"
        + CANCEL,
        "or all at the end?",
    ),
    "ack on another channel": (
        "other = channel.connection.channel()\n" + CONSUME + WORK + ACK.replace("channel.", "other.") + COUNT + CANCEL,
        "channel that brought",  # how much of it RabbitMQ has said when the answer ends is a matter of time
    ),
    "acks twice": (CONSUME + WORK + ACK + ACK + COUNT + CANCEL, "once, with its own tag"),
    "acks the wrong tag": (CONSUME + WORK + "    channel.basic_ack(method.delivery_tag + 100)\n" + COUNT, "own tag"),
    "never stops": (CONSUME + WORK + ACK + CANCEL, "What makes it stop after the last one?"),
    "start_consuming without end": (
        CALLBACK.format(ack="channel.basic_ack(method.delivery_tag)", stop="pass"),
        "What makes it stop after the last one?",
    ),
    "waits for one more": (
        CONSUME + "    if n == 0:\n        break\n" + WORK + ACK + "    n -= 1\n" + CANCEL,
        "waits for one more",
    ),
    "takes all": (
        "for method, properties, body in channel.consume(queue, inactivity_timeout=0.3):\n"
        + "    if method is None:\n        break\n"
        + WORK
        + ACK
        + CANCEL,
        "`work` was called 5 times",
    ),
    "back before the work": (
        "channel.basic_consume(queue, lambda c, m, p, body: work(campus.from_bytes(body)))",
        "before any work was done",
    ),
    "the body for an event": (CONSUME + "    work(body)\n" + ACK + COUNT + CANCEL, "`work` was given bytes"),
    "leaves its consumer": (CONSUME + WORK + ACK + COUNT, "your consumer is still there"),
    "another queue": (CONSUME.replace("(queue)", "('nobody')") + WORK + ACK, "there is no queue of that name"),
}
TAKE_RIGHT = {
    "basic_get": """
for _ in range(n):
    method, properties, body = channel.basic_get(queue)
    work(campus.from_bytes(body))
    channel.basic_ack(method.delivery_tag)
""",
    "callback": CALLBACK.format(ack="channel.basic_ack(method.delivery_tag)", stop="channel.stop_consuming()"),
    "prefetch": "channel.basic_qos(prefetch_count=1)\n" + CONSUME + WORK + ACK + COUNT + CANCEL,
    "enumerate": CONSUME.replace("method,", "(method,")
    .replace("body in channel.consume(queue)", "body) in X")
    .replace("for ", "for number, ")
    .replace("X", "enumerate(channel.consume(queue), 1)")
    + WORK
    + ACK
    + "    if number == n:\n        break\n"
    + CANCEL,
    "gives a failed one back": """
done = 0
for method, properties, body in channel.consume(queue):
    try:
        work(campus.from_bytes(body))
    except Exception:
        channel.basic_nack(method.delivery_tag)
        continue
    channel.basic_ack(method.delivery_tag)
    done += 1
    if done == n:
        break
channel.cancel()
""",
    "closes its channel": CONSUME + WORK + ACK + COUNT + "channel.close()",
}


@pytest.mark.parametrize("name", TAKE_WRONG)
def test_taking_goes_wrong(rabbit: Any, name: str) -> None:
    body, question = TAKE_WRONG[name]
    assert_not_yet(judge(rabbit, 2, body), question)


@pytest.mark.parametrize("name", TAKE_RIGHT)
def test_taking_goes_right_in_more_than_one_way(rabbit: Any, name: str) -> None:
    assert_correct(judge(rabbit, 2, TAKE_RIGHT[name]))


# ---- 3 find the bug

QUIET = "for method, properties, body in channel.consume(queue, inactivity_timeout=0.3):\n"
UNTIL = "    if method is None:\n        break\n"
SEND = "    send(campus.from_bytes(body))\n"
TRY = "    try:\n        send(campus.from_bytes(body))\n    except Exception:\n        {}\n"

MAILS_WRONG = {
    "auto_ack as before": (
        QUIET.replace("queue,", "queue, auto_ack=True,") + UNTIL + SEND + "    print('sent')\n" + CANCEL,
        "what had become of the other messages?",
    ),
    "ack before the mail": (QUIET + UNTIL + ACK + SEND + CANCEL, "What did RabbitMQ hear about that message"),
    "swallows the error and acks": (
        QUIET + UNTIL + TRY.format("pass") + ACK + CANCEL,
        "what had become of the other messages?",
    ),
    "throws away what fails": (
        QUIET + UNTIL + TRY.format("channel.basic_nack(method.delivery_tag, requeue=False)\n        return") + ACK,
        "What did RabbitMQ hear about that message",
    ),
    "never acks": (QUIET + UNTIL + SEND + CANCEL, "When does RabbitMQ hear that a mail is done?"),
    "acks at the end": (
        "tags = []\n"
        + QUIET
        + UNTIL
        + SEND
        + "    tags.append(method.delivery_tag)\n"
        + "for tag in tags:\n    channel.basic_ack(tag)\n"
        + CANCEL,
        "When does RabbitMQ hear that a mail is done?",
    ),
    "puts it back at once, for ever": (
        QUIET + UNTIL + TRY.format("channel.basic_nack(method.delivery_tag)\n        continue") + ACK,
        "called it 100 times without a pause",
    ),
    "waits for ever": (CONSUME + SEND + ACK, "How does it notice that nobody is left?"),
    "one mail a start": (QUIET + UNTIL + SEND + ACK + "    break\n" + CANCEL, "Why did your worker stop?"),
}
MAILS_RIGHT = {
    "prefetch": "channel.basic_qos(prefetch_count=1)\n" + QUIET + UNTIL + SEND + ACK + CANCEL,
    "puts it back and leaves": QUIET
    + UNTIL
    + TRY.format("channel.basic_nack(method.delivery_tag)\n        break")
    + ACK
    + CANCEL,
    "basic_get": """
while True:
    method, properties, body = channel.basic_get(queue)
    if method is None:
        return
    send(campus.from_bytes(body))
    channel.basic_ack(method.delivery_tag)
""",
}


@pytest.mark.parametrize("name", MAILS_WRONG)
def test_mending_goes_wrong(rabbit: Any, name: str) -> None:
    body, question = MAILS_WRONG[name]
    assert_not_yet(judge(rabbit, 3, body), question)


@pytest.mark.parametrize("name", MAILS_RIGHT)
def test_mending_goes_right_in_more_than_one_way(rabbit: Any, name: str) -> None:
    assert_correct(judge(rabbit, 3, MAILS_RIGHT[name]))


# ---- 4 what a queue keeps

WITH = "with connect() as connection, connection.channel() as channel:\n"
READY = "channel.queue_declare(queue, passive=True).method.message_count\n"
BEFORE = WITH + "    before = " + READY
SENT = """\
    channel.confirm_delivery()
    for event in events:
        channel.basic_publish("", queue, campus.to_bytes(event))
"""
AFTER = WITH + "    after = " + READY
HELD = "    channel.basic_get(queue)\n    in_hand = " + READY
RETURN = "return before, after, in_hand"

KEPT_WRONG = {
    "numbers by heart": ("return 2, 5, 4", "You called `connect()` 0 times."),
    "one connection": (
        BEFORE + SENT + "    after = " + READY + HELD + RETURN,
        "You called `connect()` 1 time. Does the producer hang up",
    ),
    "left open": (
        BEFORE + SENT + "channel = connect().channel()\nafter = " + READY + HELD.replace("    ", "") + RETURN,
        "and a connection is still open",
    ),
    "takes all to count": (
        BEFORE
        + SENT
        + AFTER
        + "    while channel.basic_get(queue, auto_ack=True)[0]:\n        pass\n"
        + "return 2, 5, 4",
        "Did you count the messages, or take them all?",
    ),
    "empties the queue first": (
        WITH + "    channel.queue_purge(queue)\n    before = " + READY + SENT + AFTER + HELD + RETURN,
        "Did you empty the queue first?",
    ),
    "wrong routing key": (
        BEFORE + SENT.replace("queue", "'queue'") + AFTER + HELD + RETURN,
        "Which routing key did you use?",
    ),
    "acked in hand": (
        BEFORE + SENT + AFTER + HELD.replace("(queue)\n", "(queue, auto_ack=True)\n") + RETURN,
        "Who told RabbitMQ that it was done?",
    ),
    "published twice": (BEFORE + SENT + SENT + AFTER + HELD + RETURN, "8 messages are in the queue"),
    "counted after the publishing": (
        WITH + SENT + "    before = " + READY + AFTER + HELD + RETURN,
        "gave back (5, 5, 4)",
    ),
    "all in hand": (
        BEFORE
        + SENT
        + AFTER
        + "    next(channel.consume(queue, inactivity_timeout=1))\n    in_hand = "
        + READY
        + RETURN,
        "gave back (2, 5, 0)",
    ),
    "nothing given back": (BEFORE + SENT + AFTER + HELD, "is there a `return`"),
    "a list": (BEFORE + SENT + AFTER + HELD + "return [before, after, in_hand]", "It gave back list"),
    "queue declared otherwise": (
        WITH + "    channel.queue_declare(queue, exclusive=True)\n" + RETURN,
        "RabbitMQ",
    ),
}
KEPT_RIGHT = {
    "four connections": BEFORE + WITH + SENT + AFTER + WITH + HELD + RETURN,
    "closed by hand": (
        "first = connect()\nchannel = first.channel()\nbefore = "
        + READY
        + SENT.replace("\n    ", "\n").lstrip()
        + "first.close()\nsecond = connect()\nchannel = second.channel()\n"
        + "after = channel.queue_declare(queue, durable=True).method.message_count\n"
        + HELD.replace("    ", "")
        + "second.close()\n"
        + RETURN
    ),
    "with prefetch": (
        BEFORE
        + SENT
        + AFTER
        + "    channel.basic_qos(prefetch_count=1)\n"
        + "    next(channel.consume(queue, inactivity_timeout=1))\n    in_hand = "
        + READY
        + RETURN
    ),
}


@pytest.mark.parametrize("name", KEPT_WRONG)
def test_measuring_goes_wrong(rabbit: Any, name: str) -> None:
    body, question = KEPT_WRONG[name]
    assert_not_yet(judge(rabbit, 4, body), question)


@pytest.mark.parametrize("name", KEPT_RIGHT)
def test_measuring_goes_right_in_more_than_one_way(rabbit: Any, name: str) -> None:
    assert_correct(judge(rabbit, 4, KEPT_RIGHT[name]))


# ---- 5 until it is quiet

SERVE = "served = 0\nfor method, properties, body in channel.consume(queue, inactivity_timeout=quiet):\n"
SERVED = "    served += 1\n"
GIVE = "return served"

SERVE_WRONG = {
    "counts at the beginning": (
        f"n = {READY}" + "served = n\n" + CONSUME + WORK + ACK + COUNT + CANCEL + GIVE,
        "Did you count at the beginning?",
    ),
    "leaves when it is empty": (
        """
served = 0
while True:
    method, properties, body = channel.basic_get(queue)
    if method is None:
        return served
    work(campus.from_bytes(body))
    channel.basic_ack(method.delivery_tag)
    served += 1
""",
        "Is a queue quiet as soon as it is empty?",
    ),
    "never leaves": (
        "served = 0\n" + CONSUME + WORK + ACK + SERVED + GIVE,
        "How does it learn of the quiet?",
    ),
    "does not notice the quiet": (
        SERVE + "    if method is None:\n        continue\n" + WORK + ACK + SERVED + GIVE,
        "How does it learn of the quiet?",
    ),
    "no ack": (SERVE + UNTIL + WORK + SERVED + CANCEL + GIVE, "came back to the queue"),
    "ack before the work": (SERVE + UNTIL + ACK + WORK + SERVED + CANCEL + GIVE, "after the work, or before?"),
    "auto_ack": (
        SERVE.replace("queue,", "queue, auto_ack=True,") + UNTIL + WORK + SERVED + CANCEL + GIVE,
        "after the work, or before?",
    ),
    "leaves its consumer": (SERVE + UNTIL + WORK + ACK + SERVED + GIVE, "Who cancels it?"),
    "gives nothing back": (SERVE + UNTIL + WORK + ACK + SERVED + CANCEL, "gave back None"),
    "counts the quiet as well": (SERVE + SERVED + UNTIL + WORK + ACK + CANCEL + GIVE, "gave back 6"),
    "serves nobody": ("channel.queue_purge(queue)\nreturn 3", "nobody was served"),
    "works on each twice": (SERVE + UNTIL + WORK + WORK + ACK + SERVED + CANCEL + GIVE, "served twice"),
}
SERVE_RIGHT = {
    "a timer and a callback": """
served = []

def stop():
    channel.stop_consuming()

def on_message(channel, method, properties, body):
    connection.remove_timeout(timer[0])
    work(campus.from_bytes(body))
    channel.basic_ack(method.delivery_tag)
    served.append(body)
    timer[0] = connection.call_later(quiet, stop)

connection = channel.connection
timer = [connection.call_later(quiet, stop)]
channel.basic_consume(queue, on_message)
channel.start_consuming()
return len(served)
""",
    "asks again and again": """
import time

served, last = 0, time.monotonic()
while time.monotonic() - last < quiet:
    method, properties, body = channel.basic_get(queue)
    if method is None:
        channel.connection.process_data_events(time_limit=0.01)
        continue
    work(campus.from_bytes(body))
    channel.basic_ack(method.delivery_tag)
    served, last = served + 1, time.monotonic()
return served
""",
}


@pytest.mark.parametrize("name", SERVE_WRONG)
def test_serving_goes_wrong(rabbit: Any, name: str) -> None:
    body, question = SERVE_WRONG[name]
    assert_not_yet(judge(rabbit, 5, body), question)


@pytest.mark.parametrize("name", SERVE_RIGHT)
def test_serving_goes_right_in_more_than_one_way(rabbit: Any, name: str) -> None:
    assert_correct(judge(rabbit, 5, SERVE_RIGHT[name]))
