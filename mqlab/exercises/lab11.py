"""Lab 11, sockets without a broker: each check plays the programs around the answer, and looks at what arrives."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import zmq

from mqlab import campus
from mqlab.exercises import Exercise, NotYet, returned
from mqlab.exercises import zmq_bench as bench

ORDERS = [event.name.encode() for event in campus.sign_ups(9)]


def certificate(order: bytes) -> bytes:
    return b"certificate of " + order


def _names(messages: list[Any]) -> str:
    return ", ".join(each.decode(errors="replace") for each in messages) or "nothing"


def _send_all(socket: zmq.Socket[bytes], messages: list[bytes]) -> None:
    for each in messages:
        socket.send(each)


# ---- 1 the worker


def check_work(_: Any, work: Callable[..., object]) -> str:
    """Be a ventilator that is there, and a sink that comes only when the worker has gone."""
    made: list[bytes] = []

    def make(order: bytes) -> bytes:
        made.append(order)
        return certificate(order)

    orders = ORDERS[:4]
    with bench.stage() as stage:
        ventilator, source = stage.bind(zmq.PUSH)
        later = stage.free()
        sending = stage.play(_send_all, ventilator, [*orders, b""])
        count = stage.lend(
            lambda context: work(context, source, later, make),
            "Your worker was still running after 2.5 s, and the empty message was on its way. What does it wait for, "
            "and what ends its loop?",
        )
        sending.join()
        if sending.error is not None:
            raise NotYet(
                "The ventilator has bound its address, and nobody took its orders. Which kind of socket takes what a "
                "PUSH sends, and to which of the two addresses does it connect?"
            )
        stage.expect_tidy("Your worker")
        sink, _address = stage.bind(zmq.PULL, at=later)
        arrived = [frames[-1] for frames in bench.take(sink, len(orders), quiet=700 if made else 50)]
        arrived += [frames[-1] for frames in bench.rest(sink, 50)]
    if b"" in made:
        raise NotYet("Your worker has made a certificate of the empty message. What does that message mean?")
    if not made:
        raise NotYet("Your worker came back before `make` was called. Who reads the orders?")
    if made != orders:
        raise NotYet(
            f"The orders were {_names(orders)}. `make` was called for {_names(made)}. Where does your loop stop?"
        )
    if not arrived:
        raise NotYet(
            f"{len(orders)} certificates were made. The sink was started when your worker had gone, and got none. Is "
            "everything sent to `finished`? And what does a socket do at `close` with what is not out yet?"
        )
    if b"" in arrived:
        raise NotYet("The sink got an empty certificate. For whom was the empty message meant?")
    if arrived == orders:
        raise NotYet("The sink got the orders. Who wanted what `make` gives back?")
    if sorted(arrived) != sorted(map(certificate, orders)):
        raise NotYet(f"The sink should get four certificates, each once. It got: {_names(arrived)}. What do you send?")
    returned(count, int, "work")
    if count != len(orders):
        raise NotYet(f"{len(orders)} certificates were made, your worker says {count}. What does it count?")
    return "Four orders in, four certificates out, though the sink came when the worker had gone."


# ---- 2 three programs


def check_missing(
    _: Any, announce: Callable[..., object], report: Callable[..., object], listen: Callable[..., object]
) -> str:
    """Subscribe to the news, be a late sink, publish on courses whose names begin alike."""
    _expect_announced(announce)
    _expect_reported(report)
    _expect_listened(listen)
    return "Too early, too quick to leave, too many friends: three reasons, and nothing is missing any more."


def _expect_announced(announce: Callable[..., object]) -> None:
    news = [b"certificates are ready", b"the print shop is closed", b"term begins"]
    stuck = "`announce` was still running after 2.5 s. How does it wait for a subscriber, and with which limit?"
    with bench.stage() as stage:
        address = stage.free_for_answer()
        subscriber = stage.connect(zmq.SUB, address, subscribe=b"")
        told = stage.lend(lambda context: announce(context, address, news, 2.0), stuck)
        arrived = [frames[-1] for frames in bench.take(subscriber, len(news), quiet=500)]
        arrived += [frames[-1] for frames in bench.rest(subscriber, 30)]
        stage.expect_tidy("`announce`")
    if not arrived:
        raise NotYet(
            "`announce`: the subscriber was there in time and got nothing. It had to connect to your address, and to "
            "subscribe. Who tells your program that this has happened?"
        )
    if any(each[:1] == b"\x01" for each in arrived):
        raise NotYet("`announce`: the subscriber got its own subscription as news. What do you do with it?")
    if arrived != news:
        raise NotYet(
            f"`announce`: there were {len(news)} news, the subscriber got: {_names(arrived)}. Is it connected, or has "
            "it also subscribed when you begin?"
        )
    if told is not True:
        raise NotYet(f"`announce` has sent the news, and gave back {told!r}. What should it give back?")
    with bench.stage() as stage:
        address = stage.free_for_answer()
        told = stage.lend(lambda context: announce(context, address, news, 0.1), stuck)
        stage.expect_tidy("`announce`")
    if told is not False:
        raise NotYet(
            f"`announce`: nobody came for `patience` seconds, and it gave back {told!r}. How would it know whether "
            "somebody is there?"
        )


def _expect_reported(report: Callable[..., object]) -> None:
    results = [certificate(order) for order in ORDERS[:3]]
    with bench.stage() as stage:
        address = stage.free()
        stage.lend(
            lambda context: report(context, address, results),
            "`report` should return at once, and was still running after 2.5 s. Whom does it wait for? The sink may "
            "come much later.",
        )
        stage.expect_tidy("`report`")
        sink, _address = stage.bind(zmq.PULL, at=address)
        arrived = [frames[-1] for frames in bench.take(sink, len(results), quiet=700)]
        arrived += [frames[-1] for frames in bench.rest(sink, 30)]
    if not arrived:
        raise NotYet(
            "`report`: the sink came a moment after your program had closed its socket, and got nothing. Where had the "
            "results been, and which number says how long they may stay there?"
        )
    if arrived != results:
        raise NotYet(f"`report`: three results were to be sent. The sink got: {_names(arrived)}. Is each sent once?")


def _expect_listened(listen: Callable[..., object]) -> None:
    course = b"course/7"
    comments = [
        (b"course/71", b"other 1"),
        (course, b"mine 1"),
        (b"course/70", b"other 2"),
        (b"course/6", b"other 3"),
        (course, b"mine 2"),
        (b"course/7/exam", b"other 4"),
        (course, b"mine 3"),
        (course, b"mine 4"),
    ]
    wanted = [body for topic, body in comments if topic == course][:3]

    def publish(publisher: zmq.Socket[bytes]) -> None:
        while not publisher.recv().startswith(b"\x01"):
            pass
        for topic, body in comments:
            publisher.send_multipart([topic, body])

    with bench.stage() as stage:
        publisher, address = stage.bind(zmq.XPUB, sndhwm=0)
        publishing = stage.play(publish, publisher)
        bodies = stage.lend(
            lambda context: listen(context, address, course, 3),
            "`listen` was still running after 2.5 s. Three comments on the course were sent. What does it wait for?",
        )
        stage.expect_tidy("`listen`")
        publishing.join(0.5)
        if publishing.is_alive():
            raise NotYet("`listen` came back and has never subscribed. What does a SUB socket get without that?")
    returned(bodies, list, "listen")
    assert isinstance(bodies, list)
    others = [body for body in bodies if isinstance(body, bytes) and body.startswith(b"other")]
    if others:
        raise NotYet(
            f"`listen`: {len(others)} of your comments belong to another course, such as course/71. How much of a "
            "topic does a subscription look at?"
        )
    if bodies != wanted:
        raise NotYet(
            f"`listen` should give back the bodies mine 1, mine 2, mine 3. It gave back {str(bodies)[:80]}. Which "
            "frame is the body, and which messages do you count?"
        )


# ---- 3 fair or fast

TRANSCRIPT = [60] + 9 * [1]
QUESTIONS = {
    "six orders": [("worker", "Ada"), ("worker", "Bo"), *[("order", 1)] * 6],
    "Bo comes late": [("worker", "Ada"), *[("order", 1)] * 4, ("worker", "Bo"), *[("order", 1)] * 4],
    "pages": [("worker", "Ada"), ("worker", "Bo"), *[("order", pages) for pages in TRANSCRIPT]],
}
ASK = {
    "six orders": "In what order does PUSH deal?",
    "Bo comes late": "Does an order that was sent to Ada ever move to Bo?",
    "pages": "Does PUSH know how many pages an order has, or who is free?",
}


def dealt(program: list[tuple[str, Any]]) -> dict[str, list[Any]]:
    """Return what each worker gets: in turn among those who are there."""
    workers: list[str] = []
    share: dict[str, list[Any]] = {}
    turn = 0
    for step, what in program:
        if step == "worker":
            workers.append(what)
            share[what] = []
        else:
            share[workers[turn]].append(what)
            turn = (turn + 1) % len(workers)
    return share


def check_fair(_: Any, prediction: Any, measured: Callable[..., object]) -> str:
    """Compare the prediction with the truth, and run the measurement on these programs and on others."""
    if not isinstance(prediction, dict) or set(prediction) != set(QUESTIONS):
        raise NotYet(f"`prediction` should be a dict with the keys {', '.join(QUESTIONS)}. What is it?")
    for name, program in QUESTIONS.items():
        share = dealt(program)
        truth = tuple(sum(each) for each in share.values())  # an order of one page counts one
        guess = prediction[name]
        if not isinstance(guess, tuple | list) or len(guess) != 2:
            raise NotYet(f"`prediction[{name!r}]` should be a pair: Ada's number, Bo's number. What is {guess!r}?")
        if not all(isinstance(each, int) for each in guess) or sum(guess) != sum(truth):
            what = "pages" if name == "pages" else "orders"
            raise NotYet(
                f"{name}: together Ada and Bo have {sum(truth)} {what}. You predict {guess!r}. Who has the rest?"
            )
        if tuple(guess) != truth:
            raise NotYet(f"{name}: it is not {tuple(guess)}. {ASK[name]}")
    for program in [*QUESTIONS.values(), _program(random.Random(3))]:
        _expect_measured(measured, program)
    return "PUSH deals in turn, at the moment of `send`, and never looks at the size: predicted, and then measured."


def _program(chance: random.Random) -> list[tuple[str, Any]]:
    names = ["Ada", "Bo", "Cleo", "Dan"]
    program: list[tuple[str, Any]] = [("worker", names.pop(0))]
    for _ in range(16):
        program.append(
            ("worker", names.pop(0)) if names and chance.random() < 0.3 else ("order", chance.randint(1, 60))
        )
    return program + [("worker", name) for name in names]


def _expect_measured(measured: Callable[..., object], program: list[tuple[str, Any]]) -> None:
    wanted = dealt(program)
    with bench.stage() as stage:
        found = stage.lend(
            lambda context: measured(context, list(program)),
            "`measured` was still running after 2 s. Which `recv` waits for a message that never comes, or which "
            "`send` for a worker?",
            2.0,
        )
        stage.expect_tidy("`measured`")
    returned(found, dict, "measured")
    assert isinstance(found, dict)
    if set(found) != set(wanted):
        raise NotYet(
            f"The workers were {', '.join(wanted)}. `measured` tells of {', '.join(map(str, found)) or 'nobody'}. Who "
            "is missing, perhaps for want of an order?"
        )
    if not all(isinstance(each, list) for each in found.values()):
        raise NotYet("`measured` should give back a list for each worker: the pages received. What does it give back?")
    if any(isinstance(each, str | bytes) for got in found.values() for each in got):
        raise NotYet("`measured` should give back pages as numbers. What is inside your lists?")
    if found == wanted:
        return
    name = next(name for name in wanted if found[name] != wanted[name])
    raise NotYet(
        f"In one program {name} gets {str(wanted[name])[:60]}, you measured {str(found[name])[:60]}. Is each step "
        "done in its order, with one PUSH socket that connects to each worker, and is all read that has arrived?"
    )


# ---- 4 the workers ask


def check_hand_out(_: Any, hand_out: Callable[..., object]) -> str:
    """Ask as two workers of whom one is slow, as one who is slower than it is patient, and as one who dies."""
    orders = [b"transcript", *ORDERS]
    slow: list[bytes] = []
    fast: list[bytes] = []
    slow_has_one, fast_is_home = threading.Event(), threading.Event()

    def ask(worker: zmq.Socket[bytes]) -> bytes:
        worker.send(b"work, please")
        return worker.recv()

    def be_slow(worker: zmq.Socket[bytes]) -> None:
        try:
            slow.append(ask(worker))
        finally:
            slow_has_one.set()
        fast_is_home.wait(bench.SECONDS)
        slow.append(ask(worker))

    def be_fast(worker: zmq.Socket[bytes]) -> None:
        slow_has_one.wait(bench.SECONDS)
        try:
            while order := ask(worker):
                fast.append(order)
                if len(fast) > len(orders):
                    break
            fast.append(order)
        finally:
            fast_is_home.set()

    stuck = "`hand_out` was still running after 2.5 s, and nobody had asked for long. How does it notice the silence?"
    with bench.stage() as stage:
        left, open_still = _at_a_desk(stage, hand_out, orders, 0.4, stuck, be_slow, be_fast)
    if not slow:
        raise NotYet("A worker asked, and got no answer. Which call takes a question from the desk, which one answers?")
    if slow[0] not in orders:
        raise NotYet(f"A worker asked for work, and was answered {slow[0]!r}. What is on the desk?")
    handed = slow[:1] + [order for order in fast if order]
    if slow[0] != orders[0] or handed != orders[: len(handed)]:
        raise NotYet(
            f"The desk has {_names(orders[:3])} ... The workers got {_names(handed[:4])}. Which order is next?"
        )
    if len(handed) < len(orders):
        raise NotYet(
            f"{len(orders)} orders were on the desk, and only {len(handed)} were handed out. Why did you stop?"
        )
    if fast[-1:] != [b""] or slow[-1:] != [b""]:
        raise NotYet(
            "All orders are out. A worker asked once more, and got no answer. Who tells each of them to go home?"
        )
    if left is None:
        raise NotYet("`hand_out` gave back nothing (None): is there a `return`?")
    if left != []:
        raise NotYet(
            f"All orders were handed out, and `hand_out` gave back {str(left)[:60]}. What is left on the desk?"
        )
    if not open_still:
        raise NotYet("After `hand_out` the desk is closed. Whose socket is it?")
    _expect_patient(hand_out, stuck)
    _expect_left(hand_out, stuck, ask)
    return (
        "The slow worker had one order, the fast one nine. Nobody waits any more, and what nobody took is still there."
    )


def _at_a_desk(
    stage: bench.Stage, hand_out: Callable[..., object], orders: list[bytes], quiet: float, stuck: str, *acts: Any
) -> tuple[Any, bool]:
    """Run the answer while the acts ask, each in a thread; return what it gave back, and whether the desk is open."""
    desk = stage.lent.socket(zmq.REP)
    desk.bind(f"{bench.LOOPBACK}:*")
    address = desk.getsockopt_string(zmq.LAST_ENDPOINT)
    players = [stage.play(act, stage.connect(zmq.REQ, address)) for act in acts]
    left = stage.lend(lambda _context: hand_out(desk, list(orders), quiet), stuck)
    open_still = not desk.closed
    with suppress(zmq.ZMQError):
        desk.close(0)
    for player in players:
        player.join(0.3)
    stage.dismiss()
    return left, open_still


def _expect_patient(hand_out: Callable[..., object], stuck: str) -> None:
    """Ask (by NotYet) when the limit is for the whole time, not for one silence."""
    pause, asked = threading.Event(), []

    def now_and_then(worker: zmq.Socket[bytes]) -> None:
        for _ in range(6):
            worker.send(b"work, please")
            asked.append(worker.recv())
            pause.wait(0.1)

    with bench.stage() as stage:
        _at_a_desk(stage, hand_out, ORDERS, 0.4, stuck, now_and_then)
    if len(asked) < 6:
        raise NotYet(
            "A worker came every tenth of a second, `quiet` was 0.4 s, and you left in the middle. From when on is a "
            "silence measured?"
        )


def _expect_left(hand_out: Callable[..., object], stuck: str, ask: Callable[..., bytes]) -> None:
    """Ask (by NotYet) when what a dead worker did not ask for is not given back."""

    def ask_twice_and_die(worker: zmq.Socket[bytes]) -> None:
        ask(worker)
        ask(worker)

    with bench.stage() as stage:
        left, _ = _at_a_desk(stage, hand_out, ORDERS, 0.2, stuck, ask_twice_and_die)
    if left != ORDERS[2:]:
        raise NotYet(
            f"The only worker took two of nine orders and died. `hand_out` gave back {str(left)[:60]}. Which seven are "
            "still on the desk?"
        )


# ---- 5 the whole pipeline


class _Shop:
    """Makes certificates; sees how many workers are at it at the same time."""

    def __init__(self, workers: int) -> None:
        self.orders: list[bytes] = []
        self._together = threading.Barrier(workers)
        self._first: set[int] = set()
        self.alone = False

    def make(self, order: bytes) -> bytes:
        self.orders.append(order)
        me = threading.get_ident()
        if me not in self._first:
            self._first.add(me)
            try:
                self._together.wait(1.0)
            except threading.BrokenBarrierError:
                self.alone = True
        if order == b"?":
            raise ValueError("there is no name on this order")
        return certificate(order)


def check_run(_: Any, run: Callable[..., object]) -> str:
    """Run the pipeline with orders that can all be printed, then with one that cannot."""
    _expect_printed(run, ORDERS, 3)
    _expect_printed(run, [*ORDERS[:2], b"?", *ORDERS[2:]], 2)
    return "Everything is printed by all workers, a bad order stops nobody, and no thread and no socket is left."


def _expect_printed(run: Callable[..., object], orders: list[bytes], workers: int) -> None:
    shop = _Shop(workers)
    with bench.stage() as stage:
        found = _run(stage, run, orders, workers, shop)
    returned(found, list, "run")
    assert isinstance(found, list)
    wanted = [certificate(order) for order in orders if order != b"?"]
    if b"" in shop.orders:
        raise NotYet("A worker tried to print an empty order. What was that message for?")
    if not shop.orders:
        raise NotYet("`run` came back before anything was printed. Who calls `make`?")
    if shop.alone:
        raise NotYet(
            f"There were {workers} workers, and {len(shop._first)} of them got orders. PUSH deals to those who are "
            "connected: how do you know that all are, before the first order goes out?"
        )
    if b"" in found:
        raise NotYet("Among the certificates is an empty one. Which message was not a certificate?")
    try:
        missing = [each for each in wanted if each not in found]
        extra = len(found) - len(wanted)
    except TypeError:
        missing, extra = wanted, 0
    if missing:
        raise NotYet(
            f"{len(orders)} orders, and {len(missing)} certificates are missing in your list, such as "
            f"{_names(missing[:1])}. Was it still on its way when you stopped, or was it never made?"
        )
    if extra:
        raise NotYet(f"Your list has {extra} more than there are certificates. What else arrives at the sink?")


def _run(stage: bench.Stage, run: Callable[..., object], orders: list[bytes], workers: int, shop: _Shop) -> object:
    """Return what the answer gives back; NotYet when it hangs, and about what it leaves behind."""

    def still_running() -> str:
        bad = "One order cannot be printed: who waits for its certificate?" if b"?" in orders else ""
        return (
            f"`run` was still running after 2.5 s; {len(shop.orders)} of {len(orders)} orders had come to `make`. "
            + (bad or "Who waits for whom: does each worker hear that it is over, and does the sink?")
        )

    found = stage.lend(lambda context: run(context, list(orders), workers, shop.make), still_running)
    left = stage.threads_left(1.0)
    if left:
        raise NotYet(
            f"`run` came back, and {len(left)} of its {workers} workers still wait for an order. How many messages say "
            "that it is over, and who waits for the threads?"
        )
    stage.expect_tidy("`run`")
    return found


EXERCISES = [
    Exercise(
        1,
        "Make the worker",
        check_work,
        (
            "Two sockets, one loop. What comes in through the one goes out through the other, with `make` in between.",
            "`context.socket(zmq.PULL)` and `context.socket(zmq.PUSH)`, each used in a `with`, which closes it. Both "
            "*connect*: the other programs bind. An empty message is false: `while order := pull.recv():`.",
            "In the loop: `push.send(make(order))`, and count. After the `with` return the count. Set no linger: what "
            "is not out yet must stay.",
        ),
        seconds=9,
    ),
    Exercise(
        2,
        "Find the missing message",
        check_missing,
        (
            "Ask of each program: at the moment of `send`, who is there? At the moment of `close`, what is still "
            "inside? And of the third: which messages are let in?",
            "XPUB is a PUB that can `recv`: it gives you each subscription as a message, and `poll(milliseconds)` "
            "waits for one with a limit. `close()` without `linger=0` keeps what is not out. A subscription is the "
            "*beginning* of a topic.",
            "`announce`: with an XPUB, `if not publisher.poll(patience * 1000): return False`, then "
            "`publisher.recv()`, then send. `report`: `push.close()`. `listen`: loop until there are n bodies, and "
            "append only `if topic == course`.",
        ),
        seconds=9,
    ),
    Exercise(
        3,
        "Fair or fast?",
        check_fair,
        (
            "PUSH deals like cards: one for each who sits at the table, in turn. Nobody at the table may look, and no "
            "card is dealt twice.",
            "Keep the PULL sockets in a dict. `pull.poll(20)` is 0 when nothing has come for 20 ms, so "
            "`while pull.poll(20):` reads all that has arrived. Close every socket.",
            "Question 2: Ada has four, and then half of the other four. Question 3: in turn, so Ada has the "
            "transcript and four certificates. In `measured`: `pulls[what].bind(f'inproc://{what}')`, then "
            "`push.connect(...)` to the same.",
        ),
        seconds=9,
    ),
    Exercise(
        4,
        "Let the workers ask",
        check_hand_out,
        (
            "A question, an answer, a question, an answer. The answer depends on whether something is left, and the "
            "waiting on how long nobody asks.",
            "`desk.poll(quiet * 1000)` waits for a question, and is 0 when none has come. After `desk.recv()` you must "
            "`desk.send(...)` before you take the next question.",
            "`left = list(orders)`; `while desk.poll(quiet * 1000):` take the question, and send `left.pop(0) if left "
            'else b""`. '
            "After the loop return `left`.",
        ),
        seconds=9,
    ),
    Exercise(
        5,
        "Stop the whole pipeline cleanly",
        check_run,
        (
            "Three people must know that it is over: each worker, the sink, and whoever waits for the threads. Who "
            "tells whom? And when may the first order go out?",
            "Let each worker send *here* when it is connected, and *gone* when it leaves. Before the first order the "
            "sink waits for all *here*; at the end it waits for all *gone*. Send as many empty messages as there are "
            "workers.",
            "Send two frames, `[b'made', certificate]`, so that the sink can tell a certificate from *here* and "
            "*gone*. Catch ValueError around `make`. Open every socket in a `with`, in the thread that uses it. `join` "
            "the threads before you return.",
        ),
        seconds=9,
    ),
]
