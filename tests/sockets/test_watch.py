"""Watched sockets: plain pyzmq, and what it does is in the trace; nothing is left behind."""

import asyncio
import contextlib
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
import zmq
import zmq.asyncio
from conservation import conserved

from mqlab import processes, sockets
from mqlab.sockets import Watch
from mqlab.state import State

LIMIT = 5_000  # ms


@pytest.fixture
def watch() -> Iterator[Watch]:
    files = psutil.Process().num_fds() if hasattr(psutil.Process, "num_fds") else 0
    before = set(threading.enumerate())
    with sockets.watch() as made:
        yield made
        trace = made.settle()
        assert made.problems == []
        for state in trace.states(trace.first, len(trace) + 1):
            assert conserved(state), state.moment
    assert set(threading.enumerate()) <= before
    end = time.monotonic() + 5
    while files and psutil.Process().num_fds() > files + 2:  # libzmq closes the last ones a moment later
        assert time.monotonic() < end, psutil.Process().open_files()
        time.sleep(0.01)


def made(watch: Watch, kind: int, name: str, context: zmq.Context | None = None, **options: int) -> zmq.Socket:
    socket = watch.name((context or watch._contexts[0] if watch._contexts else watch.context()).socket(kind), name)
    socket.rcvtimeo = socket.sndtimeo = LIMIT
    for option, value in options.items():
        setattr(socket, option, value)
    return socket


def until(watch: Watch, holds: Callable[[State], object], seconds: float = 5) -> State:
    end = time.monotonic() + seconds
    while not holds(state := watch.settle().state()):
        assert time.monotonic() < end, str(state)
        time.sleep(0.01)
    return state


def waiting(state: State) -> dict[str, list[str]]:
    return {name: [state.messages[id].label for id in pipe.ready] for name, pipe in state.queues.items()}


# ---- patterns


def test_push_deals_to_its_pipes_in_turn(watch: Watch) -> None:
    push = made(watch, zmq.PUSH, "campus")
    workers = [made(watch, zmq.PULL, name) for name in ("Ada", "Ben")]
    push.bind("inproc://work")
    for worker in workers:
        worker.connect("inproc://work")
    for n in range(5):
        push.send_string(f"task {n}")
    state = watch.settle().state()
    assert waiting(state) == {"campus → Ada": ["task 0", "task 2", "task 4"], "campus → Ben": ["task 1", "task 3"]}
    assert workers[0].recv_string() == "task 0" and workers[1].recv_string() == "task 1"
    state = watch.settle().state()
    assert (state.published, state.ready, state.ended["acked"]) == (5, 3, 2)
    assert waiting(state) == {"campus → Ada": ["task 2", "task 4"], "campus → Ben": ["task 3"]}
    assert {event.seen for event in watch.trace if event.kind == "route"} == {"inferred"}


def test_a_wrong_guess_is_put_right(watch: Watch) -> None:
    """The watch is told of two connections in the other order than the sockets have made them."""
    push, ada, ben = (
        made(watch, kind, name) for kind, name in ((zmq.PUSH, "campus"), (zmq.PULL, "Ada"), (zmq.PULL, "Ben"))
    )
    push.bind("inproc://work")
    ben.connect("inproc://work")
    ada.connect("inproc://work")
    watch.settle()
    source = push._end
    source.outs.reverse()
    for n in range(4):
        push.send_string(str(n))
    assert waiting(watch.settle().state()) == {"campus → Ben": ["1", "3"], "campus → Ada": ["0", "2"]}
    assert ben.recv() == b"0"
    assert waiting(watch.settle().state()) == {"campus → Ben": ["2"], "campus → Ada": ["1", "3"]}
    assert [ada.recv(), ben.recv(), ada.recv()] == [b"1", b"2", b"3"]
    assert watch.settle().state().ended == {"acked": 4}


