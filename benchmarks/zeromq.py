"""ZeroMQ's patterns in Python as the notebooks write them, beside the same in C, in one run; and what a watch costs.

Over tcp on this machine, the other end in a process of its own: messages a second and the median time there and back,
for 100 B, 1 kB and 100 kB, as ratios to C (medians of the rounds). The C column is left out where gcc or libzmq's
header is missing. Then PUSH and PULL at 1 kB on a plain context beside a watched one.

    python3 course.py bench zeromq
"""

import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import zmq

from mqlab import processes, sockets

SIZES = {100: (1_000, 100_000), 1_000: (1_000, 50_000), 100_000: (300, 1_000)}  # bytes: round trips, messages one way
TASKS = 20  # of so many times fewer tasks: each is a round trip
PATTERNS = ("req-rep", "push-pull", "pub-sub", "router-dealer")
ROUNDS = int(os.environ.get("MQLAB_ROUNDS", "3"))
FLOOD = 100_000  # messages, to see what a watch costs
LIMIT = 60.0  # seconds for any of this
WORDS = {
    "req-rep": "REQ/REP",
    "push-pull": "PUSH/PULL",
    "pub-sub": "PUB/SUB",
    "router-dealer": "ROUTER/DEALER, 2 workers",
}
Found = tuple[float, float]  # messages a second, microseconds there and back


# ---- the other process of each pattern: it sends back each message until it is empty


def replier(address, _, count):
    import zmq

    with zmq.Context() as context, context.socket(zmq.REP) as socket:
        socket.connect(address)
        while body := socket.recv():
            socket.send(body)


def puller(address, back, count):
    import zmq

    with zmq.Context() as context, context.socket(zmq.PULL) as pull, context.socket(zmq.PUSH) as push:
        pull.connect(address)
        push.connect(back)
        while body := pull.recv():
            push.send(body)
        for _ in range(count):
            pull.recv()
        push.send(b"done")
        pull.recv()


def subscriber(address, back, count):
    import zmq

    with zmq.Context() as context, context.socket(zmq.SUB) as sub, context.socket(zmq.PUB) as pub:
        for socket in (sub, pub):
            socket.hwm = 0  # nothing is dropped
        sub.subscribe("")
        sub.connect(address)
        pub.connect(back)
        while body := sub.recv():
            pub.send(body)
        for _ in range(count):
            sub.recv()
        pub.send(b"done")
        sub.recv()


def worker(address, _, count):
    import zmq

    with zmq.Context() as context, context.socket(zmq.DEALER) as socket:
        socket.connect(address)
        socket.send_multipart([b"", b"ready"])
        while body := socket.recv_multipart()[1]:
            socket.send_multipart([b"", body])


# ---- this process


def bound(context: zmq.Context[zmq.Socket[bytes]], kind: int) -> tuple[zmq.Socket[bytes], str]:
    socket = context.socket(kind)
    socket.linger, socket.rcvtimeo, socket.sndtimeo = 0, int(LIMIT * 1000), int(LIMIT * 1000)
    if kind in (zmq.PUB, zmq.SUB):
        socket.hwm = 0
    if kind == zmq.SUB:
        socket.subscribe("")
    socket.bind("tcp://127.0.0.1:*")
    return socket, socket.LAST_ENDPOINT.decode()


def trips(trip: Callable[[], object], count: int) -> Found:
    """Do `count` round trips one after the other."""
    took = []
    began = time.perf_counter()
    for _ in range(count):
        start = time.perf_counter()
        trip()
        took.append(time.perf_counter() - start)
    return count / (time.perf_counter() - began), statistics.median(took) * 1e6


def req_rep(context: zmq.Context[zmq.Socket[bytes]], size: int, rounds: int, count: int) -> Found:
    socket, address = bound(context, zmq.REQ)
    body = bytes(size)
    with processes.start(replier, address, "", 0, name="replier"):

        def trip() -> None:
            socket.send(body)
            socket.recv()

        trip()  # whoever replies is there
        found = trips(trip, rounds)
        socket.send(b"")
    return found


