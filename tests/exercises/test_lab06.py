"""Lab 06 on a real broker: wrong in the classic ways, right in more than one way."""

from typing import Any

import pytest
from answers import answer, assert_correct, assert_not_yet, with_bodies

from mqlab.exercises import Outcome


def judge(rabbit: Any, n: int, body: str, before: str = "") -> Outcome:
    """Judge the starter's first function with another body."""
    return answer("06", n, with_bodies("06", n, body, before=before), rabbit)


# ---- 1 a fair worker

ONE = "channel.basic_qos(prefetch_count=1)\n"
EACH = "for method, properties, body in channel.consume(queue, inactivity_timeout=quiet):\n"
UNTIL = "    if method is None:\n        break\n"
WORK = "    work(campus.from_bytes(body))\n"
ACK = "    channel.basic_ack(method.delivery_tag)\n"
CANCEL = "channel.cancel()\n"

FAIR_WRONG = {
    "prefetch 0": (ONE.replace("1", "0") + EACH + UNTIL + WORK + ACK + CANCEL, "you held all"),
    "limit of two": (ONE.replace("1", "2") + EACH + UNTIL + WORK + ACK + CANCEL, "besides the one you work on"),
    "limit set too late": (
        EACH + UNTIL + "    " + ONE + WORK + ACK + CANCEL,
        "before you began to consume",
    ),
    "auto_ack": (
        ONE + EACH.replace("queue,", "queue, auto_ack=True,") + UNTIL + WORK + CANCEL,
        "an ack before the work, or `auto_ack`?",
    ),
    "ack before the work": (ONE + EACH + UNTIL + ACK + WORK + CANCEL, "an ack before the work, or `auto_ack`?"),
    "forgotten ack": (ONE + EACH + UNTIL + WORK + CANCEL, "and then nothing more came"),
    "forgotten ack, no limit": (EACH + UNTIL + WORK + CANCEL, "Which ack is missing?"),
    "ack on another channel": (
        ONE
        + "other = channel.connection.channel()\n"
        + EACH
        + UNTIL
        + WORK
        + ACK.replace("channel.", "other.")
        + CANCEL,
        "and on which channel",
    ),
    "swallows the error and acks": (
        ONE + EACH + UNTIL + "    try:\n    " + WORK + "    except Exception:\n        pass\n" + ACK + CANCEL,
        "Who told RabbitMQ that this was done",
    ),
    "leaves its consumer": (ONE + EACH + UNTIL + WORK + ACK, "your consumer is still there"),
    "never stops": (
        ONE + EACH.replace(", inactivity_timeout=quiet", "") + WORK + ACK,
        "How does it notice the quiet?",
    ),
    "no work": ("return None", "Who calls `work`?"),
}
FAIR_RIGHT = {
    "basic_get": """
import time
quiet_since = time.monotonic()
while time.monotonic() < quiet_since + quiet:
    method, properties, body = channel.basic_get(queue)
    if method is None:
        time.sleep(0.05)
        continue
    work(campus.from_bytes(body))
    channel.basic_ack(method.delivery_tag)
    quiet_since = time.monotonic()
""",
    "callback": """
connection = channel.connection
timer = None

def on_message(channel, method, properties, body):
    nonlocal timer
    connection.remove_timeout(timer)
    work(campus.from_bytes(body))
    channel.basic_ack(method.delivery_tag)
    timer = connection.call_later(quiet, channel.stop_consuming)

channel.basic_qos(prefetch_count=1)
timer = connection.call_later(quiet, channel.stop_consuming)
channel.basic_consume(queue, on_message)
channel.start_consuming()
""",
    "closes its channel": ONE + EACH + UNTIL + WORK + ACK + "channel.close()",
}


@pytest.mark.parametrize("name", FAIR_WRONG)
def test_a_fair_worker_goes_wrong(rabbit: Any, name: str) -> None:
    body, question = FAIR_WRONG[name]
    assert_not_yet(judge(rabbit, 1, body), question)


@pytest.mark.parametrize("name", FAIR_RIGHT)
def test_a_fair_worker_goes_right_in_more_than_one_way(rabbit: Any, name: str) -> None:
    assert_correct(judge(rabbit, 1, FAIR_RIGHT[name]))


