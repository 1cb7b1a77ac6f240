"""Lab 12 on real sockets: wrong in the classic ways, right in more than one way."""

import threading
from collections.abc import Iterator

import psutil
import pytest
from answers import answer, assert_correct, assert_not_yet, with_bodies

from mqlab.exercises import Outcome


@pytest.fixture(autouse=True)
def nothing_left() -> Iterator[None]:
    """No thread and no process outlives a check, whatever the answer was."""
    threads, children = threading.enumerate(), psutil.Process().children()
    yield
    assert [thread.name for thread in threading.enumerate() if thread not in threads] == []
    assert [child for child in psutil.Process().children() if child not in children] == []


def judge(n: int, body: str, head: str = "") -> Outcome:
    """Judge the starter's function with another body."""
    return answer("12", n, with_bodies("12", n, body, before=head))


# ---- 1 where the queue ends

SEND = """
accepted = arrived = 0
for _ in range(n):
    try:
        sender.send(b"x", zmq.NOBLOCK)
    except zmq.Again:
        {}
    accepted += 1
"""
READ = """
while receiver.poll(100):
    receiver.recv()
    arrived += 1
"""
BACK = "return accepted, arrived"
SENT = SEND.format("break")
PREDICTED = 'prediction = {"PUSH": (10, 10), "PUB": (50, 10)}'

MEASURE_WRONG = {
    "waits in send": (SENT.replace(", zmq.NOBLOCK", "") + READ + BACK, "Which flag makes it raise"),
    "waits in recv": (
        SENT + "while True:\n    receiver.recv()\n    arrived += 1\n" + BACK,
        "How do you learn that nothing is left?",
    ),
    "receives as many as were accepted": (
        SENT + "for _ in range(accepted):\n    receiver.recv()\n    arrived += 1\n" + BACK,
        "How do you learn that nothing is left?",
    ),
    "counts the refused": (SEND.format("pass") + READ + BACK, "Did you count what was refused as well"),
    "reads while it sends": (
        "accepted = arrived = 0\n"
        "for _ in range(n):\n"
        "    sender.send(b'x')\n"
        "    accepted += 1\n"
        "    if receiver.poll(10):\n"
        "        receiver.recv()\n"
        "        arrived += 1\n" + BACK,
        "did you read while you were sending?",
    ),
    "the wrong way round": (SENT + READ + "return arrived, accepted", "Which of the two numbers comes first?"),
    "does not read": (SENT + BACK, "More was there to be received"),
    "reads one": (SENT + READ.replace("while", "if") + BACK, "More was there to be received"),
    "by heart": ("return (10, 10)", "you measured (10, 10)"),
    "gives nothing back": (SENT + READ, "is there a `return`"),
    "a list": (SENT + READ + "return [accepted, arrived]", "It gave back list"),
    "closes too early": (SENT + "sender.close()\nreceiver.close()\n" + READ + BACK, "cannot do what you ask of it"),
}
MEASURE_RIGHT = {
    "sndtimeo and rcvtimeo": """
sender.sndtimeo = 0
receiver.rcvtimeo = 100
counts = [0, 0]
try:
    while counts[0] < n:
        sender.send(b"x")
        counts[0] += 1
except zmq.Again:
    pass
try:
    while True:
        receiver.recv()
        counts[1] += 1
except zmq.Again:
    return tuple(counts)
""",
    "asks whether it may send": """
accepted = arrived = 0
while accepted < n and sender.poll(0, zmq.POLLOUT):
    sender.send(b"x")
    accepted += 1
while receiver.poll(50):
    receiver.recv_multipart()
    arrived += 1
return accepted, arrived
""",
    "tries all": """
def tried():
    try:
        sender.send(b"x", zmq.DONTWAIT)
        return 1
    except zmq.ZMQError:
        return 0

accepted = sum(tried() for _ in range(n))
return accepted, sum(1 for _ in iter(lambda: receiver.poll(50) and receiver.recv(), 0))
""",
}
PREDICTIONS = {
    '{"PUSH": (4, 4), "PUB": (50, 10)}': "at one end of the line only?",
    '{"PUSH": (6, 6), "PUB": (50, 10)}': "at one end of the line only?",
    '{"PUSH": (50, 10), "PUB": (50, 10)}': "When does PUSH wait?",
    '{"PUSH": (10, 10), "PUB": (10, 10)}': "What about the others?",
    '{"PUSH": (10, 10), "PUB": (50, 50)}': "How many of them find room",
    '{"PUSH": (10, 4), "PUB": (50, 10)}': "does all of it arrive?",
    '{"PUSH": (10, 10)}': "no pair of numbers for PUB",
    "(10, 10, 50, 10)": "It gave back tuple",
}