def one_way(context: zmq.Context[zmq.Socket[bytes]], pattern: str, size: int, rounds: int, count: int) -> Found:
    kinds = (zmq.PUSH, zmq.PULL) if pattern == "push-pull" else (zmq.PUB, zmq.SUB)
    (out, address), (back, home) = (bound(context, kind) for kind in kinds)
    body = bytes(size)
    other = puller if pattern == "push-pull" else subscriber
    with processes.start(other, address, home, count, name="other"):
        out.send(b"?")
        while not back.poll(20):  # both ways are open
            out.send(b"?")
        while back.poll(200):
            back.recv()

        def trip() -> None:
            out.send(body)
            back.recv()

        _, latency = trips(trip, rounds)
        out.send(b"")
        began = time.perf_counter()
        for _ in range(count):
            out.send(body)
        back.recv()
        rate = count / (time.perf_counter() - began)
        out.send(b"")
    return rate, latency


def router_dealer(context: zmq.Context[zmq.Socket[bytes]], size: int, rounds: int, count: int) -> Found:
    socket, address = bound(context, zmq.ROUTER)
    body = bytes(size)
    with (
        processes.start(worker, address, "", 0, name="Ada"),
        processes.start(worker, address, "", 0, name="Ben"),
    ):
        free = [socket.recv_multipart()[0] for _ in range(2)]

        def trip() -> None:
            socket.send_multipart([free[0], b"", body])
            socket.recv_multipart()

        _, latency = trips(trip, rounds)
        began = time.perf_counter()
        for identity in free:
            socket.send_multipart([identity, b"", body])
        for n in range(count):  # who has done a task gets the next one
            identity, _, _ = socket.recv_multipart()
            if n + 2 < count:
                socket.send_multipart([identity, b"", body])
        rate = count / (time.perf_counter() - began)
        for identity in free:
            socket.send_multipart([identity, b"", b""])
    return rate, latency


def in_python(pattern: str, size: int, rounds: int, count: int) -> Found:
    context = zmq.Context()
    try:
        if pattern == "req-rep":
            return req_rep(context, size, rounds, count)
        if pattern == "router-dealer":
            return router_dealer(context, size, rounds, count)
        return one_way(context, pattern, size, rounds, count)
    finally:
        context.destroy(0)


def compiled(folder: str) -> str:
    """Return the path of the program in C; "" and a word about it where it cannot be made."""
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        print("  No C compiler is here, so the column for C is left out (Debian: apt-get install gcc libzmq3-dev).")
        return ""
    program = str(Path(folder, "zeromq"))
    source = str(Path(__file__).with_suffix(".c"))
    command = [compiler, "-O2", "-o", program, source, "-lzmq"]
    made = subprocess.run(command, check=False, capture_output=True, text=True)
    if made.returncode:
        print("  libzmq's header is not here, so the column for C is left out (Debian: apt-get install libzmq3-dev).")
        return ""
    return program


def in_c(program: str, pattern: str, size: int, rounds: int, count: int) -> Found:
    arguments = [program, pattern, str(size), str(rounds), str(count)]
    said = subprocess.run(arguments, capture_output=True, text=True, timeout=LIMIT, check=True).stdout
    rate, latency = map(float, said.split())
    return rate, latency