def test_push_waits_at_the_mark(watch: Watch) -> None:
    push, pull = made(watch, zmq.PUSH, "campus", sndhwm=2), made(watch, zmq.PULL, "Ada", rcvhwm=3)
    push.bind("inproc://work")
    pull.connect("inproc://work")
    for n in range(5):
        push.send_string(str(n), zmq.NOBLOCK)
    with pytest.raises(zmq.Again):
        push.send_string("too many", zmq.NOBLOCK)
    state = watch.settle().state()
    assert (state.queues["campus → Ada"].limit, state.ready, state.published) == (5, 5, 5)
    assert [event.kind for event in watch.trace][-2:] == ["wait", "go-on"]

    thread = threading.Thread(target=push.send_string, args=["5"], daemon=True)
    thread.start()
    assert until(watch, lambda state: state.queues["campus → Ada"].waits).queues["campus → Ada"].waits == {
        "campus": "put"
    }
    assert [pull.recv() for _ in range(6)] == [b"0", b"1", b"2", b"3", b"4", b"5"]
    thread.join(5)
    state = watch.settle().state()
    assert (state.published, state.ended["acked"], state.queues["campus → Ada"].waits) == (6, 6, {})


def test_who_waits_for_a_message_is_told(watch: Watch) -> None:
    push, pull = made(watch, zmq.PUSH, "campus"), made(watch, zmq.PULL, "Ada")
    push.bind("inproc://work")
    pull.connect("inproc://work")
    got: list[bytes] = []
    thread = threading.Thread(target=lambda: got.append(pull.recv()), daemon=True)
    thread.start()
    until(watch, lambda state: state.queues["campus → Ada"].waits == {"Ada": "get"})
    push.send(b"x")
    thread.join(5)
    assert got == [b"x"] and watch.settle().state().queues["campus → Ada"].waits == {}


def test_pub_drops_at_the_mark_and_sends_copies(watch: Watch) -> None:
    pub = made(watch, zmq.PUB, "news", sndhwm=5)
    slow, other = made(watch, zmq.SUB, "slow", rcvhwm=5), made(watch, zmq.SUB, "other", rcvhwm=100)
    pub.bind("inproc://news")
    pub.send_string("too early")
    for sub, topic in ((slow, ""), (other, "a")):
        sub.subscribe(topic)
        sub.connect("inproc://news")
    assert pub.EVENTS  # the publisher takes notice of them now, and not some time within a millisecond
    for n in range(30):
        pub.send_multipart([b"ab"[n % 2 :][:1], b"%d" % n])
    state = watch.settle().state()
    assert state.published == 31 and state.copied == 15
    assert (len(state.queues["news → slow"].ready), state.queues["news → slow"].dropped) == (10, 20)
    assert (len(state.queues["news → other"].ready), state.queues["news → other"].dropped) == (15, 0)
    assert state.exchanges["news"].dropped == 1
    got = [slow.recv_multipart() for _ in range(10)]
    assert [int(n) for _, n in got] == list(range(10)) and not slow.poll(0)
    assert [int(other.recv_multipart()[1]) for _ in range(15)] == list(range(0, 30, 2))
    state = watch.settle().state()
    assert (state.ready, state.ended["acked"], state.ended["dropped"]) == (0, 25, 21)
    reasons = {event.why for event in watch.trace if event.kind == "drop"}
    assert reasons == {"nobody is connected", "the pipe was full"}


def test_which_ones_were_dropped_is_put_right(watch: Watch) -> None:
    """A publisher that does not know of its subscriber yet loses messages, and its pipe has room for later ones."""
    pub, sub = made(watch, zmq.PUB, "news", sndhwm=2), made(watch, zmq.SUB, "Ada", rcvhwm=2)
    pub.bind("inproc://news")
    sub.connect("inproc://news")
    watch.note(["subscribed", sub._end, b""])
    for n in range(5):
        pub.send(b"early %d" % n)
    zmq.Socket.__mro__[1].set(sub, zmq.SUBSCRIBE, b"")
    assert pub.EVENTS
    for n in range(5):
        pub.send(b"late %d" % n)
    assert [sub.recv() for _ in range(4)] == [b"late %d" % n for n in range(4)]
    state = watch.settle().state()
    assert (state.published, state.ended) == (10, {"acked": 4, "dropped": 6})
    assert [message.label for message in state.done if message.state == "acked"] == [f"late {n}" for n in range(4)]