# ---- 2 the worker that falls asleep

TWO = ONE.replace("1", "2")
QUIET = "for method, properties, body in channel.consume(queue, inactivity_timeout=0.3):\n"
EVENT = "    event = campus.from_bytes(body)\n"
SKIP = "    if event.user in printed:\n        {}\n        continue\n"
PRINT = "    work(event)\n    printed.add(event.user)\n"
ACK_FIRST = SKIP.format("channel.basic_ack(method.delivery_tag)")
SETTLE = "channel.basic_ack(method.delivery_tag)"

ONCE_WRONG = {
    "as it was": (TWO + QUIET + UNTIL + EVENT + SKIP.format("print()") + PRINT + ACK + CANCEL, "Which two did it"),
    "no limit": (QUIET + UNTIL + EVENT + SKIP.format("pass") + PRINT + ACK + CANCEL, "an order of Amina, Björn, Diego"),
    "one ack for all before": (
        TWO + QUIET + UNTIL + EVENT + SKIP.format("pass") + PRINT + ACK.replace(")", ", multiple=True)") + CANCEL,
        "an order of Diego is in the queue again",
    ),
    "gives it back, for ever": (
        TWO + QUIET + UNTIL + EVENT + SKIP.format("channel.basic_nack(method.delivery_tag)") + PRINT + ACK + CANCEL,
        "Where does an order go that it skips",
    ),
    "auto_ack": (
        TWO + QUIET.replace("queue,", "queue, auto_ack=True,") + UNTIL + EVENT + SKIP.format("pass") + PRINT + CANCEL,
        "never got a certificate",
    ),
    "ack first of all": (TWO + QUIET + UNTIL + ACK + EVENT + SKIP.format("pass") + PRINT + CANCEL, "At which moment"),
    "noted before the work": (
        TWO + QUIET + UNTIL + EVENT + ACK_FIRST + "    printed.add(event.user)\n    work(event)\n" + ACK + CANCEL,
        "for RabbitMQ and for `printed`?",
    ),
    "ack on another channel": (
        "other = channel.connection.channel()\n"
        + TWO
        + QUIET
        + UNTIL
        + EVENT
        + ACK_FIRST.replace("channel.", "other.")
        + PRINT
        + ACK
        + CANCEL,
        "channel",
    ),
    "prints both": (TWO + QUIET + UNTIL + EVENT + PRINT + ACK + CANCEL, "Somebody got two certificates"),
}
ONCE_RIGHT = {
    "not in": TWO
    + QUIET
    + UNTIL
    + EVENT
    + "    if event.user not in printed:\n        work(event)\n        printed.add(event.user)\n"
    + ACK
    + CANCEL,
    "refuses it": TWO
    + QUIET
    + UNTIL
    + EVENT
    + SKIP.format("channel.basic_reject(method.delivery_tag, requeue=False)")
    + PRINT
    + ACK
    + CANCEL,
    "basic_get": """
while True:
    method, properties, body = channel.basic_get(queue)
    if method is None:
        return
    event = campus.from_bytes(body)
    if event.user not in printed:
        work(event)
        printed.add(event.user)
    channel.basic_ack(method.delivery_tag)
""",
}


@pytest.mark.parametrize("name", ONCE_WRONG)
def test_waking_goes_wrong(rabbit: Any, name: str) -> None:
    body, question = ONCE_WRONG[name]
    assert_not_yet(judge(rabbit, 2, body), question)


@pytest.mark.parametrize("name", ONCE_RIGHT)
def test_waking_goes_right_in_more_than_one_way(rabbit: Any, name: str) -> None:
    assert_correct(judge(rabbit, 2, ONCE_RIGHT[name]))


# ---- 3 who holds what

