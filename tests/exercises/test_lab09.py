"""Lab 09 on a real broker: wrong in the classic ways, right in more than one way."""

import textwrap
from typing import Any

import pytest
from answers import answer, assert_correct, assert_not_yet, solution, with_bodies

from mqlab.exercises import Outcome


def judge(rabbit: Any, n: int, body: str) -> Outcome:
    """Judge the starter's function with another body."""
    return answer("09", n, with_bodies("09", n, body), rabbit)


def changed(n: int, *changes: tuple[str, str]) -> str:
    """Return the body of the solution of exercise n, with some of its text changed, as `judge` takes it."""
    lines = solution("09", n).splitlines()
    begin = next(number for number, line in enumerate(lines) if line.endswith('"""')) + 1
    text = textwrap.dedent("\n".join(lines[begin:])) + "\n"
    for old, new in changes:
        assert old in text, old
        text = text.replace(old, new)
    return text


# ---- 1 the server

PUBLISH = 'channel.basic_publish("", asked.reply_to, answer.encode(), about)\n'
ACK = "channel.basic_ack(method.delivery_tag)\n"
AGAIN = """\
    except Exception:
        channel.basic_nack(method.delivery_tag)
        continue
"""
ERROR = 'answer, about.type = str(error), "error"'
NUMBER = "correlation_id=asked.correlation_id"

SERVE_WRONG = {
    "does nothing": ("pass", "not one answer has arrived"),
    "answers to a name of its own": (changed(1, ("asked.reply_to", '"answers"')), "not one answer has arrived"),
    "no number": (changed(1, (NUMBER, "")), "An answer has come without a number"),
    "dies of a bad question": (changed(1, ("except ValueError", "except KeyError")), "your desk died of it"),
    "throws a bad question away": (changed(1, (ERROR, ACK.strip() + "; continue")), "Must it wait for ever?"),
    "an error without its type": (changed(1, (ERROR, "answer = str(error)")), "Which property tells the page"),
    "the first address for all": (
        "first = []\n" + changed(1, ("    try:", "    first.append(asked)\n    try:"), ('"", asked', '"", first[0]')),
        "Whose address do you use?",
    ),
    "the question for an answer": (
        changed(1, ("answer = look_up(body.decode())", "look_up(answer := body.decode())")),
        "What goes into the answer's body?",
    ),
    "no ack": (changed(1, (ACK, "pass\n")), "4 messages came back to the queue. Who acknowledges?"),
    "auto_ack": (changed(1, ("(queue,", "(queue, auto_ack=True,"), (ACK, "pass\n")), "is gone without an answer"),
    "ack before the work": (changed(1, (ACK, "pass\n"), ("    try:", "    " + ACK + "    try:")), "is gone without"),
    "acks all at the end": (
        "tags = []\n"
        + changed(1, (ACK, "tags.append(method.delivery_tag)\n"))
        + "for tag in tags:\n    channel.basic_ack(tag)\n",
        "its question is in the queue again",
    ),
    "ack before the answer": (
        changed(1, (ACK, "pass\n"), (PUBLISH, ACK + "    " + PUBLISH)),
        "before its answer is out",
    ),
    "tries again, for ever": (
        changed(1, ("    channel.basic_publish", AGAIN + "    channel.basic_publish")),
        "called it 100 times without a pause",
    ),
    "leaves its consumer": (changed(1, ("channel.cancel()\n", "")), "Who cancels it?"),
    "never leaves": (changed(1, ("break", "continue")), "How does it learn of the quiet?"),
}
SERVE_RIGHT = {
    "basic_get": """
while True:
    method, asked, body = channel.basic_get(queue)
    if method is None:
        return
    kind = None
    try:
        text = look_up(body.decode())
    except ValueError as error:
        text, kind = f"{error}", "error"
    about = pika.BasicProperties(type=kind, correlation_id=asked.correlation_id)
    channel.basic_publish("", asked.reply_to, text, about)
    channel.basic_ack(method.delivery_tag)
""",
    "confirmed, with prefetch": "channel.confirm_delivery()\nchannel.basic_qos(prefetch_count=1)\n" + changed(1),
    "answers on a channel of its own": "answers = channel.connection.channel()\nanswers.confirm_delivery()\n"
    + changed(1, ("channel.basic_publish", "answers.basic_publish")),
}


@pytest.mark.parametrize("name", SERVE_WRONG)
def test_answering_goes_wrong(rabbit: Any, name: str) -> None:
    body, question = SERVE_WRONG[name]
    assert_not_yet(judge(rabbit, 1, body), question)