def test_over_tcp_what_never_comes_is_dropped_when_that_is_seen(watch: Watch) -> None:
    pub, sub = made(watch, zmq.PUB, "news", sndhwm=10), made(watch, zmq.SUB, "Ada", rcvhwm=10)
    pub.bind("tcp://127.0.0.1:*")
    sub.subscribe("")
    sub.connect(pub.LAST_ENDPOINT.decode())
    sent = 0
    while not sub.poll(20):
        pub.send(b"%d" % sent)
        sent += 1
    first = int(sub.recv())
    assert not sub.poll(400)
    state = watch.settle().state()
    assert (state.ready, state.ended["acked"], state.ended["dropped"]) == (0, 1, sent - 1), first


def test_a_request_and_its_reply(watch: Watch) -> None:
    req, rep = made(watch, zmq.REQ, "Ana"), made(watch, zmq.REP, "campus")
    rep.bind("tcp://127.0.0.1:*")
    req.connect(rep.LAST_ENDPOINT.decode())
    for n in range(3):
        req.send_json({"name": f"Ana {n}"})
        assert rep.recv_json()["name"] == f"Ana {n}"
        rep.send_string("yes")
        assert req.recv_string() == "yes"
    state = watch.settle().state()
    assert (state.published, state.ended["acked"], sorted(state.queues)) == (6, 6, ["Ana → campus", "campus → Ana"])
    assert next(event.label for event in watch.trace if event.kind == "publish") == "Ana 0"
    assert {event.seen for event in watch.trace} <= {"socket"}


def test_router_knows_each_dealer(watch: Watch) -> None:
    router, ada, ben = (
        made(watch, kind, name) for kind, name in ((zmq.ROUTER, "desk"), (zmq.DEALER, "Ada"), (zmq.REQ, "Ben"))
    )
    router.bind("inproc://desk")
    ada.routing_id = b"ada"
    ada.connect("inproc://desk")
    ben.connect("inproc://desk")
    ada.send_multipart([b"", b"ready"])
    ben.send(b"ready")
    names = {}
    for _ in range(2):
        identity, empty, body = router.recv_multipart()
        assert (empty, body) == (b"", b"ready")
        names[identity == b"ada"] = identity
    router.send_multipart([b"ada", b"", b"for Ada"])
    router.send_multipart([names[False], b"", b"for Ben"])
    router.send_multipart([b"nobody", b"lost"])
    state = watch.settle().state()
    assert waiting(state)["desk → Ada"] == ["for Ada"] and waiting(state)["desk → Ben"] == ["for Ben"]
    assert state.ended == {"acked": 2, "dropped": 1}
    assert ada.recv_multipart()[1] == b"for Ada" and ben.recv() == b"for Ben"
    assert watch.settle().state().ended["acked"] == 4


def test_parts_sent_and_received_one_by_one_are_one_message(watch: Watch) -> None:
    one, two = made(watch, zmq.PAIR, "one"), made(watch, zmq.PAIR, "two")
    one.bind("inproc://pair")
    two.connect("inproc://pair")
    one.send(b"a", zmq.SNDMORE)
    one.send(zmq.Frame(b"b"), copy=False)
    assert (two.recv(), two.recv(copy=False).bytes) == (b"a", b"b")
    two.send_serialized([1, 2], lambda parts: [b"%d" % part for part in parts])
    assert one.recv_multipart() == [b"1", b"2"]
    assert watch.settle().state().ended == {"acked": 2}


# ---- a proxy, other processes, monitors


@pytest.mark.parametrize("place", ["inproc://%s", "tcp://127.0.0.1:*"])
def test_a_proxy_tells_what_it_passes_on(watch: Watch, place: str) -> None:
    front, back = made(watch, zmq.ROUTER, "front"), made(watch, zmq.DEALER, "back")
    client, worker = made(watch, zmq.REQ, "Ana"), made(watch, zmq.REP, "Ada")
    for socket, other, name in ((front, client, "front"), (back, worker, "back")):
        socket.bind(place.replace("%s", name))
        other.connect(socket.LAST_ENDPOINT.decode())
    proxy = watch.proxy(front, back)
    for n in range(20):
        client.send(b"ask %d" % n)
        worker.send(worker.recv() + b"!")
        assert client.recv() == b"ask %d!" % n
    state = watch.settle().state()
    assert (state.published, state.ended["acked"]) == (80, 80)
    assert sum(event.seen == "capture" for event in watch.trace if event.kind == "publish") == 40
    proxy.stop()
    assert not proxy.alive