GUESS = "prediction = {0: (5, 5), 1: (1, 9), 4: (4, 6)}"
MEASURE = """
done = []

def at_once(channel, method, properties, body):
    done.append(body)
    channel.basic_ack(method.delivery_tag)

with connect() as ada, connect() as bo:
    for connection, on_message in ((ada, print), (bo, at_once)):
        channel = connection.channel()
        channel.basic_qos(prefetch_count=prefetch)
        channel.basic_consume(queue, on_message)
    send()
    count = -1
    while len(done) > count:
        count = len(done)
        bo.sleep(0.3)
return 10 - len(done), len(done)
"""
LIMIT = "        channel.basic_qos(prefetch_count=prefetch)\n"
CONSUME = "        channel.basic_consume(queue, on_message)\n"
BO_ALONE = """
with connect() as ada, connect() as bo:
    {first}.basic_consume(queue, print)
    send()
    channel = bo.channel()
    channel.basic_qos(prefetch_count=prefetch)
    done = 0
    for method, properties, body in channel.consume(queue, inactivity_timeout=0.3):
        if method is None:
            break
        channel.basic_ack(method.delivery_tag)
        done += 1
return 10 - done, done
"""

SHARES_WRONG = {
    "predicted all for Ada": (GUESS.replace("(5, 5)", "(10, 0)"), MEASURE, "Your measurement is right"),
    "no prediction": ("prediction = None", MEASURE, "`prediction` should give back a dict"),
    "numbers by heart": (GUESS, "return {0: (5, 5), 1: (1, 9), 4: (4, 6)}[prefetch]", "`send()` was called 0 times"),
    "sends first": (GUESS, "send()\n" + MEASURE.replace("    send()\n", ""), "0 consumers"),
    "Bo comes late": (GUESS, BO_ALONE.format(first="ada.channel()"), "1 consumer at this queue"),
    "no limit": (GUESS, MEASURE.replace(LIMIT, ""), "With prefetch 1, 5 came back"),
    "limit too late": (
        GUESS,
        MEASURE.replace(LIMIT, "").replace(CONSUME, CONSUME + LIMIT),
        "before it began to consume",
    ),
    "limit for Bo only": (
        GUESS,
        MEASURE.replace(LIMIT, "        channel.basic_qos(prefetch_count=prefetch if connection is bo else 0)\n"),
        "on the channel of each",
    ),
    "Bo acks nothing": (GUESS, MEASURE.replace("    channel.basic_ack(method.delivery_tag)\n", ""), "all ten orders"),
    "both auto_ack": (
        GUESS,
        MEASURE.replace("on_message)\n", "on_message, auto_ack=True)\n", 1).replace(
            "    channel.basic_ack", "    0 and X"
        ),
        "who acked for her?",
    ),
    "the wrong way round": (
        GUESS,
        MEASURE.replace("10 - len(done), len(done)", "len(done), 10 - len(done)"),
        "Who holds the others?",
    ),
    "left open": (GUESS, MEASURE.replace("with connect() as ada, ", "ada = connect()\nwith "), "still open"),
    "returns nothing": (GUESS, MEASURE.replace("return ", ""), "is there a `return`?"),
}
SHARES_RIGHT = {
    "callbacks": MEASURE,
    "a generator and a timer": """
with connect() as ada, connect() as bo:
    hers, his = ada.channel(), bo.channel()
    hers.basic_qos(prefetch_count=prefetch)
    hers.basic_consume(queue, print)
    his.basic_qos(prefetch_count=prefetch)
    bo_has = his.consume(queue, inactivity_timeout=0.3)
    next(bo_has)
    send()
    done = 0
    for method, properties, body in bo_has:
        if method is None:
            break
        his.basic_ack(method.delivery_tag)
        done += 1
    held = 10 - done - hers.queue_declare(queue, passive=True).method.message_count
return held, done
""",
}


def share(rabbit: Any, prediction: str, body: str) -> Outcome:
    return judge(rabbit, 3, body, before=prediction)


@pytest.mark.parametrize("name", SHARES_WRONG)
def test_measuring_goes_wrong(rabbit: Any, name: str) -> None:
    prediction, body, question = SHARES_WRONG[name]
    assert_not_yet(share(rabbit, prediction, body), question)


@pytest.mark.parametrize("name", SHARES_RIGHT)
def test_measuring_goes_right_in_more_than_one_way(rabbit: Any, name: str) -> None:
    assert_correct(share(rabbit, GUESS, SHARES_RIGHT[name]))


