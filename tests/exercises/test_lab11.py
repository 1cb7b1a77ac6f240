"""Lab 11 on real sockets: wrong in the classic ways, right in more than one way; nothing is left behind."""

import random
import textwrap
import threading
from collections.abc import Iterator

import pytest
import zmq
from answers import answer, assert_correct, assert_not_yet, solution, starter

from mqlab.exercises import Outcome, lab11


@pytest.fixture(autouse=True)
def nothing_is_left() -> Iterator[None]:
    before = set(threading.enumerate())
    yield
    left = [each for each in threading.enumerate() if each not in before]
    for each in left:
        each.join(2)
    assert not [each for each in left if each.is_alive()]


def judge(n: int, body: str, name: str = "") -> Outcome:
    """Judge the solution of exercise n with another body of its function `name` (the first one)."""
    return answer("11", n, replaced(solution("11", n), body, name))


def replaced(cell: str, body: str, name: str) -> str:
    lines = cell.splitlines()
    begin = next(i for i, line in enumerate(lines) if line.startswith(f"def {name}"))
    end = next((i for i in range(begin + 1, len(lines)) if lines[i][:1].strip()), len(lines))
    return "\n".join([*lines[: begin + 1], textwrap.indent(textwrap.dedent(body).strip("\n"), "    "), *lines[end:]])


# ---- 1 the worker

BOTH = "made = 0\nwith context.socket(zmq.PULL) as pull, context.socket(zmq.PUSH) as push:\n"
CONNECT = "    pull.connect(orders)\n    push.connect(finished)\n"
LOOP = "    while order := pull.recv():\n"
SEND = "        push.send(make(order))\n        made += 1\n"
GIVE = "return made\n"

WORK_WRONG = {
    "binds the source": (
        BOTH + "    pull.bind(orders)\n    push.connect(finished)\n" + LOOP + SEND + GIVE,
        "another program has bound it",
    ),
    "forgets what is not out": (BOTH + "    push.linger = 0\n" + CONNECT + LOOP + SEND + GIVE, "at `close`"),
    "leaves its sockets open": (
        "made = 0\npull, push = context.socket(zmq.PULL), context.socket(zmq.PUSH)\n"
        + textwrap.dedent(CONNECT + LOOP + SEND)
        + GIVE,
        "left a PULL socket and a PUSH socket open",
    ),
    "passes the empty message on": (
        BOTH + CONNECT + LOOP + SEND + "    push.send(b'')\n" + GIVE,
        "an empty certificate",
    ),
    "a certificate of nothing": (
        BOTH + CONNECT + "    while True:\n        order = pull.recv()\n" + SEND + "        if not order:\n"
        "            break\n" + GIVE,
        "a certificate of the empty message",
    ),
    "only one": (
        BOTH + CONNECT + "    order = pull.recv()\n    push.send(make(order))\n    made = 1\n" + GIVE,
        "loop stop?",
    ),
    "sends the orders": (
        BOTH + CONNECT + LOOP + "        make(order)\n        push.send(order)\n" + GIVE,
        "got the orders",
    ),
    "sends everything twice": (
        BOTH + CONNECT + LOOP + SEND + "        push.send(make(order))\n" + GIVE,
        "was called for",
    ),
    "never stops": (
        BOTH + CONNECT + "    while True:\n        order = pull.recv()\n        push.send(make(order or b'?'))\n",
        "still running",
    ),
    "gives nothing back": (BOTH + CONNECT + LOOP + SEND, "gave back nothing (None)"),
    "ends the context": (
        BOTH + CONNECT + LOOP + SEND + "context.term()\n" + GIVE,
        "has ended the context",
    ),
}
WORK_RIGHT = {
    "closes by hand": """
pull, push = context.socket(zmq.PULL), context.socket(zmq.PUSH)
try:
    pull.connect(orders)
    push.connect(finished)
    made = 0
    while True:
        [order] = pull.recv_multipart()
        if order == b"":
            return made
        push.send_multipart([make(order)])
        made += 1
finally:
    pull.close()
    push.close()
""",
    "a poller": BOTH
    + CONNECT
    + "    poller = zmq.Poller()\n    poller.register(pull, zmq.POLLIN)\n"
    + "    while poller.poll(2000) and (order := pull.recv()):\n"
    + SEND
    + GIVE,
    "collects first": BOTH
    + CONNECT
    + "    certificates = []\n    while order := pull.recv():\n        certificates.append(make(order))\n"
    + "    for each in certificates:\n        push.send(each, copy=False)\n"
    + "return len(certificates)\n",
    "a bounded linger": BOTH + "    push.linger = 5000\n" + CONNECT + LOOP + SEND + GIVE,
}