def test_a_proxy_of_subscriptions(watch: Watch) -> None:
    front, back = made(watch, zmq.XSUB, "in"), made(watch, zmq.XPUB, "out")
    pub, sub = made(watch, zmq.PUB, "campus"), made(watch, zmq.SUB, "Ada")
    front.bind("inproc://in")
    back.bind("inproc://out")
    sub.connect("inproc://out")
    sub.subscribe("a")
    watch.proxy(front, back)
    pub.connect("inproc://in")
    while not sub.poll(20):
        pub.send(b"a new course")
    pub.send(b"b not for Ada")
    assert sub.recv() == b"a new course"
    assert until(watch, lambda state: "in → out" not in state.queues).ended["dropped"] >= 1


def echo(address, count):
    import zmq

    with zmq.Context() as context, context.socket(zmq.REP) as socket:
        socket.connect(address)
        for _ in range(count):
            socket.send(socket.recv() + b"!")
        print("done")
        socket.recv()


def test_a_process_is_drawn_as_others_and_its_death_is_seen(watch: Watch) -> None:
    dealer = made(watch, zmq.REQ, "campus")
    dealer.bind("tcp://127.0.0.1:*")
    with processes.start(echo, dealer.LAST_ENDPOINT.decode(), 2, name="Ada") as worker:
        for n in range(2):
            dealer.send(b"%d" % n)
            assert dealer.recv() == b"%d!" % n
        state = watch.settle().state()
        assert (state.published, state.ended["acked"]) == (4, 4)
        assert sorted(state.queues) == ["campus → others of campus", "others of campus → campus"]
        assert [connection.open for connection in state.connections.values()] == [True]
        worker.wait_for("done")
        worker.kill()
        until(watch, lambda state: not any(connection.open for connection in state.connections.values()))
    assert {event.seen for event in watch.trace if event.kind in ("connect", "disconnect")} == {"monitor"}


def greet(address, identity):
    import zmq

    with zmq.Context() as context, context.socket(zmq.DEALER) as socket:
        socket.routing_id = identity.encode()
        socket.connect(address)
        socket.send(b"ready")
        socket.recv()


def test_a_router_knows_other_processes_by_their_identity(watch: Watch) -> None:
    router = made(watch, zmq.ROUTER, "desk")
    router.bind("tcp://127.0.0.1:*")
    with processes.start(greet, router.LAST_ENDPOINT.decode(), "Ada", name="Ada") as worker:
        assert router.recv_multipart() == [b"Ada", b"ready"]
        router.send_multipart([b"Ada", b"go home"])
        assert worker.wait() == 0
    state = watch.settle().state()
    assert sorted(state.queues) == ["Ada → desk", "desk → Ada"] and state.ended == {"acked": 2}


def test_the_learners_own_monitor_works_too(watch: Watch) -> None:
    from zmq.utils.monitor import parse_monitor_message

    rep, req = made(watch, zmq.REP, "campus"), made(watch, zmq.REQ, "Ana")
    monitor = rep.get_monitor_socket()
    rep.bind("tcp://127.0.0.1:*")
    req.connect(rep.LAST_ENDPOINT.decode())
    seen = set()
    while zmq.EVENT_HANDSHAKE_SUCCEEDED not in seen:
        assert monitor.poll(LIMIT)
        seen.add(parse_monitor_message(monitor.recv_multipart())["event"])
    assert zmq.EVENT_ACCEPTED in seen
    rep.disable_monitor()
    monitor.close()