# ---- 4 long work

CALLBACK = """
done = 0

def finish(method):
    nonlocal done
    channel.basic_ack(method.delivery_tag)
    done += 1
    if done == n:
        channel.stop_consuming()

def long(method, body):
    {work}

def on_message(channel, method, properties, body):
    {start}

channel.basic_qos(prefetch_count={prefetch})
channel.basic_consume(queue, on_message)
channel.start_consuming()
"""
THREAD = "thread = Thread(target=long, args=(method, body), daemon=True); thread.start()"
THEN_ASK = "work(campus.from_bytes(body)); channel.connection.add_callback_threadsafe(lambda: finish(method))"


def worker(work: str = THEN_ASK, start: str = THREAD, prefetch: int = 1) -> str:
    return CALLBACK.format(work=work, start=start, prefetch=prefetch)


LONG_WRONG = {
    "in the callback": (worker("work(campus.from_bytes(body)); finish(method)", "long(method, body)"), "Who waits"),
    "waits for its thread": (worker(start=THREAD + "; thread.join()"), "no heartbeat could leave"),
    "ack from the thread": (worker("work(campus.from_bytes(body)); finish(method)"), "A pika connection is for one"),
    "ack at once": (
        worker("work(campus.from_bytes(body))", THREAD + "; finish(method)"),
        "while the work was still going on",
    ),
    "no limit": (worker(prefetch=0), "at once. The printer takes one order at a time"),
    "auto_ack": (
        worker("work(campus.from_bytes(body)); channel.connection.add_callback_threadsafe(finish)")
        .replace("finish(method):", "finish():")
        .replace("    channel.basic_ack(method.delivery_tag)\n", "")
        .replace("on_message)\n", "on_message, auto_ack=True)\n"),
        "at once",
    ),
    "forgotten ack": (
        worker().replace("    channel.basic_ack(method.delivery_tag)\n", "    pass\n"),
        "What makes it stop after the third?",
    ),
    "one more": (worker().replace("done == n", "done > n"), "you worked on Amina, Björn, Chidi, Diego"),
    "does not wait": ("Thread(target=print).start()", "Who calls `work`?"),
}
LONG_RIGHT = {
    "a loop that serves": """
from concurrent.futures import ThreadPoolExecutor

channel.basic_qos(prefetch_count=1)
with ThreadPoolExecutor() as pool:
    for done, (method, properties, body) in enumerate(channel.consume(queue), 1):
        job = pool.submit(work, campus.from_bytes(body))
        while not job.done():
            channel.connection.process_data_events(time_limit=0.01)
        channel.basic_ack(method.delivery_tag)
        if done == n:
            break
channel.cancel()
""",
    "a callback that serves": worker(
        "work(campus.from_bytes(body))",
        THREAD
        + """
    while thread.is_alive():
        channel.connection.sleep(0.01) if False else channel.connection.process_data_events(time_limit=0.01)
    finish(method)""",
    ),
    "one thread for all": """
from queue import Queue

orders, left = Queue(), n

def print_all():
    while True:
        method, body = orders.get()
        work(campus.from_bytes(body))
        channel.connection.add_callback_threadsafe(lambda method=method: finish(method))

def finish(method):
    nonlocal left
    channel.basic_ack(method.delivery_tag)
    left -= 1
    if not left:
        channel.stop_consuming()

Thread(target=print_all, daemon=True).start()
channel.basic_qos(prefetch_count=1)
channel.basic_consume(queue, lambda _, method, properties, body: orders.put((method, body)))
channel.start_consuming()
""",
}


@pytest.mark.parametrize("name", LONG_WRONG)
def test_long_work_goes_wrong(rabbit: Any, name: str) -> None:
    body, question = LONG_WRONG[name]
    assert_not_yet(judge(rabbit, 4, body), question)


@pytest.mark.parametrize("name", LONG_RIGHT)
def test_long_work_goes_right_in_more_than_one_way(rabbit: Any, name: str) -> None:
    assert_correct(judge(rabbit, 4, LONG_RIGHT[name]))