@pytest.mark.parametrize("name", WORK_WRONG)
def test_working_goes_wrong(name: str) -> None:
    body, question = WORK_WRONG[name]
    assert_not_yet(judge(1, body), question)


@pytest.mark.parametrize("name", WORK_RIGHT)
def test_working_goes_right_in_more_than_one_way(name: str) -> None:
    assert_correct(judge(1, WORK_RIGHT[name]))


# ---- 2 three programs

XPUB = "with context.socket(zmq.XPUB) as publisher:\n    publisher.bind(address)\n"
PUBLISH = "    for each in news:\n        publisher.send(each)\nreturn True\n"
ANNOUNCE_WRONG = {
    "too early": (XPUB.replace("XPUB", "PUB") + PUBLISH, "Who tells your program that this has happened?"),
    "sleeps": (
        "import time\n" + XPUB.replace("XPUB", "PUB") + "    time.sleep(0.6)\n" + PUBLISH,
        "nobody came for `patience` seconds, and it gave back True",
    ),
    "waits without a limit": (XPUB + "    publisher.recv()\n" + PUBLISH, "with which limit?"),
    "poll in seconds": (
        XPUB + "    if not publisher.poll(patience):\n        return False\n" + PUBLISH,
        "Who tells your program",
    ),
    "publishes the subscription": (
        XPUB
        + "    if not publisher.poll(patience * 1000):\n        return False\n    publisher.send(publisher.recv())\n"
        + PUBLISH,
        "its own subscription",
    ),
    "stays open": (
        "publisher = context.socket(zmq.XPUB)\npublisher.bind(address)\nif not publisher.poll(patience * 1000):\n"
        "    return False\nfor each in news:\n    publisher.send(each)\nreturn True\n",
        "left a XPUB socket open",
    ),
    "gives nothing back": (
        XPUB + "    if publisher.poll(patience * 1000):\n        for each in news:\n            publisher.send(each)\n",
        "gave back None",
    ),
    "the limit ends it": (
        XPUB + "    publisher.rcvtimeo = int(patience * 1000)\n    publisher.recv()\n" + PUBLISH,
        "(zmq.Again)",
    ),
}
ANNOUNCE_RIGHT = {
    "rcvtimeo": XPUB
    + "    publisher.rcvtimeo = int(patience * 1000)\n    try:\n        publisher.recv()\n"
    + "    except zmq.Again:\n        return False\n"
    + PUBLISH,
    "a poller": XPUB
    + "    poller = zmq.Poller()\n    poller.register(publisher, zmq.POLLIN)\n"
    + "    if not poller.poll(int(patience * 1000)):\n        return False\n"
    + PUBLISH,
}
REPORT_WRONG = {
    "a short sleep": (
        "import time\npush = context.socket(zmq.PUSH)\npush.connect(address)\nfor result in results:\n"
        "    push.send(result)\ntime.sleep(0.3)\npush.close(linger=0)\n",
        "how long they may stay there",
    ),
    "linger 0 as an option": (
        "with context.socket(zmq.PUSH) as push:\n    push.linger = 0\n    push.connect(address)\n"
        "    for result in results:\n        push.send(result)\n",
        "got nothing",
    ),
    "waits for the sink": (
        "with context.socket(zmq.REQ) as push:\n    push.connect(address)\n    for result in results:\n"
        "        push.send(result)\n        push.recv()\n",
        "Whom does it wait for?",
    ),
    "never closes": (
        "push = context.socket(zmq.PUSH)\npush.connect(address)\nfor result in results:\n    push.send(result)\n",
        "`report` came back and left a PUSH socket open",
    ),
    "binds": (
        "with context.socket(zmq.PUSH) as push:\n    push.bind(address)\n    for result in results:\n"
        "        push.send(result)\n",
        "Which side binds, which connects?",
    ),
    "all at once": (
        "with context.socket(zmq.PUSH) as push:\n    push.connect(address)\n    push.send_multipart(results)\n",
        "Is each sent once?",
    ),
}
REPORT_RIGHT = {
    "a linger of its own": "push = context.socket(zmq.PUSH)\npush.connect(address)\nfor result in results:\n"
    "    push.send(result)\npush.close(linger=30_000)\n",
    "no with": "push = context.socket(zmq.PUSH)\npush.connect(address)\nfor result in results:\n    push.send(result)\n"
    "push.close()\n",
}
SUB = "bodies = []\nwith context.socket(zmq.SUB) as subscriber:\n    subscriber.rcvtimeo = 1000\n"
TO = "    subscriber.connect(address)\n"
LISTEN_WRONG = {
    "as it was": (
        SUB
        + "    subscriber.subscribe(course)\n"
        + TO
        + "    return [subscriber.recv_multipart()[1] for _ in range(n)]\n",
        "How much of a topic does a subscription look at?",
    ),
    "never subscribes": (
        SUB.replace("1000", "300")
        + TO
        + "    while len(bodies) < n and subscriber.poll(300):\n        bodies.append(subscriber.recv_multipart()[1])\n"
        + "return bodies\n",
        "has never subscribed",
    ),
    "counts the others": (
        SUB
        + "    subscriber.subscribe(course)\n"
        + TO
        + "    for _ in range(n):\n        topic, body = subscriber.recv_multipart()\n        if topic == course:\n"
        + "            bodies.append(body)\nreturn bodies\n",
        "which messages do you count?",
    ),
    "frame by frame": (
        SUB
        + "    subscriber.subscribe(course)\n"
        + TO
        + "    while len(bodies) < n:\n        if subscriber.recv() == course:\n            bodies.append(course)\n"
        + "return bodies\n",
        "Which frame is the body",
    ),
    "waits for too many": (
        SUB
        + "    subscriber.subscribe(course)\n"
        + TO
        + "    while len(bodies) <= n:\n        topic, body = subscriber.recv_multipart()\n"
        + "        if topic == course:\n"
        + "            bodies.append(body)\nreturn bodies\n",
        "It gave back [b'mine 1', b'mine 2', b'mine 3', b'mine 4']",
    ),
}
LISTEN_RIGHT = {
    "takes everything": SUB
    + "    subscriber.subscribe(b'')\n"
    + TO
    + "    while len(bodies) < n:\n        topic, body = subscriber.recv_multipart()\n        if topic == course:\n"
    + "            bodies.append(body)\nreturn bodies\n",
    "frame by frame": SUB
    + "    subscriber.setsockopt(zmq.SUBSCRIBE, course)\n"
    + TO
    + "    while len(bodies) < n:\n        topic = subscriber.recv()\n        body = subscriber.recv()\n"
    + "        if topic == course:\n            bodies += [body]\nreturn bodies\n",
}
MISSING_WRONG = [
    *[("announce", name, *each) for name, each in ANNOUNCE_WRONG.items()],
    *[("report", name, *each) for name, each in REPORT_WRONG.items()],
    *[("listen", name, *each) for name, each in LISTEN_WRONG.items()],
]
MISSING_RIGHT = [
    *[("announce", *each) for each in ANNOUNCE_RIGHT.items()],
    *[("report", *each) for each in REPORT_RIGHT.items()],
    *[("listen", *each) for each in LISTEN_RIGHT.items()],
]