def test_a_wrong_key_is_told(watch: Watch) -> None:
    public, secret = zmq.curve_keypair()
    rep, req = made(watch, zmq.REP, "campus"), made(watch, zmq.REQ, "Ana")
    rep.curve_secretkey, rep.curve_publickey, rep.curve_server = secret, public, True
    rep.bind("tcp://127.0.0.1:*")
    req.curve_secretkey, req.curve_publickey = zmq.curve_keypair()[::-1]
    req.curve_serverkey = zmq.curve_keypair()[0]
    req.connect(rep.LAST_ENDPOINT.decode())
    state = until(watch, lambda state: any(not c.open for c in state.connections.values()))
    assert any("handshake failed" in connection.why for connection in state.connections.values())


# ---- asyncio


def test_asyncio_is_watched_too(watch: Watch) -> None:
    async def talk() -> None:
        context = watch.context(asyncio=True)
        push, pull = watch.name(context.socket(zmq.PUSH), "campus"), watch.name(context.socket(zmq.PULL), "Ada")
        assert isinstance(push, zmq.asyncio.Socket)
        push.bind("inproc://work")
        pull.connect("inproc://work")
        receiving = asyncio.ensure_future(pull.recv_multipart())
        await asyncio.sleep(0)
        await push.send_string("a")
        await push.send_multipart([b"b", b"c"])
        assert (await asyncio.wait_for(receiving, 5), await pull.recv_multipart()) == ([b"a"], [b"b", b"c"])

    asyncio.run(talk())
    assert watch.settle().state().ended == {"acked": 2}


# ---- names, the end


def test_names() -> None:
    with sockets.watch() as watch:
        context = watch.context()
        push = context.socket(zmq.PUSH)
        assert watch.name(push, "campus") is push
        push.bind("inproc://a")
        with pytest.raises(ValueError, match="before it binds"):
            watch.name(push, "other")
        watch.settle()
        with pytest.raises(ValueError, match="already"):
            watch.name(context.socket(zmq.PULL), "campus")
        with pytest.raises(ValueError, match="not watched"), zmq.Context() as plain, plain.socket(zmq.PULL) as socket:
            watch.name(socket, "x")
        with pytest.raises(ValueError, match="→"):
            watch.name(context.socket(zmq.PULL), "a → b")
        pull = context.socket(zmq.PULL)
        pull.connect("inproc://a")
        assert list(watch.settle().state().queues) == ["campus → PULL 1"]


def test_a_closed_socket_goes_with_what_waits_for_it(watch: Watch) -> None:
    push, pull = made(watch, zmq.PUSH, "campus"), made(watch, zmq.PULL, "Ada")
    push.bind("inproc://a")
    pull.connect("inproc://a")
    push.send(b"1")
    push.send(b"2")
    assert pull.recv() == b"1"
    pull.close()
    state = watch.settle().state()
    assert (list(state.exchanges), list(state.queues), state.ended) == (["campus"], [], {"acked": 1, "dropped": 1})
    while push.poll(0, zmq.POLLOUT):  # until it has taken notice that the pipe has gone: a moment later
        time.sleep(0.005)
    again = made(watch, zmq.PULL, "Ada")
    again.connect("inproc://a")
    push.send(b"3")
    push.close()
    assert again.recv() == b"3"
    assert list(watch.settle().state().exchanges) == ["Ada"]


def test_a_second_watch_of_a_name_closes_the_first() -> None:
    before = threading.active_count()
    first = sockets.watch()
    socket = first.context().socket(zmq.PULL)
    socket.bind("tcp://127.0.0.1:*")
    address = socket.LAST_ENDPOINT.decode()
    with sockets.watch() as second:
        assert first.ended and socket.closed and not second.ended
        second.context().socket(zmq.PULL).bind(address)
        with sockets.watch("another"):
            assert not second.ended
    assert threading.active_count() == before
    first.close()
    assert first.settle() is first.trace


def test_closing_frees_a_thread_that_waits() -> None:
    before = threading.active_count()
    ended = []

    def take(socket: zmq.Socket) -> None:
        with contextlib.suppress(zmq.ContextTerminated):
            socket.recv()
        ended.append(True)

    with sockets.watch() as watch:
        pull = watch.context().socket(zmq.PULL)
        pull.bind("inproc://a")
        thread = threading.Thread(target=take, args=[pull])
        thread.start()
        while not watch.busy:
            time.sleep(0.001)
    thread.join(5)
    assert ended and threading.active_count() == before