def compare(program: str) -> None:
    print(f"  tcp, medians of {ROUNDS} rounds; pyzmq {zmq.__version__} with libzmq {zmq.zmq_version()}")
    for pattern in PATTERNS:
        for size, (rounds, count) in SIZES.items():
            count = count // TASKS if pattern == "router-dealer" else count  # noqa: PLW2901
            found: dict[str, list[Found]] = {}
            for _ in range(ROUNDS):
                found.setdefault("Python", []).append(in_python(pattern, size, rounds, count))
                if program:
                    found.setdefault("C", []).append(in_c(program, pattern, size, rounds, count))
            rate = {name: statistics.median(rate for rate, _ in each) for name, each in found.items()}
            time_of = {name: statistics.median(latency for _, latency in each) for name, each in found.items()}
            line = f"  {WORDS[pattern]}, {size:,} B: Python {rate['Python']:,.0f} messages/s, "
            line += f"there and back {time_of['Python']:.0f} µs"
            if program:
                line += f"; C {rate['C']:,.0f} messages/s, {time_of['C']:.0f} µs; Python to C: "
                line += f"{rate['Python'] / rate['C']:.2f} of the messages, "
                line += f"{time_of['Python'] / time_of['C']:.2f} times as long"
            print(line, flush=True)


# ---- what a watch costs


def flood(context: zmq.Context[zmq.Socket[bytes]], address: str, ready: Callable[[], object] = lambda: None) -> Found:
    """Messages a second, and nanoseconds of processor time for a send and its receive, all threads together.

    That is from where a watch has begun to count, and has told (`ready`) those that it has followed before.
    """
    body = bytes(1_000)
    with context.socket(zmq.PULL) as pull, context.socket(zmq.PUSH) as push:
        pull.bind(address)
        push.connect(pull.LAST_ENDPOINT.decode())

        def pass_on(count: int) -> None:
            for _ in range(count // 100):
                for _ in range(100):
                    push.send(body)
                for _ in range(100):
                    pull.recv()

        pass_on(10_000)
        ready()
        began, used = time.perf_counter(), time.process_time()
        pass_on(FLOOD)
        used = time.process_time() - used
        return FLOOD / (time.perf_counter() - began), used / FLOOD * 1e9


def slowly(context: zmq.Context[zmq.Socket[bytes]], address: str) -> float:
    """Microseconds of a send and a receive when there are few of them: each is followed."""
    with context.socket(zmq.PULL) as pull, context.socket(zmq.PUSH) as push:
        pull.bind(address)
        push.connect(pull.LAST_ENDPOINT.decode())
        took = []
        for _ in range(200):
            start = time.perf_counter()
            push.send(bytes(1_000))
            pull.recv()
            took.append(time.perf_counter() - start)
            time.sleep(0.0025)
    return statistics.median(took) * 1e6


def watched() -> None:
    """Beside a plain context, in the same run."""
    for name, address, other in (
        ("inproc", "inproc://flood", "inproc://slowly"),
        ("tcp", "tcp://127.0.0.1:*", "tcp://127.0.0.1:*"),
    ):
        found: list[tuple[float, float, float, float]] = []
        for _ in range(2 * ROUNDS - 1):
            plain = zmq.Context()
            off = (flood(plain, address), slowly(plain, other))
            plain.destroy(0)
            with sockets.watch() as watch:
                on = (flood(watch.context(), address, watch.settle), slowly(watch.context(), other))
                state = watch.settle().state()
                assert state.ended["acked"] == FLOOD + 10_200, (state.ended, watch.problems[:3])
            found.append((on[0][0] / off[0][0], on[0][1], off[0][1], on[1] - off[1]))
        rates, watched_ns, plain_ns, mores = zip(*found, strict=True)
        rate, more, of = statistics.median(rates), statistics.median(mores), min(plain_ns)
        used = min(watched_ns) / of  # the least of each: what else this machine does only adds to it
        print(
            f"  a watch, PUSH/PULL, {name}, 1 kB, to without one: {rate:.2f} of the messages a second, "
            f"{used:.2f} of the processor time ({of:.0f} ns) while counted; {more:.0f} µs more when each is followed",
            flush=True,
        )


def main() -> None:
    """Measure all of it."""
    with tempfile.TemporaryDirectory() as folder:
        compare(compiled(folder))
    watched()


if __name__ == "__main__":
    sys.exit(main())