@pytest.mark.parametrize(("program", "name", "body", "question"), MISSING_WRONG)
def test_finding_what_is_missing_goes_wrong(program: str, name: str, body: str, question: str) -> None:
    assert_not_yet(judge(2, body, program), question)


@pytest.mark.parametrize(("program", "name", "body"), MISSING_RIGHT)
def test_finding_what_is_missing_goes_right_in_more_than_one_way(program: str, name: str, body: str) -> None:
    assert_correct(judge(2, body, program))


# ---- 3 fair or fast

PREDICTION_WRONG = {
    "the first gets all": ('"six orders": (6, 0)', "In what order does PUSH deal?"),
    "one is forgotten": ('"six orders": (2, 3)', "Who has the rest?"),
    "orders move": ('"Bo comes late": (4, 4)', "ever move to Bo?"),
    "who is free gets it": ('"pages": (60, 9)', "who is free?"),
    "a name": ('"pages": "Bo"', "should be a pair"),
}
PULLS = """
pulls, got = {}, {}
with context.socket(zmq.PUSH) as push:
    for step, what in program:
        if step == "worker":
            pulls[what] = context.socket(zmq.PULL)
            pulls[what].bind(f"inproc://{what}")
            push.connect(f"inproc://{what}")
        else:
            push.send_string(str(what))
"""
READ = """
for name, pull in pulls.items():
    got[name] = []
    while pull.poll(20):
        got[name].append(int(pull.recv_string()))
"""
CLOSE = "    pull.close()\n"
MEASURED_WRONG = {
    "waits for one more": (
        PULLS
        + "for name, pull in pulls.items():\n    got[name] = []\n    while True:\n"
        + "        got[name].append(int(pull.recv()))\n",
        "waits for a message that never comes",
    ),
    "leaves them open": (PULLS + READ + "return got", "left 2 PULL sockets open"),
    "only the busy": (
        PULLS
        + "for name, pull in pulls.items():\n    while pull.poll(20):\n"
        + "        got.setdefault(name, []).append(int(pull.recv_string()))\n"
        + CLOSE
        + "return got",
        "perhaps for want of an order?",
    ),
    "counts": (
        PULLS + READ + CLOSE + "return {name: len(each) for name, each in got.items()}",
        "a list for each worker",
    ),
    "text": (
        PULLS + READ.replace("int(pull.recv_string())", "pull.recv_string()") + CLOSE + "return got",
        "as numbers",
    ),
    "all workers first": (
        PULLS.replace("in program", "in sorted(program, key=lambda each: each[0] == 'order')")
        + READ
        + CLOSE
        + "return got",
        "Is each step done in its order",
    ),
    "a PUSH for each": (
        PULLS.replace("push.connect", "push = context.socket(zmq.PUSH); push.connect") + READ + CLOSE + "return got",
        "left 2 PUSH sockets open",
    ),
    "nothing": (PULLS + READ + CLOSE, "gave back nothing (None)"),
    "closes before it reads": (
        PULLS + READ.replace("while", "pull.close()\n    while") + "return got",
        "one that is closed does nothing",
    ),
}
MEASURED_RIGHT = {
    "without waiting": PULLS
    + """
for name, pull in pulls.items():
    got[name] = []
    with pull:
        try:
            while True:
                got[name].append(int(pull.recv(zmq.NOBLOCK)))
        except zmq.Again:
            pass
return got
""",
    "a limit on each recv": PULLS
    + """
for name, pull in pulls.items():
    got[name], pull.rcvtimeo = [], 100
    try:
        while True:
            got[name].append(int(pull.recv_string()))
    except zmq.Again:
        pull.close()
return got
""",
}