@pytest.mark.parametrize("name", MEASURE_WRONG)
def test_measuring_goes_wrong(name: str) -> None:
    body, question = MEASURE_WRONG[name]
    assert_not_yet(judge(1, body, PREDICTED), question)


@pytest.mark.parametrize("name", MEASURE_RIGHT)
def test_measuring_goes_right_in_more_than_one_way(name: str) -> None:
    assert_correct(judge(1, MEASURE_RIGHT[name], PREDICTED))


@pytest.mark.parametrize("prediction", PREDICTIONS)
def test_predicting_goes_wrong(prediction: str) -> None:
    assert_not_yet(judge(1, SENT + READ + BACK, f"prediction = {prediction}"), PREDICTIONS[prediction])


# ---- 2 a subscriber that notices

FOLLOW = """
expected = None
while subscriber.poll(quiet * 1000):
    number, text = subscriber.recv_multipart()
    if expected is not None and int(number) != expected:
        return int(number) - expected
    show(text.decode())
    expected = int(number) + 1
return 0
"""

FOLLOW_WRONG = {
    "still forgives everything": (
        FOLLOW.replace("return int(number) - expected", "expected = int(number)"),
        "you went on as if nothing were missing",
    ),
    "looks for numbers that are too low": (FOLLOW.replace("!=", "<"), "you went on as if nothing were missing"),
    "late comers are too slow": (FOLLOW.replace("= None", "= 1"), "Is that its fault?"),
    "shows what came after the gap": (
        """
expected = None
while subscriber.poll(quiet * 1000):
    number, text = subscriber.recv_multipart()
    show(text.decode())
    if expected is not None and int(number) != expected:
        return int(number) - expected
    expected = int(number) + 1
return 0
""",
        "Do you look before you show?",
    ),
    "compares bytes": (FOLLOW.replace("int(number) != expected", "number != expected"), "you stopped between them"),
    "off by one": (FOLLOW.replace("- expected", "- expected + 1"), "How do you count?"),
    "the number itself": (FOLLOW.replace("- expected", ""), "How do you count?"),
    "only says that": (FOLLOW.replace("return int(number) - expected", "return True"), "How do you count?"),
    "waits for ever": (FOLLOW.replace("subscriber.poll(quiet * 1000)", "True"), "How does it learn of the quiet?"),
    "seconds for milliseconds": (FOLLOW.replace("quiet * 1000", "quiet"), "In which unit does `poll`"),
    "shows bytes": (FOLLOW.replace("text.decode()", "text"), "How do bytes become a text?"),
    "shows nothing": (FOLLOW.replace("show(text.decode())", "pass"), "Who shows them?"),
    "nothing given back": (FOLLOW.replace("return 0", ""), "What does it return when it is quiet?"),
    "raises": (FOLLOW.replace("return int(number) - expected", "raise LookupError('a gap')"), "LookupError"),
    "one part": (FOLLOW.replace("recv_multipart()", "recv()"), "AttributeError"),
}
FOLLOW_RIGHT = {
    "rcvtimeo": """
subscriber.rcvtimeo = int(quiet * 1000)
before = 0
while True:
    try:
        number, text = subscriber.recv_multipart()
    except zmq.Again:
        return 0
    missing = int(number) - before - 1 if before else 0
    if missing:
        return missing
    show(str(text, "utf-8"))
    before = int(number)
""",
    "counts on": """
from itertools import count

right = None
poller = zmq.Poller()
poller.register(subscriber, zmq.POLLIN)
while poller.poll(quiet * 1000):
    parts = subscriber.recv_multipart()
    right = right or count(int(parts[0]))
    if gap := int(parts[0]) - next(right):
        return gap
    show(parts[1].decode())
return 0
""",
}


@pytest.mark.parametrize("name", FOLLOW_WRONG)
def test_following_goes_wrong(name: str) -> None:
    body, question = FOLLOW_WRONG[name]
    assert_not_yet(judge(2, body), question)


@pytest.mark.parametrize("name", FOLLOW_RIGHT)
def test_following_goes_right_in_more_than_one_way(name: str) -> None:
    assert_correct(judge(2, FOLLOW_RIGHT[name]))


# ---- 3 the load balancer