@pytest.mark.parametrize("name", SERVE_RIGHT)
def test_answering_goes_right_in_more_than_one_way(rabbit: Any, name: str) -> None:
    assert_correct(judge(rabbit, 1, SERVE_RIGHT[name]))


# ---- 2 the client

MINE = "if answer and answer.correlation_id == number:"
OVER = """\
        if time.monotonic() > end:
            raise TimeoutError(f"no answer to {question!r}")
"""
DIRECTLY = """
channel = connection.channel()
end, number, answers = time.monotonic() + timeout, str(uuid4()), {}
def on_answer(channel, method, about, body):
    answers[about.correlation_id] = body.decode()
channel.basic_consume("amq.rabbitmq.reply-to", on_answer, auto_ack=True)
about = pika.BasicProperties(reply_to="amq.rabbitmq.reply-to", correlation_id=number)
channel.basic_publish("", queue, question, about)
while number not in answers and time.monotonic() < end:
    connection.process_data_events(time_limit=0.02)
channel.close()
if number not in answers:
    raise TimeoutError
return answers[number]
"""
POLLING = """
channel = connection.channel()
channel.queue_declare(mailbox := f"mailbox-{uuid4()}", exclusive=True)
about = pika.BasicProperties(reply_to=mailbox, correlation_id=mailbox, expiration=str(int(timeout * 1000)))
channel.basic_publish("", queue, question, about)
end = time.monotonic() + timeout
answer = None
while time.monotonic() < end and answer is None:
    method, about, body = channel.basic_get(mailbox, auto_ack=True)
    if method and about.correlation_id == mailbox:
        answer = body.decode()
    connection.sleep(0.01)
channel.queue_delete(mailbox)
if answer is None:
    raise TimeoutError("nobody")
return answer
"""

ASK_WRONG = {
    "no address": (changed(2, ("reply_to=mailbox, ", "")), "does not say where to answer"),
    "no number": (changed(2, (", correlation_id=number", ""), ("== number", "== None")), "has no number"),
    "the question is its number": (changed(2, ("str(uuid4())", '"my question"')), "had the same number"),
    "takes the first that comes": (changed(2, (MINE, "if answer:")), "you gave back '999'"),
    "takes any with a number": (changed(2, (MINE, "if answer and answer.correlation_id:")), "gave back '998'"),
    "listens elsewhere": (
        changed(2, ("reply_to=mailbox", "reply_to=channel.queue_declare('', exclusive=True).method.queue")),
        "Do you listen where you said?",
    ),
    "gives back bytes": (changed(2, ("return body.decode()", "return body")), "You gave back bytes"),
    "None when there is no answer": (
        changed(2, (OVER, OVER.replace("raise TimeoutError", "return (None, ")[:-1] + ")[0]\n")),
        "gave back None",
    ),
    "waits anew with each stranger": (
        changed(2, (OVER, OVER.replace("time.monotonic() > end", "answer is None")), ("=0.05", "=timeout")),
        "begin anew with each of them?",
    ),
    "waits for ever": (changed(2, (OVER, "")), "Who tells it that the time is over?"),
    "leaves its mailbox": (changed(2, ("    channel.queue_delete(mailbox)\n", "")), "your mailbox is still there"),
    "tidies up only after an answer": (
        changed(
            2,
            ("            return", "            channel.queue_delete(mailbox)\n            return"),
            (
                "finally:\n    channel.cancel()\n    channel.queue_delete(mailbox)\n    channel.close()\n",
                "finally:\n    pass\n",
            ),
        ),
        "even when the time is over?",
    ),
    "hangs up": (changed(2, ("    channel.close()", "    connection.close()")), "Who lent it to you"),
}
ASK_RIGHT = {
    "direct reply-to": DIRECTLY,
    "basic_get": POLLING,
    "a channel in a with": changed(2, ("    channel.close()\n", "")),
}


@pytest.mark.parametrize("name", ASK_WRONG)
def test_asking_goes_wrong(rabbit: Any, name: str) -> None:
    body, question = ASK_WRONG[name]
    assert_not_yet(judge(rabbit, 2, body), question)


@pytest.mark.parametrize("name", ASK_RIGHT)
def test_asking_goes_right_in_more_than_one_way(rabbit: Any, name: str) -> None:
    assert_correct(judge(rabbit, 2, ASK_RIGHT[name]))


# ---- 3 find the bug: who gets whose answer

ONE_NUMBER = ("number = str(uuid4())\n", "number = question\n")

