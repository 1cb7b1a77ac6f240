"""What a tap costs: the same pika client beside a direct connection, in one run; and what a trace weighs.

Messages of 1 kB. In each round each job is done directly, through a tap that works routes out itself, and through one
that asks the firehose; medians of the rounds, and ratios to direct. Then the bytes of a trace of 100,000 events, and a
minute of 5,000 messages a second (`--minute`).

    python3 course.py bench tap
"""

import contextlib
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator

import pika
import psutil

from mqlab import broker
from mqlab.broker import Broker
from mqlab.trace import Event, Trace

BODY = bytes(1024)
ROUNDS = 5
PUBLISHED = 10_000  # messages
ASKED = 1_000  # messages that are confirmed one by one
LIMIT = 60.0  # seconds for any of this
QUEUE = "sign-ups"
KEEP = pika.BasicProperties(delivery_mode=1)


@contextlib.contextmanager
def channel(url: str, queue: str = QUEUE) -> Iterator[pika.adapters.blocking_connection.BlockingChannel]:
    with pika.BlockingConnection(pika.URLParameters(url)) as connection, connection.channel() as opened:
        opened.queue_declare(queue, durable=True)
        opened.queue_purge(queue)
        yield opened


def publish(url: str) -> float:
    """Messages a second, until all are in the queue."""
    with channel(url) as opened:
        began = time.perf_counter()
        for _ in range(PUBLISHED):
            opened.basic_publish("", QUEUE, BODY, KEEP)
        while opened.queue_declare(QUEUE, passive=True).method.message_count < PUBLISHED:
            assert time.perf_counter() - began < LIMIT
        return PUBLISHED / (time.perf_counter() - began)


def confirm(url: str) -> float:
    """Milliseconds at the median from a publish to its confirm."""
    took = []
    with channel(url) as opened:
        opened.confirm_delivery()
        for _ in range(ASKED):
            began = time.perf_counter()
            opened.basic_publish("", QUEUE, BODY, KEEP)
            took.append(time.perf_counter() - began)
    return statistics.median(took) * 1000


def consume(url: str) -> float:
    """Messages a second, with prefetch 100 and an ack each."""
    with channel(url) as opened:
        for _ in range(PUBLISHED):
            opened.basic_publish("", QUEUE, BODY, KEEP)
        while opened.queue_declare(QUEUE, passive=True).method.message_count < PUBLISHED:
            pass
        opened.basic_qos(prefetch_count=100)
        began = time.perf_counter()
        for n, (method, _, _) in enumerate(opened.consume(QUEUE, inactivity_timeout=LIMIT), 1):
            assert method
            opened.basic_ack(method.delivery_tag)
            if n == PUBLISHED:
                break
        return PUBLISHED / (time.perf_counter() - began)


def compare(rabbit: Broker) -> None:
    jobs: list[tuple[str, Callable[[str], float], str]] = [
        ("publish", publish, "messages/s"),
        ("consume, prefetch 100", consume, "messages/s"),
        ("confirm each, median", confirm, "ms"),
    ]
    ways = ("direct", "tap", "tap and firehose")
    found: dict[tuple[str, str], list[float]] = {}
    for _ in range(ROUNDS):
        for way in ways:
            with contextlib.ExitStack() as leaving:
                url = rabbit.url
                if way != "direct":
                    tap = rabbit.watch(firehose=way != "tap")
                    leaving.callback(tap.close)
                    url = tap.url
                for name, job, _ in jobs:
                    found.setdefault((name, way), []).append(job(url))
                if way != "direct":
                    tap.settle(LIMIT)
                    assert not tap.problems, tap.problems[:3]
    for name, _, unit in jobs:
        medians = {way: statistics.median(found[name, way]) for way in ways}
        told = [f"{way} {medians[way]:,.2f}" if unit == "ms" else f"{way} {medians[way]:,.0f}" for way in ways]
        if unit == "ms":
            more = [f"+{medians[way] - medians['direct']:.2f} ms" for way in ways[1:]]
        else:
            more = [f"ratio {medians[way] / medians['direct']:.2f}" for way in ways[1:]]
        print(f"  {name} ({unit}): {'; '.join(told)}  [{', '.join(more)}]")


def weight() -> None:
    """Bytes of a trace of 100,000 events: in a process of its own, all messages still waiting, then as many acked."""
    for ending in ("waiting", "acked"):
        program = f"""
import psutil
from benchmarks.tap import fill
process = psutil.Process(); before = process.memory_info().rss
trace = fill({ending!r})
print((process.memory_info().rss - before) / 1e6, len(trace), len(trace.events))
"""
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
        size, length, kept = done.stdout.split()
        print(f"  a trace of {int(length):,} events ({int(kept):,} kept), messages {ending}: {float(size):.0f} MB")