@pytest.mark.parametrize("name", PREDICTION_WRONG)
def test_predicting_goes_wrong(name: str) -> None:
    entry, question = PREDICTION_WRONG[name]
    key = entry.partition(":")[0]
    cell = solution("11", 3)
    right = {'"six orders"': "(3, 3)", '"Bo comes late"': "(6, 2)", '"pages"': "(64, 5)"}[key]
    assert f"{key}: {right}" in cell
    assert_not_yet(answer("11", 3, cell.replace(f"{key}: {right}", entry)), question)


@pytest.mark.parametrize("name", MEASURED_WRONG)
def test_measuring_goes_wrong(name: str) -> None:
    body, question = MEASURED_WRONG[name]
    assert_not_yet(judge(3, body), question)


@pytest.mark.parametrize("name", MEASURED_RIGHT)
def test_measuring_goes_right_in_more_than_one_way(name: str) -> None:
    assert_correct(judge(3, MEASURED_RIGHT[name]))


@pytest.mark.parametrize("seed", range(6))
def test_the_check_knows_how_push_deals(seed: int) -> None:
    program = lab11._program(random.Random(seed))
    names: dict[str, object] = {"zmq": zmq}
    exec("def measured(context, program):\n" + textwrap.indent(PULLS + READ + CLOSE + "return got", "    "), names)
    with zmq.Context() as context:
        assert names["measured"](context, program) == lab11.dealt(program)  # type: ignore[operator]


# ---- 4 the workers ask

LEFT = "left = list(orders)\n"
WHILE = "while desk.poll(quiet * 1000):\n    desk.recv()\n"
NEXT = "    desk.send(left.pop(0) if left else b'')\n"