ALL_WRONG = {
    "by order among its own": (
        changed(
            3,
            (
                "question = waiting.pop(about.correlation_id, None)",
                "question = waiting.pop(next(iter(waiting))) if about.correlation_id in own else None",
            ),
        )
        .replace("waiting, answers =", "own = set()\nwaiting, answers =")
        .replace("    about =", "    own.add(number)\n    about ="),
        "By what do you match them",
    ),
    "a counter": (changed(3, ("str(uuid4())", "str(len(waiting) + 1)")), "numbers that yesterday's questions had, too"),
    "a counter, and an empty mailbox": (
        "channel.queue_purge(mailbox)\n" + changed(3, ("str(uuid4())", "str(len(waiting) + 1)")),
        "What if an old answer comes late?",
    ),
    "the course is the number": (changed(3, ONE_NUMBER), "numbers that yesterday's questions had, too"),
    "one number for all": (
        "own = str(uuid4())\n" + changed(3, ("str(uuid4())", "own")),
        "share a number",
    ),
    "no number": (changed(3, (", correlation_id=number", "")), "have no number"),
    "one after the other": (
        """
answers = {}
for question in questions:
    number = str(uuid4())
    about = pika.BasicProperties(reply_to=mailbox, correlation_id=number)
    channel.basic_publish("", queue, question.encode(), about)
    for method, about, body in channel.consume(mailbox, auto_ack=True, inactivity_timeout=timeout):
        if method is None:
            raise TimeoutError
        if about.correlation_id == number:
            answers[question] = body.decode()
            break
    channel.cancel()
return answers
""",
        "before you ask the next?",
    ),
    "counts what comes": (
        "n = 0\n"
        + changed(
            3,
            ("    if question is not None:\n", "    if question is not None or n:\n        n += 1\n"),
            ("answers[question] =", "answers[question or list(answers)[0]] ="),
            ("if not waiting", "if n == len(questions)"),
        ),
        "What do you count?",
    ),
    "empties the mailbox first, but keeps the order": (
        "channel.queue_purge(mailbox)\n"
        + changed(
            3, ("question = waiting.pop(about.correlation_id, None)", "question = waiting.pop(next(iter(waiting)))")
        ),
        "By what do you match them",
    ),
}
ALL_RIGHT = {
    "a callback": """
waiting = {str(uuid4()): question for question in questions}
answers = {}

def on_answer(channel, method, about, body):
    if about.correlation_id in waiting:
        answers[waiting[about.correlation_id]] = body.decode()
    channel.basic_ack(method.delivery_tag)
    if len(answers) == len(questions):
        channel.stop_consuming()

channel.basic_consume(mailbox, on_answer)
for number, question in waiting.items():
    channel.basic_publish("", queue, question, pika.BasicProperties(reply_to=mailbox, correlation_id=number))
channel.connection.call_later(timeout, channel.stop_consuming)
channel.start_consuming()
if len(answers) < len(questions):
    raise TimeoutError
return answers
""",
    "numbers of this call, and its own counter": changed(
        3,
        ("waiting, answers =", "call = uuid4().hex\nwaiting, answers ="),
        ("str(uuid4())", 'f"{call}-{len(waiting)}"'),
    ),
}


@pytest.mark.parametrize("name", ALL_WRONG)
def test_matching_goes_wrong(rabbit: Any, name: str) -> None:
    body, question = ALL_WRONG[name]
    assert_not_yet(judge(rabbit, 3, body), question)


@pytest.mark.parametrize("name", ALL_RIGHT)
def test_matching_goes_right_in_more_than_one_way(rabbit: Any, name: str) -> None:
    assert_correct(judge(rabbit, 3, ALL_RIGHT[name]))


# ---- 4 predict, then measure