# ---- 5 stop cleanly

LOOK = "for method, properties, body in channel.consume(queue, inactivity_timeout=0.1):\n"
DO = "    if method:\n    " + WORK + "    " + ACK + "        done += 1\n"
STOP = "    if stop.is_set():\n        break\n"
THREE, RETURN = "done = 0\n" + ONE.replace("1", "3"), "return done\n"

STOP_WRONG = {
    "never looks": (THREE + LOOK + DO + CANCEL + RETURN, "Where does it look at `stop`?"),
    "looks only at messages": (
        THREE + LOOK.replace(", inactivity_timeout=0.1", "") + DO + STOP + CANCEL + RETURN,
        "while no message comes?",
    ),
    "leaves before its ack": (
        THREE
        + LOOK
        + "    if method:\n    "
        + WORK
        + "        done += 1\n"
        + "        if stop.is_set():\n            break\n    "
        + ACK
        + STOP
        + CANCEL
        + RETURN,
        "Do you acknowledge before you leave?",
    ),
    "acks all in its hands": (
        THREE
        + LOOK
        + DO
        + STOP.replace("break", "channel.basic_ack(0, multiple=True)\n        break")
        + CANCEL
        + RETURN,
        "once, with its own tag",  # cancelling gives them back, too
    ),
    "refuses the rest": (
        THREE
        + LOOK
        + "    if method and stop.is_set():\n"
        + "        channel.basic_reject(method.delivery_tag, requeue=False)\n        continue\n"
        + DO
        + "    elif stop.is_set():\n        break\n"
        + CANCEL
        + RETURN,
        "is gone. What did RabbitMQ hear about it?",
    ),
    "empties the queue": (THREE + LOOK + DO + STOP + "channel.queue_purge(queue)\n" + CANCEL + RETURN, "is gone"),
    "leaves its consumer": (THREE + LOOK + DO + STOP + RETURN, "its consumer is still there"),
    "leaves when it is quiet": (
        THREE + LOOK + DO + "    else:\n        break\n" + STOP + CANCEL + RETURN,
        "What makes it leave?",
    ),
    "returns nothing": (THREE + LOOK + DO + STOP + CANCEL, "What does it return?"),
    "ack before the work": (
        THREE + LOOK + "    if method:\n    " + ACK + "    " + WORK + "        done += 1\n" + STOP + CANCEL + RETURN,
        "an ack before the work, or `auto_ack`?",
    ),
    "stop from another thread": (
        """
done = 0

def on_message(channel, method, properties, body):
    nonlocal done
    work(campus.from_bytes(body))
    channel.basic_ack(method.delivery_tag)
    done += 1

channel.basic_qos(prefetch_count=1)
Thread(target=lambda: stop.wait(5) and channel.stop_consuming(), daemon=True).start()
channel.basic_consume(queue, on_message)
channel.start_consuming()
return done
""",
        "`stop_consuming` was called by another thread",
    ),
}
STOP_RIGHT = {
    "a thread that asks": """
done = 0

def on_message(channel, method, properties, body):
    nonlocal done
    if stop.is_set():
        channel.basic_nack(method.delivery_tag)
        return
    work(campus.from_bytes(body))
    channel.basic_ack(method.delivery_tag)
    done += 1

def watch():
    if stop.wait(5):
        channel.connection.add_callback_threadsafe(channel.stop_consuming)

channel.basic_qos(prefetch_count=1)
Thread(target=watch, daemon=True).start()
channel.basic_consume(queue, on_message)
channel.start_consuming()
return done
""",
    "basic_get": """
done = 0
while not stop.is_set():
    method, properties, body = channel.basic_get(queue)
    if method is None:
        stop.wait(0.1)
        continue
    work(campus.from_bytes(body))
    channel.basic_ack(method.delivery_tag)
    done += 1
return done
""",
    "closes its channel": THREE + LOOK + DO + STOP + "channel.close()\n" + RETURN,
}


@pytest.mark.parametrize("name", STOP_WRONG)
def test_stopping_goes_wrong(rabbit: Any, name: str) -> None:
    body, question = STOP_WRONG[name]
    assert_not_yet(judge(rabbit, 5, body), question)