ASK_WRONG = {
    "waits without a limit": (LEFT + "while True:\n    desk.recv()\n" + NEXT, "How does it notice the silence?"),
    "nobody goes home": (
        LEFT + "while left and desk.poll(quiet * 1000):\n    desk.recv()\n    desk.send(left.pop(0))\nreturn left",
        "Who tells each of them to go home?",
    ),
    "only the first goes home": (
        LEFT
        + WHILE
        + "    if not left:\n        desk.send(b'')\n        break\n    desk.send(left.pop(0))\nreturn left",
        "Who tells each of them to go home?",
    ),
    "no answer": (
        LEFT + "while desk.poll(quiet * 1000):\n    desk.recv()\n    left.pop(0)\nreturn left",
        "and got no answer",
    ),
    "answers before the question": (
        LEFT + "for order in orders:\n    desk.send(order)\n",
        "In which order do you use yours?",
    ),
    "the last first": (
        LEFT + WHILE + "    desk.send(left.pop() if left else b'')\nreturn left",
        "Which order is next?",
    ),
    "the same again and again": (LEFT + WHILE + "    desk.send(left[0])\nreturn left", "Which order is next?"),
    "all to the first": (LEFT + WHILE + "    desk.send(b', '.join(left))\nreturn left", "What is on the desk?"),
    "gives nothing back": (LEFT + WHILE + NEXT, "gave back nothing (None)"),
    "says all are left": (LEFT + WHILE + NEXT + "return orders", "What is left on the desk?"),
    "one limit for all": (
        "import time\nend = time.monotonic() + quiet\n"
        + LEFT
        + "while (rest := end - time.monotonic()) > 0 and desk.poll(rest * 1000):\n    desk.recv()\n"
        + NEXT
        + "return left",
        "From when on is a silence measured?",
    ),
    "closes the desk": (
        "with desk:\n" + textwrap.indent(LEFT + WHILE + NEXT + "return left", "    "),
        "Whose socket is it?",
    ),
    "the limit ends it": (
        LEFT + "desk.rcvtimeo = int(quiet * 1000)\nwhile True:\n    desk.recv()\n" + NEXT,
        "(zmq.Again)",
    ),
    "does nothing": ("return list(orders)", "and got no answer"),
}
ASK_RIGHT = {
    "rcvtimeo": LEFT
    + "desk.rcvtimeo = int(quiet * 1000)\nwhile True:\n    try:\n        desk.recv()\n    except zmq.Again:\n"
    + "        return left\n"
    + NEXT,
    "a poller and a deque": """
from collections import deque

left, poller = deque(orders), zmq.Poller()
poller.register(desk, zmq.POLLIN)
while dict(poller.poll(int(quiet * 1000))):
    desk.recv_multipart()
    desk.send_multipart([left.popleft()] if left else [b""])
return list(left)
""",
    "an iterator": """
from itertools import chain, repeat

out = chain(orders, repeat(b""))
sent = 0
while desk.poll(quiet * 1000):
    desk.recv()
    desk.send(next(out))
    sent += 1
return orders[sent:]
""",
}


@pytest.mark.parametrize("name", ASK_WRONG)
def test_asking_goes_wrong(name: str) -> None:
    body, question = ASK_WRONG[name]
    assert_not_yet(judge(4, body), question)


@pytest.mark.parametrize("name", ASK_RIGHT)
def test_asking_goes_right_in_more_than_one_way(name: str) -> None:
    assert_correct(judge(4, ASK_RIGHT[name]))


# ---- 5 the whole pipeline


def pipeline(*changes: tuple[str, str]) -> str:
    """Return the solution with some of its text changed."""
    cell = solution("11", 5)
    for old, new in changes:
        assert old in cell
        cell = cell.replace(old, new)
    return cell