GIVEN_UP_WRONG = {
    "numbers by heart": ("return (2, 0, 0) if expire else (3, 3, 4)", "you published 0 questions"),
    "a limit in seconds": (changed(4, ("int(patience * 1000)", "patience")), "are there halves of one?"),
    "always a limit": (changed(4, (" if expire else None", "")), "When do you set it?"),
    "ten times too long": (changed(4, ("* 1000", "* 10_000")), "In which unit does RabbitMQ count"),
    "counts too early": (changed(4, ("time.sleep(patience + 0.2)", "time.sleep(0)")), "is the patience over"),
    "nothing in hand": (changed(4, ("        hand.basic_get(queue)\n", "")), "while one question is in hand"),
    "acked in hand": (
        changed(4, ("hand.basic_get(queue)", "hand.basic_get(queue, auto_ack=True)")),
        "has the one in hand gone back",
    ),
    "counts before it hangs up": (
        changed(
            4,
            ("    return at_once, later, ready(channel)", "    return at_once, later, at_last"),
            ("        later = ready(channel)\n", "        later = at_last = ready(channel)\n"),
        ),
        "has the one in hand gone back",
    ),
    "leaves a connection open": (
        changed(
            4,
            (
                "with connect() as holding, holding.channel() as hand:\n",
                "connect()\n    with connect() as holding, holding.channel() as hand:\n",
            ),
        ),
        "Who hangs up?",
    ),
}
GIVEN_UP_RIGHT = {
    "three connections, closed by hand": """
def ready():
    with connect() as connection, connection.channel() as channel:
        return channel.queue_declare(queue, durable=True).method.message_count

page = connect()
channel = page.channel()
channel.confirm_delivery()
for question in questions:
    about = pika.BasicProperties(delivery_mode=2)
    if expire:
        about.expiration = f"{patience * 1000:.0f}"
    channel.basic_publish("", queue, question, about)
page.close()
worker = connect()
worker.channel().basic_get(queue)
first = ready()
worker.sleep(patience + 0.2)
second = ready()
worker.close()
return first, second, ready()
""",
    "given back by a nack": changed(
        4,
        ("        hand.basic_get(queue)\n", "        method, _, _ = hand.basic_get(queue)\n"),
        (
            "        later = ready(channel)\n",
            "        later = ready(channel)\n        hand.basic_nack(method.delivery_tag)\n",
        ),
    ),
}


@pytest.mark.parametrize("name", GIVEN_UP_WRONG)
def test_measuring_goes_wrong(rabbit: Any, name: str) -> None:
    body, question = GIVEN_UP_WRONG[name]
    assert_not_yet(judge(rabbit, 4, body), question)


@pytest.mark.parametrize("name", GIVEN_UP_RIGHT)
def test_measuring_goes_right_in_more_than_one_way(rabbit: Any, name: str) -> None:
    assert_correct(judge(rabbit, 4, GIVEN_UP_RIGHT[name]))


# ---- 5 direct reply-to

DIRECT = '"amq.rabbitmq.reply-to"'
CONSUME = f"tag = channel.basic_consume({DIRECT}, on_answer, auto_ack=True)\n"
ASKED = '    channel.basic_publish("", queue, question.encode(), about)\n'
NO_CANCEL = ("finally:\n    channel.basic_cancel(tag)\n", "finally:\n    pass\n")

DIRECT_WRONG = {
    "asks before it listens": (
        changed(5, (CONSUME, ""), (ASKED, ASKED + "    " + CONSUME), (NO_CANCEL[0], NO_CANCEL[1])),
        "What must come before the publish?",
    ),
    "listens on another channel": (
        changed(5, ("tag = channel.", "tag = channel.connection.channel()."), NO_CANCEL),
        "nobody on its channel was listening",
    ),
    "a generator that begins too late": (
        """
number = str(uuid4())
replies = channel.consume("amq.rabbitmq.reply-to", auto_ack=True, inactivity_timeout=timeout)
about = pika.BasicProperties(reply_to="amq.rabbitmq.reply-to", correlation_id=number)
channel.basic_publish("", queue, question, about)
for method, about, body in replies:
    if method is None:
        raise TimeoutError
    if about.correlation_id == number:
        return body.decode()
""",
        "does `channel.consume(...)` begin at once?",
    ),
    "with acks": (changed(5, (", auto_ack=True", "")), "How must a direct reply be consumed?"),
    "leaves its consumer": (changed(5, NO_CANCEL), "Who cancels the first"),
    "cancels only after an answer": (
        changed(5, NO_CANCEL, ("    return answers", "    channel.basic_cancel(tag)\n    return answers")),
        "Who cancels it, whatever happens?",
    ),
    "a mailbox after all": (
        changed(
            5,
            (f"reply_to={DIRECT}", "reply_to=box"),
            (
                CONSUME,
                "box = channel.queue_declare('', exclusive=True).method.queue\n" + CONSUME.replace(DIRECT, "box"),
            ),
        ),
        "through a queue of your own",
    ),
    "no address": (changed(5, (f"reply_to={DIRECT}, ", "")), "does not say where to answer"),
    "takes the first that comes": (
        changed(5, ("answers[about.correlation_id]", "answers.setdefault(number, body.decode()); answers['x']")),
        "an answer to somebody else's question",
    ),
    "waits anew with each stranger": (
        changed(5, ("    answers[about", "    nonlocal end\n    end = time.monotonic() + timeout\n    answers[about")),
        "begin anew with each of them?",
    ),
    "closes the channel": (changed(5, ("    channel.basic_cancel(tag)", "    channel.close()")), "Who lent it to you"),
}
DIRECT_RIGHT = {
    "a generator that has begun": """
number, end = str(uuid4()), time.monotonic() + timeout
try:
    replies = channel.consume("amq.rabbitmq.reply-to", auto_ack=True, inactivity_timeout=0.02)
    next(replies)
    about = pika.BasicProperties(reply_to="amq.rabbitmq.reply-to", correlation_id=number)
    channel.basic_publish("", queue, question, about)
    for method, about, body in replies:
        if method and about.correlation_id == number:
            return body.decode()
        if time.monotonic() > end:
            raise TimeoutError
finally:
    channel.cancel()
""",
    "declared before": "channel.queue_declare('amq.rabbitmq.reply-to', passive=True)\n" + changed(5),
    "a channel of its own": "channel = channel.connection.channel()\n"
    + changed(5, ("    channel.basic_cancel(tag)", "    channel.close()")),
}