@pytest.mark.parametrize("name", STOP_RIGHT)
def test_stopping_goes_right_in_more_than_one_way(rabbit: Any, name: str) -> None:
    assert_correct(judge(rabbit, 5, STOP_RIGHT[name]))


# ---- 6 the order that nobody can print

TRY = QUIET + UNTIL + EVENT + "    try:\n        work(event)\n    except Exception:\n"
ELSE = "    else:\n    " + ACK
FAIL = "        channel.basic_nack(method.delivery_tag, requeue={})\n"
NOTE = "        if method.redelivered:\n            refused.append(event)\n"
LIST, GIVE = "refused = []\n" + ONE, CANCEL + "return refused\n"

REFUSE_WRONG = {
    "for ever": (LIST + TRY + FAIL.format(True) + ELSE + GIVE, "100 times without a pause"),
    "at once": (
        LIST + TRY + FAIL.format(False) + "        refused.append(event)\n" + ELSE + GIVE,
        "Does a failed order get a second try?",
    ),
    "acks what failed": (
        LIST + TRY + "        refused.append(event)\n" + ACK + GIVE,
        "Does a failed order get a second try?",
    ),
    "auto_ack": (
        LIST + TRY.replace("queue,", "queue, auto_ack=True,") + "        refused.append(event)\n" + GIVE,
        "Does a failed order get a second try?",
    ),
    "refuses unseen what comes again": (
        LIST
        + TRY.replace(
            "    try:",
            "    if method.redelivered:\n        channel.basic_reject(method.delivery_tag, requeue=False)\n"
            "        refused.append(event)\n        continue\n    try:",
        )
        + FAIL.format(True)
        + ELSE
        + GIVE,
        "Does a failed order get a second try?",
    ),
    "the error ends it": (
        LIST + QUIET + UNTIL + EVENT + "    work(event)\n" + ACK + GIVE,
        "Who catches the error of `work`?",
    ),
    "keeps it unsettled": (
        LIST.replace("1", "0") + TRY + "        if not method.redelivered:\n    " + FAIL.format(True)
        + NOTE + ELSE + GIVE,
        "an order of Björn is still in the queue",
    ),
    "lists every failure": (
        LIST + TRY + FAIL.format("not method.redelivered") + "        refused.append(event)\n" + ELSE + GIVE,
        "What goes into it, and when?",
    ),
    "returns nothing": (
        LIST + TRY + FAIL.format("not method.redelivered") + NOTE + ELSE + CANCEL,
        "is there a `return`?",
    ),
    "three tries": (
        "seen = []\n" + LIST + TRY + "        seen.append(event)\n" + FAIL.format("seen.count(event) < 3")
        + "        if seen.count(event) == 3:\n            refused.append(event)\n" + ELSE + GIVE,
        "was tried 3 times; two were asked for",
    ),
}  # fmt: skip
REFUSE_RIGHT = {
    "nack": LIST + TRY + FAIL.format("not method.redelivered") + NOTE + ELSE + GIVE,
    "counts itself": "seen = set()\n" + LIST + TRY + """\
        if event in seen:
            channel.basic_reject(method.delivery_tag, requeue=False)
            refused.append(event)
        else:
            seen.add(event)
            channel.basic_reject(method.delivery_tag)
""" + ELSE + GIVE,
    "acks what it refuses": LIST + TRY + """\
        if not method.redelivered:
            channel.basic_nack(method.delivery_tag)
            continue
        refused.append(event)
""" + ACK + GIVE,
    "no limit": LIST.replace("1", "0") + TRY + FAIL.format("not method.redelivered") + NOTE + ELSE + GIVE,
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSE_WRONG)
def test_refusing_goes_wrong(rabbit: Any, name: str) -> None:
    body, question = REFUSE_WRONG[name]
    assert_not_yet(judge(rabbit, 6, body), question)


@pytest.mark.parametrize("name", REFUSE_RIGHT)
def test_refusing_goes_right_in_more_than_one_way(rabbit: Any, name: str) -> None:
    assert_correct(judge(rabbit, 6, REFUSE_RIGHT[name]))