BALANCE = """
idle = []
while n:
    ready, _, _ = zmq.select([back, front] if idle else [back], [], [])
    if back in ready:
        worker, _, *letter = back.recv_multipart()
        idle.append(worker)
        if letter != [b"READY"]:
            front.send_multipart(letter)
            n -= 1
    else:
        back.send_multipart([idle.pop(0), b"", *front.recv_multipart()])
"""

BALANCE_WRONG = {
    "always the first": (BALANCE.replace("idle.pop(0)", "idle[0]"), "When does a worker leave the line?"),
    "in turn": (
        BALANCE.replace("idle.append(worker)", "idle.append(worker) if worker not in idle else None").replace(
            "idle.pop(0)", "idle[0]"
        )
        + "        idle.append(idle.pop(0))\n",
        "When does a worker leave the line?",
    ),
    "does not ask whether somebody is idle": (
        BALANCE.replace("[back, front] if idle else [back]", "[back, front]"),
        "IndexError: pop from empty list",
    ),
    "throws away what comes too early": (
        BALANCE.replace("[back, front] if idle else [back]", "[back, front]")
        .replace(
            "        back.send", "        letter = front.recv_multipart()\n        if idle:\n            back.send"
        )
        .replace("*front.recv_multipart()", "*letter"),
        "Who gives it to",
    ),
    "READY is an answer": (
        BALANCE.replace('if letter != [b"READY"]:', "if True:"),
        "is READY an answer, or a request?",
    ),
    "idle once only": (
        BALANCE.replace("        idle.append(worker)\n", "").replace(
            "            n -= 1\n", "            n -= 1\n        else:\n            idle.append(worker)\n"
        ),
        "Ada has asked for work",
    ),
    "no empty part for the worker": (BALANCE.replace(', b"", *front', ", *front"), "an empty part first"),
    "the client's name is lost": (
        BALANCE.replace("*front.recv_multipart()", "front.recv_multipart()[2]"),
        "What does your letter to a worker begin with?",
    ),
    "the answer without its client": (
        BALANCE.replace("send_multipart(letter)", "send_multipart(letter[1:])"),
        "Which parts of it tell ROUTER whom it is for?",
    ),
    "the answer without its empty part": (
        BALANCE.replace("send_multipart(letter)", "send_multipart([letter[0], letter[2]])"),
        "What is missing?",
    ),
    "never ends": (BALANCE.replace("n -= 1", "pass"), "How does it count them?"),
    "counts requests": (
        BALANCE.replace("            n -= 1\n", "") + "        n -= 1\n",
        "passed on",
    ),
    "nothing at all": ("return None", "when 0 of 4 answers"),
    "one after the other": (
        """
worker, _, _ = back.recv_multipart()
for _ in range(n):
    back.send_multipart([worker, b"", *front.recv_multipart()])
    _, _, *letter = back.recv_multipart()
    front.send_multipart(letter)
""",
        "",
    ),
}
BALANCE_RIGHT = {
    "poller and deque": """
from collections import deque

idle, poller = deque(), zmq.Poller()
poller.register(back, zmq.POLLIN)
answered = 0
while answered < n:
    ready = dict(poller.poll())
    if back in ready:
        parts = back.recv_multipart()
        if not idle:
            poller.register(front, zmq.POLLIN)
        idle.append(parts[0])
        if parts[2] != b"READY":
            front.send_multipart(parts[2:])
            answered += 1
    if front in ready:
        client, empty, request = front.recv_multipart()
        back.send_multipart([idle.popleft(), b"", client, b"", request])
        if not idle:
            poller.unregister(front)
""",
    "reads requests into a list": """
idle, waiting = set(), []
while True:
    ready, _, _ = zmq.select([back, front], [], [])
    if front in ready:
        waiting.append(front.recv_multipart())
    if back in ready:
        worker, _, client, *rest = back.recv_multipart()
        idle.add(worker)
        if rest:
            front.send_multipart([client, *rest])
            n -= 1
            if n == 0:
                return
    while idle and waiting:
        back.send_multipart([idle.pop(), b"", *waiting.pop()])
""",
    "the latest first, without waiting": """
idle = []
while n:
    if back.poll(1):
        worker, _, *letter = back.recv_multipart()
        idle.insert(0, worker)
        if len(letter) == 3:
            front.send_multipart(letter)
            n -= 1
    if idle and front.poll(0):
        back.send_multipart([idle.pop(0), b""] + front.recv_multipart())
""",
}


@pytest.mark.parametrize("name", BALANCE_WRONG)
def test_balancing_goes_wrong(name: str) -> None:
    body, question = BALANCE_WRONG[name]
    assert_not_yet(judge(3, body), question)