RUN_WRONG = {
    "one for all": (
        pipeline(('[*orders, *[b""] * workers]', '[*orders, b""]')),
        "does each worker hear that it is over",
    ),
    "nobody hears that it is over": (
        pipeline(
            ('[*orders, *[b""] * workers]', "orders"),
            ("gone < workers", "len(certificates) < len(orders)"),
            ("thread.join()", "pass"),
            ("threading.Thread(target=work)", "threading.Thread(target=work, daemon=True)"),
        ),
        "of its 3 workers still wait for an order",
    ),
    "counts the certificates": (
        pipeline(("gone < workers", "len(certificates) < len(orders)")),
        "One order cannot be printed",
    ),
    "the empty certificate": (
        pipeline(
            ("                gone += 1", "                gone += 1\n                certificates.append(certificate)")
        ),
        "an empty one",
    ),
    "stops at the first gone": (pipeline(("gone < workers", "gone < 1"), ("thread.join()", "pass")), ""),
    "one worker only": (
        pipeline(
            ("for _ in range(workers)]", "for _ in range(1)]"), ("* workers]", "]"), ("gone < workers", "gone < 1")
        ),
        "There were 3 workers, and 1 of them got orders",
    ),
    "in a row, without threads": (
        "def run(context, orders, workers, make):\n    return [make(order) for order in orders]",
        "and 1 of them got orders",
    ),
    "ends the context": (
        pipeline(("    return certificates", "    context.term()\n    return certificates")),
        "Whose is it",
    ),
    "open in the end": (
        pipeline(
            (
                "with context.socket(zmq.PUSH) as campus, context.socket(zmq.PULL) as sink:",
                "campus, sink = context.socket(zmq.PUSH), context.socket(zmq.PULL)\n    if True:",
            )
        ),
        "`run` came back and left a PUSH socket and a PULL socket open",
    ),
    "nothing given back": (pipeline(("    return certificates", "    return")), "gave back nothing (None)"),
    "prints the empty orders": (
        pipeline(("while order := pull.recv():", "while (order := pull.recv()) or not make(order):")),
        "tried to print an empty order",
    ),
}
RUN_RIGHT = {
    "the workers ask": """
def run(context, orders, workers, make):
    def work():
        with context.socket(zmq.REQ) as ask:
            ask.connect("inproc://desk")
            ask.send_multipart([b""])
            while order := ask.recv():
                try:
                    result = make(order)
                except ValueError:
                    result = b""
                ask.send_multipart([result])

    left, home, found = list(orders), 0, []
    threads = [threading.Thread(target=work) for _ in range(workers)]
    with context.socket(zmq.REP) as desk:
        desk.bind("inproc://desk")
        for thread in threads:
            thread.start()
        while home < workers:
            if result := desk.recv():
                found.append(result)
            home += not left
            desk.send(left.pop(0) if left else b"")
        for thread in threads:
            thread.join()
    return found
""",
    "a PUSH for each worker": """
def run(context, orders, workers, make):
    def work(name):
        with context.socket(zmq.PULL) as pull, context.socket(zmq.PUSH) as push:
            pull.connect(f"inproc://{name}")
            push.connect("inproc://finished")
            while order := pull.recv():
                try:
                    push.send(make(order))
                except ValueError:
                    push.send(b"")

    with context.socket(zmq.PULL) as sink:
        sink.bind("inproc://finished")
        threads, pushes = [], []
        for name in range(workers):
            pushes.append(context.socket(zmq.PUSH))
            pushes[-1].bind(f"inproc://{name}")
            threads.append(threading.Thread(target=work, args=(name,)))
            threads[-1].start()
        for n, order in enumerate(orders):
            pushes[n % workers].send(order)
        results = [sink.recv() for _ in orders]
        for push in pushes:
            push.send(b"")
        for thread in threads:
            thread.join()
        for push in pushes:
            push.close()
    return [each for each in results if each]
""",
    "a pool of threads": """
from concurrent.futures import ThreadPoolExecutor

def run(context, orders, workers, make):
    def work(name):
        made = []
        with context.socket(zmq.PULL) as pull, context.socket(zmq.PUSH) as here:
            pull.connect("inproc://orders")
            here.connect("inproc://here")
            here.send(b"here")
            while order := pull.recv():
                try:
                    made.append(make(order))
                except ValueError:
                    pass
        return made

    with context.socket(zmq.PUSH) as push, context.socket(zmq.PULL) as here, ThreadPoolExecutor(workers) as pool:
        push.bind("inproc://orders")
        here.bind("inproc://here")
        parts = [pool.submit(work, n) for n in range(workers)]
        for _ in parts:
            here.recv()
        for order in list(orders) + [b""] * workers:
            push.send(order)
        return [each for part in parts for each in part.result()]
""",
}


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.parametrize("name", RUN_WRONG)
def test_running_goes_wrong(name: str) -> None:
    cell, question = RUN_WRONG[name]
    assert_not_yet(answer("11", 5, cell), question)


@pytest.mark.parametrize("name", RUN_RIGHT)
def test_running_goes_right_in_more_than_one_way(name: str) -> None:
    assert_correct(answer("11", 5, RUN_RIGHT[name]))


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_the_starter_of_the_pipeline_hangs_or_leaves_something_behind() -> None:
    outcome = answer("11", 5, starter("11", 5).replace("# that was all", "") + "\n    # changed\n    return None\n")
    assert outcome.status == "not yet"