@pytest.mark.parametrize("name", DIRECT_WRONG)
def test_asking_directly_goes_wrong(rabbit: Any, name: str) -> None:
    body, question = DIRECT_WRONG[name]
    assert_not_yet(judge(rabbit, 5, body), question)


@pytest.mark.parametrize("name", DIRECT_RIGHT)
def test_asking_directly_goes_right_in_more_than_one_way(rabbit: Any, name: str) -> None:
    assert_correct(judge(rabbit, 5, DIRECT_RIGHT[name]))


# ---- 6 find the bug: nobody there to hear it

LOST = "UnroutableError:\n            lost += 1"

MENDED_WRONG = {
    "dies of a mailbox that is gone": (changed(6, ("UnroutableError", "NackError")), "Pottery's page is gone"),
    "dies of a question without an address": (
        changed(6, ("if not asked.reply_to:", "if False:")),
        "Physics was asked without an address",
    ),
    "gives the question back": (
        changed(6, (LOST, LOST.replace("lost += 1", "channel.basic_nack(method.delivery_tag); continue"))),
        "goes back to the queue",
    ),
    "skips it without an ack": (
        changed(6, (LOST, LOST + "; continue")),
        "Which ack is missing?",
    ),
    "does not ask to be told": (changed(6, (", mandatory=True", "")), "do you ask to be told?"),
    "asks without confirms": (changed(6, ("channel.confirm_delivery()\n", "")), "do you ask to be told?"),
    "counts everybody": (changed(6, ("return answered, lost", "return answered + lost, 0")), "gave back (5, 0)"),
    "throws the rest away": (
        changed(
            6,
            ("(queue, ", "(queue, auto_ack=True, "),
            (LOST, LOST + "; break"),
            ("channel.basic_ack(method.delivery_tag)", "pass"),
        ),
        "Who was left out?",
    ),
    "gives back a number": (changed(6, ("return answered, lost", "return answered")), "It gave back int"),
}
MENDED_RIGHT = {
    "rejects what nobody hears": changed(
        6, (LOST, LOST + "; channel.basic_reject(method.delivery_tag, requeue=False); continue")
    ),
    "answers on a channel of its own": "answers = channel.connection.channel()\nanswers.confirm_delivery()\n"
    + changed(6, ("channel.confirm_delivery()\n", ""), ("channel.basic_publish", "answers.basic_publish")),
    "looks before it answers": """
def there(box):
    try:
        with channel.connection.channel() as look:
            look.queue_declare(box, passive=True)
        return True
    except pika.exceptions.ChannelClosedByBroker as error:
        return error.reply_code == 405  # it is there, and somebody else's

answered = lost = 0
while True:
    method, asked, body = channel.basic_get(queue)
    if method is None:
        return answered, lost
    if asked.reply_to and there(asked.reply_to):
        about = pika.BasicProperties(correlation_id=asked.correlation_id)
        channel.basic_publish("", asked.reply_to, look_up(body.decode()), about)
        answered += 1
    else:
        lost += 1
    channel.basic_ack(method.delivery_tag)
""",
}


@pytest.mark.parametrize("name", MENDED_WRONG)
def test_mending_goes_wrong(rabbit: Any, name: str) -> None:
    body, question = MENDED_WRONG[name]
    assert_not_yet(judge(rabbit, 6, body), question)


@pytest.mark.parametrize("name", MENDED_RIGHT)
def test_mending_goes_right_in_more_than_one_way(rabbit: Any, name: str) -> None:
    assert_correct(judge(rabbit, 6, MENDED_RIGHT[name]))