@pytest.mark.parametrize("name", BALANCE_RIGHT)
def test_balancing_goes_right_in_more_than_one_way(name: str) -> None:
    assert_correct(judge(3, BALANCE_RIGHT[name]))


# ---- 4 outlive your server

ASK = """
number = uuid.uuid4().bytes
for _ in range(tries):
    socket = context.socket(zmq.REQ)
    try:
        socket.connect(address)
        socket.send_multipart([number, name.encode()])
        if socket.poll(patience * 1000):
            return socket.recv_multipart()[1]
    finally:
        socket.close(linger=0)
return None
"""
ONE_SOCKET = """
with context.socket(zmq.{kind}) as socket:
    socket.linger = 0
    {options}
    socket.connect(address)
    number = uuid.uuid4().bytes
    for _ in range(tries):
        socket.send_multipart({letter})
        if socket.poll(patience * 1000):
            return socket.recv_multipart()[-1]
return None
"""

ASK_WRONG = {
    "the same REQ": (
        ONE_SOCKET.format(kind="REQ", options="", letter="[number, name.encode()]"),
        "a socket that waits for an answer that never comes?",
    ),
    "a new number for each try": (
        ASK.replace("[number,", "[uuid.uuid4().bytes,"),
        "How could the second one know that it is the same request?",
    ),
    "the name for a number": (ASK.replace("uuid.uuid4().bytes", "name.encode()"), "What makes a request a new one?"),
    "one number for ever": (ASK.replace("uuid.uuid4().bytes", "b'1'"), "What makes a request a new one?"),
    "no limit": (ASK.replace("if socket.poll(patience * 1000):", "if True:"), "What ends a try"),
    "tries without end": (ASK.replace("for _ in range(tries)", "while True"), "what counts them?"),
    "gives up after the first": (ASK.replace("range(tries)", "range(1)"), "after the first you gave up"),
    "one try more": (ASK.replace("range(tries)", "range(tries + 1)"), "You were given 3 tries, and asked 4 times"),
    "seconds for milliseconds": (ASK.replace("patience * 1000", "patience"), "In which unit does `poll`"),
    "asks twice to be safe": (
        ASK.replace("            return", "            found =").replace("return None", "return found"),
        "When must you ask again?",
    ),
    "does not close": (
        ASK.replace("    finally:\n        socket.close(linger=0)\n", "    except OSError:\n        pass\n"),
        "Who closes a socket",
    ),
    "lets it linger": (ASK.replace("close(linger=0)", "close()"), "What may a closed socket still do"),
    "the whole answer": (ASK.replace("recv_multipart()[1]", "recv_multipart()"), "Which part?"),
    "the number for an answer": (ASK.replace("[1]", "[0]"), "Which part?"),
    "only the name": (ASK.replace("[number, name.encode()]", "[name.encode()]"), "not two parts"),
    "text for bytes": (ASK.replace("recv_multipart()[1]", "recv_multipart()[1].decode()"), "Which part?"),
    "an error in the end": (ASK.replace("return None", "raise TimeoutError('nobody')"), "TimeoutError: nobody"),
    "words in the end": (ASK.replace("return None", "return b'failed'"), "when all tries"),
}
ASK_RIGHT = {
    "with, and a context that does not linger": """
context.linger = 0
number = uuid.uuid4().hex.encode()
for _ in range(tries):
    with context.socket(zmq.REQ) as socket:
        socket.connect(address)
        socket.send_multipart([number, name.encode()])
        if socket.poll(int(patience * 1000)):
            return socket.recv_multipart()[1]
""",
    "relaxed and correlated": ONE_SOCKET.format(
        kind="REQ",
        options="socket.setsockopt(zmq.REQ_RELAXED, 1), socket.setsockopt(zmq.REQ_CORRELATE, 1)",
        letter="[number, name.encode()]",
    ),
    "one DEALER": ONE_SOCKET.format(kind="DEALER", options="", letter='[b"", number, name.encode()]'),
    "rcvtimeo": """
import os

number = os.urandom(8)
while tries:
    socket = context.socket(zmq.REQ)
    socket.rcvtimeo, socket.linger = int(patience * 1000), 0
    socket.connect(address)
    socket.send(number, zmq.SNDMORE)
    socket.send_string(name)
    try:
        return socket.recv_multipart()[-1]
    except zmq.Again:
        tries -= 1
    finally:
        socket.close()
""",
}


@pytest.mark.parametrize("name", ASK_WRONG)
def test_asking_goes_wrong(name: str) -> None:
    body, question = ASK_WRONG[name]
    assert_not_yet(judge(4, body), question)