def test_a_context_can_be_ended_by_the_learner(watch: Watch) -> None:
    with watch.context() as context, context.socket(zmq.PULL) as pull:
        pull.bind("tcp://127.0.0.1:*")
    assert context.closed
    other = watch.context()
    socket = other.socket(zmq.PUSH)
    socket.connect("tcp://127.0.0.1:9")
    other.destroy()
    assert other.closed


def test_a_forgotten_socket_is_gone(watch: Watch) -> None:
    pull = made(watch, zmq.PULL, "Ada")
    pull.bind("tcp://127.0.0.1:*")
    assert list(watch.settle().state().exchanges) == ["Ada"]
    del pull
    until(watch, lambda state: not state.exchanges)


def test_looking_again_and_again_is_told_once(watch: Watch) -> None:
    push, pull = made(watch, zmq.PUSH, "campus"), made(watch, zmq.PULL, "Ada")
    push.bind("inproc://a")
    pull.connect("inproc://a")
    for _ in range(5_000):
        with contextlib.suppress(zmq.Again):
            pull.recv(zmq.NOBLOCK)
    assert not watch.settle().state().trouble


def test_a_watch_left_open_costs_nothing_and_ends_with_the_program(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(LEFT_OPEN)
    ended = subprocess.run([sys.executable, program], capture_output=True, text=True, timeout=30, check=False)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert float(ended.stdout) < 0.05


LEFT_OPEN = """
import contextlib, threading, time
import zmq
from mqlab import sockets

def take(socket):
    with contextlib.suppress(zmq.ContextTerminated):
        socket.recv()

context = sockets.watch().context()
pull, push = context.socket(zmq.PULL), context.socket(zmq.PUSH)
pull.bind("tcp://127.0.0.1:*")
threading.Thread(target=take, args=[pull], daemon=True).start()
push.connect("tcp://127.0.0.1:9")
push.send(b"nobody is there")
time.sleep(0.3)
before = time.process_time()
time.sleep(1)
print(time.process_time() - before)
"""


# ---- many messages


def test_a_flood_is_counted_and_then_followed_again(watch: Watch) -> None:
    push, pull = made(watch, zmq.PUSH, "campus"), made(watch, zmq.PULL, "Ada")
    push.bind("inproc://a")
    pull.connect("inproc://a")

    def flood() -> None:
        for _ in range(20_000):
            push.send(b"x")

    thread = threading.Thread(target=flood, daemon=True)
    thread.start()
    for n in range(19_990):
        assert pull.recv() == b"x"
        if n == 15_000:
            assert watch.settle().state().trouble.startswith("More than 500")
    thread.join(5)
    state = watch.settle().state()
    assert (state.published, state.ended["acked"], state.ready) == (20_000, 19_990, 10)
    assert len(watch.trace.events) < 20_000
    until(watch, lambda state: not state.trouble)
    push.send(b"followed")
    assert [pull.recv() for _ in range(11)][-1] == b"followed"
    state = watch.settle().state()
    assert (state.published, state.ended["acked"], state.ready) == (20_001, 20_001, 0)
    assert state.done[-1].label == "followed"


def test_a_flood_at_the_mark(watch: Watch) -> None:
    pub, sub = made(watch, zmq.PUB, "news", sndhwm=50), made(watch, zmq.SUB, "Ada", rcvhwm=50)
    pub.bind("inproc://news")
    sub.subscribe("")
    sub.connect("inproc://news")
    assert pub.EVENTS
    for n in range(10_000):
        pub.send(b"%d" % n)
    state = watch.settle().state()
    assert (state.published, state.ready, state.ended["dropped"]) == (10_000, 100, 9_900)
    assert [int(sub.recv()) for _ in range(100)] == list(range(100))
    assert not sub.poll(0)
    state = until(watch, lambda state: not state.trouble)
    assert (state.ready, state.ended["acked"], state.ended["dropped"]) == (0, 100, 9_900)