def fill(ending: str) -> Trace:
    trace = Trace()
    n = 0
    header, body = bytes(30), bytes(256)
    while len(trace) < 100_000:
        n += 1
        id, label = f"m{n}", str(n)
        fields = {"seen": "wire", "connection": "Campus", "channel": 1}
        frame = bytes(30) + id.encode()
        trace.append(
            Event(
                "publish", n / 1e3, id, who="Campus", label=label, exchange="news", key="new", way=">",
                frame=frame, header=header + id.encode(), body=body[:-8] + id.encode(), **fields,
            )
        )  # fmt: skip
        trace.append(Event("route", n / 1e3, id, label=label, exchange="news", queues=("mails",), seen="inferred"))
        if ending == "acked":
            trace.append(Event("deliver", n / 1e3, id, "mails", "Olu", label, way="<", frame=frame + b"1", **fields))
            trace.append(Event("ack", n / 1e3, id, "mails", "Olu", label, way=">", frame=frame + b"2", **fields))
    return trace


def steady(
    send: str,
    take: str,
    seconds: float,
    rate: int,
    queue: str = QUEUE,
    each: Callable[[float, int, int], None] = lambda now, sent, taken: None,
) -> tuple[int, int, float]:
    """Publish at a steady rate to one address while a consumer takes all of it at another; messages of 1 kB.

    `each(now, sent, taken)` is called about a hundred times a second. Returns how many were sent and taken, and the
    seconds that the publishing took.
    """
    taken = 0
    over = threading.Event()

    def work() -> None:
        nonlocal taken
        with pika.BlockingConnection(pika.URLParameters(take)) as connection, connection.channel() as opened:
            opened.basic_qos(prefetch_count=200)
            for method, _, _ in opened.consume(queue, inactivity_timeout=0.5):
                if method:
                    taken += 1
                    if taken % 20 == 0:
                        opened.basic_ack(method.delivery_tag, multiple=True)
                elif over.is_set():
                    opened.basic_ack(0, multiple=True)
                    break

    with channel(send, queue) as opened:
        worker = threading.Thread(target=work)
        worker.start()
        began, sent = time.perf_counter(), 0
        while (now := time.perf_counter() - began) < seconds:
            for _ in range(min(500, int(now * rate) - sent)):
                opened.basic_publish("", queue, BODY, KEEP)
                sent += 1
            each(now, sent, taken)
            time.sleep(0.01)
        took = time.perf_counter() - began
        over.set()
        worker.join(LIMIT)
    return sent, taken, took


def minute(rabbit: Broker, seconds: float = 60, rate: int = 5_000) -> None:
    """Publish and consume at a steady rate through a tap, and look at the memory of both processes and at the delay."""
    tap = rabbit.watch()
    processes = [psutil.Process(), psutil.Process(tap._process.pid)]
    marks = [seconds * part for part in (0.25, 0.5, 0.75, 1)]

    def each(now: float, sent: int, taken: int) -> None:
        if marks and now >= marks[0]:
            memory = [f"{process.memory_info().rss / 1e6:.0f}" for process in processes]
            so_far = f"{sent:,} sent, {taken:,} taken, {len(tap.trace):,} events"
            print(f"  after {marks.pop(0):.0f} s: {so_far}; notebook's and tap's memory in MB: {' and '.join(memory)}")

    sent, taken, took = steady(tap.url_as("Campus"), tap.url_as("Olu"), seconds, rate, each=each)
    print(f"  {sent / took:,.0f} messages a second for {took:.0f} s, {taken:,} of {sent:,} taken")
    assert not tap.problems, tap.problems[:3]
    state = tap.settle(LIMIT).state()
    left = state.ready + state.unacked
    print(f"  the trace says: {state.published:,} published, {left} still there, ended: {dict(state.ended)}")
    tap.close()


def main() -> None:
    """Measure, beside a direct connection, on each broker named on the command line (local and embedded)."""
    arguments = sys.argv[1:]
    kinds = [each for each in arguments if not each.startswith("-")] or ["local", "embedded"]
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as home:
        os.environ["MQLAB_HOME"] = os.environ.get("MQLAB_HOME") or home
        weight()
        for kind in kinds:
            rabbit = broker.start(kind)
            compare(rabbit)
            if "--minute" in arguments:
                minute(rabbit)
        broker.release()


if __name__ == "__main__":
    main()