@pytest.mark.parametrize("name", ASK_RIGHT)
def test_asking_goes_right_in_more_than_one_way(name: str) -> None:
    assert_correct(judge(4, ASK_RIGHT[name]))


# ---- 5 turn strangers away

PAIR = """
def open_desk(context, desk):
    socket = context.socket(zmq.PULL)
    {before}
    socket.bind("tcp://127.0.0.1:*")
    {after}
    return socket


def enter(context, address, mine, desk_public):
    socket = context.socket(zmq.PUSH)
    {keys}
    socket.connect(address)
    {late}
    return socket
"""
DESK = "socket.curve_publickey, socket.curve_secretkey = desk; socket.curve_server = True"
MINE = "socket.curve_publickey, socket.curve_secretkey = mine"
OURS = f"{MINE}; socket.curve_serverkey = desk_public"


def pair(before: str = DESK, after: str = "pass", keys: str = OURS, late: str = "pass") -> str:
    return PAIR.format(before=before, after=after, keys=keys, late=late)


DESK_WRONG = {
    "only the desk": (pair(keys="pass"), "Which three keys does a client need"),
    "only the student": (pair(before="pass"), "does it know its keys before it binds?"),
    "the desk is not told that it is the server": (
        pair(before=DESK.split(";")[0]),
        "Is the desk told that it is the server",
    ),
    "after bind": (pair(before="pass", after=DESK), "does it know its keys before it binds?"),
    "after connect": (pair(keys="pass", late=OURS), "does it know them before it connects?"),
    "plain with extras": (pair(before="pass", keys="pass", late="socket.linger = 0"), "A stranger without any key"),
    "the desk's keys swapped": (
        pair(
            before=DESK.replace(
                "socket.curve_publickey, socket.curve_secretkey", "socket.curve_secretkey, socket.curve_publickey"
            )
        ),
        "Which of its two keys",
    ),
    "keys of the desk's own": (pair(before=DESK.replace("= desk", "= zmq.curve_keypair()")), "Which of its two keys"),
    "the student's keys swapped": (
        pair(
            keys=OURS.replace(
                "socket.curve_publickey, socket.curve_secretkey", "socket.curve_secretkey, socket.curve_publickey"
            )
        ),
        "Which three keys does a client need",
    ),
    "its own key for the desk's": (pair(keys=OURS.replace("= desk_public", "= mine[0]")), "Which three keys"),
    "a secret for the desk's": (pair(keys=OURS.replace("= desk_public", "= mine[1]")), "Which three keys"),
    "other keys for the student": (pair(keys=OURS.replace("= mine", "= zmq.curve_keypair()")), "Whose are they?"),
    "nothing given back": (pair().replace("return socket", "pass"), "is there a `return`"),
    "the address given back": (pair().replace("return socket", "return socket.last_endpoint"), "It gave back bytes"),
    "closed": (pair(after="socket.close()"), "Who is to use it now?"),
    "another kind": (pair().replace("zmq.PULL", "zmq.REP"), "It gave back a REP"),
    "not bound": (pair().replace('socket.bind("tcp://127.0.0.1:*")', ""), "not bound to a TCP address"),
    "not a key": (pair(keys="socket.curve_serverkey = b'desk'"), "Invalid argument"),
    "waits for the other side": (pair(late="socket.send(b'hello'); socket.recv()"), "Operation not supported"),
}
DESK_RIGHT = {
    "setsockopt": pair(
        before="socket.setsockopt(zmq.CURVE_SECRETKEY, desk[1]); socket.setsockopt(zmq.CURVE_SERVER, 1)",
        keys=(
            "[socket.setsockopt(option, key) for option, key in zip("
            "(zmq.CURVE_PUBLICKEY, zmq.CURVE_SECRETKEY, zmq.CURVE_SERVERKEY), (*mine, desk_public))]"
        ),
    ),
    "with limits": pair(after="socket.linger = 0; socket.rcvhwm = 10", late="socket.linger = 0"),
    "a port found by zmq": pair().replace('bind("tcp://127.0.0.1:*")', 'bind_to_random_port("tcp://127.0.0.1")'),
}


@pytest.mark.parametrize("name", DESK_WRONG)
def test_the_desk_goes_wrong(name: str) -> None:
    text, question = DESK_WRONG[name]
    assert_not_yet(answer("12", 5, text), question)


@pytest.mark.parametrize("name", DESK_RIGHT)
def test_the_desk_goes_right_in_more_than_one_way(name: str) -> None:
    assert_correct(answer("12", 5, DESK_RIGHT[name]))
