"""The small broker of this course beside real RabbitMQ, through the same pika client, in one run.

Messages of 1 kB, durable queues; the embedded broker writes its journal as it does for learners. In each round every
broker does each job once; medians of the rounds, and the embedded broker's rate as a ratio to RabbitMQ's. How busy its
process was says what limits a job: near 100 %, the broker; else pika, which needs the other core, or the way between.

    python3 course.py bench broker
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
from pika.adapters.blocking_connection import BlockingChannel

from mqlab import broker
from mqlab.broker import docker, local

BODY = bytes(1024)
ROUNDS = 5
QUEUE = "sign-ups"
PERSISTENT = pika.BasicProperties(delivery_mode=2)
LIMIT = 120.0  # seconds that any of this may take
WAITING = 100_000  # messages, for the bytes that one takes
MILLION = 1_000_000
CLIENTS = 100

Connect = Callable[[], pika.BlockingConnection]


def waiting(channel: BlockingChannel, queue: str = QUEUE) -> int:
    """Return how many messages are ready."""
    return int(channel.queue_declare(queue, passive=True).method.message_count)


def filled(channel: BlockingChannel, count: int, queue: str = QUEUE) -> None:
    """Wait until a queue holds so many."""
    end = time.monotonic() + LIMIT
    while waiting(channel, queue) < count:
        if time.monotonic() > end:
            raise TimeoutError(f"{queue} holds {waiting(channel, queue)} of {count} messages after {LIMIT} s")


def put(channel: BlockingChannel, count: int, properties: pika.BasicProperties | None = None) -> None:
    for _ in range(count):
        channel.basic_publish("", QUEUE, BODY, properties)


# Each job: prepare it untimed, then do it; the number is how many messages.


def publish(channel: BlockingChannel, count: int) -> Callable[[], None]:
    def work() -> None:
        put(channel, count)
        filled(channel, count)

    return work


def confirm(properties: pika.BasicProperties | None) -> Callable[[BlockingChannel, int], Callable[[], None]]:
    def prepare(channel: BlockingChannel, count: int) -> Callable[[], None]:
        channel.confirm_delivery()
        return lambda: put(channel, count, properties)

    return prepare


def consume(prefetch: int) -> Callable[[BlockingChannel, int], Callable[[], None]]:
    """Take with an ack each, or with `auto_ack` where prefetch is 0."""

    def prepare(channel: BlockingChannel, count: int) -> Callable[[], None]:
        put(channel, count)
        filled(channel, count)
        if prefetch:
            channel.basic_qos(prefetch_count=prefetch)

        def work() -> None:
            messages = channel.consume(QUEUE, auto_ack=not prefetch, inactivity_timeout=LIMIT)
            for taken, (method, _, _) in enumerate(messages, 1):
                assert method is not None, f"fewer than {count} came in {LIMIT} s"
                if prefetch:
                    channel.basic_ack(method.delivery_tag)
                if taken == count:
                    break
            channel.cancel()

        return work

    return prepare


def fan_out(channel: BlockingChannel, count: int) -> Callable[[], None]:
    names = [f"{QUEUE}-{n}" for n in range(10)]
    channel.exchange_declare("all", "fanout", durable=True)
    for name in names:
        channel.queue_declare(name, durable=True)
        channel.queue_bind(name, "all")
        channel.queue_purge(name)

    def work() -> None:
        for _ in range(count):
            channel.basic_publish("all", "", BODY)
        for name in names:
            filled(channel, count, name)

    return work


JOBS: dict[str, tuple[Callable[[BlockingChannel, int], Callable[[], None]], int]] = {
    "publish": (publish, 15_000),
    "confirm each": (confirm(None), 3_000),
    "durable confirm each": (confirm(PERSISTENT), 3_000),
    "consume, prefetch 1": (consume(1), 3_000),
    "consume, prefetch 10": (consume(10), 6_000),
    "consume, prefetch 100": (consume(100), 8_000),
    "consume, auto-ack": (consume(0), 15_000),
    "fan-out to 10 queues": (fan_out, 3_000),
}


def cpu(process: psutil.Process | None) -> float:
    """Return the seconds of processor time that a process has used."""
    return sum(process.cpu_times()[:2]) if process else 0.0


def rate(connect: Connect, process: psutil.Process | None, job: str) -> tuple[float, float]:
    """Do a job on an empty queue; messages a second, and the share of the time that the process was busy."""
    prepare, count = JOBS[job]
    with contextlib.closing(connect()) as connection:
        channel = connection.channel()
        channel.queue_declare(QUEUE, durable=True)
        channel.queue_purge(QUEUE)
        work = prepare(channel, count)
        began, used = time.perf_counter(), cpu(process)
        work()
        took = time.perf_counter() - began
        return count / took, (cpu(process) - used) / took


@contextlib.contextmanager
def embedded(*options: str) -> Iterator[tuple[Connect, psutil.Process]]:
    """The small broker as a program of its own, with a journal."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as data:
        command = [sys.executable, "-m", "mqlab.broker.embedded", "--port", "0", "--user", "campus"]
        command += ["--password", "secret", "--data", data, *options]
        with psutil.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            try:
                port = process.stdout.readline().partition("127.0.0.1:")[2].split()[0]
                url = f"amqp://campus:secret@127.0.0.1:{port}/%2F?heartbeat=0&blocked_connection_timeout=3"
                yield lambda: pika.BlockingConnection(pika.URLParameters(url)), process
            finally:
                process.terminate()


def rabbits() -> Iterator[tuple[str, Connect]]:
    """Each real RabbitMQ of this machine, with a virtual host of its own."""
    os.environ["MQLAB_SPACE"] = f"bench-{os.getpid()}"
    for kind, there in (("local", local.find() is not None), ("docker", docker.problem() is None)):
        if there:
            rabbit = broker.start(kind)
            yield f"RabbitMQ {rabbit.version}", lambda url=rabbit.url: pika.BlockingConnection(pika.URLParameters(url))


def side_by_side() -> None:
    """Measure the rates of all brokers, round after round."""
    real = dict(rabbits())
    with embedded() as (connect, process):
        everyone: dict[str, tuple[Connect, psutil.Process | None]] = {"embedded": (connect, process)}
        everyone |= {name: (connect, None) for name, connect in real.items()}
        found: dict[tuple[str, str], list[tuple[float, float]]] = {(job, name): [] for job in JOBS for name in everyone}
        for _ in range(ROUNDS):
            for job in JOBS:
                for name in everyone:
                    found[job, name].append(rate(*everyone[name], job))
    print(
        f"messages a second, {len(BODY)} B each, medians of {ROUNDS} rounds (lowest to highest); ratio: embedded to it"
    )
    for job in JOBS:
        own = statistics.median(one for one, _ in found[job, "embedded"])
        busy = statistics.median(one for _, one in found[job, "embedded"])
        print(f"{job} (embedded {busy:.0%} busy)")
        for name in everyone:
            rates = [one for one, _ in found[job, name]]
            middle = statistics.median(rates)
            ratio = "" if name == "embedded" else f"  ratio {own / middle:.2f}"
            print(f"    {name:<16} {middle:>8,.0f} ({min(rates):,.0f} to {max(rates):,.0f}){ratio}")


def memory() -> None:
    """Measure the bytes of memory that a waiting message takes."""
    for kind, properties in (
        ("transient", None),
        (
            "persistent, with headers",
            pika.BasicProperties(
                delivery_mode=2, content_type="application/json", headers={"event": "SignUp", "user": 1}
            ),
        ),
    ):
        with embedded("--memory-limit", str(2**31)) as (connect, process), contextlib.closing(connect()) as connection:
            channel = connection.channel()
            channel.queue_declare(QUEUE, durable=True)
            before = process.memory_info().rss
            put(channel, WAITING, properties)
            filled(channel, WAITING)
            each = (process.memory_info().rss - before) / WAITING
            print(f"memory of a waiting message, {kind}: {each:,.0f} B, {each - len(BODY):,.0f} more than its body")


def million() -> None:
    """Let a million messages wait: held where the limit allows it, else their publisher is blocked."""
    for limit in (2**31, 2**28):
        with embedded("--memory-limit", str(limit)) as (connect, process):
            connection = connect()
            channel = connection.channel()
            channel.queue_declare(QUEUE, durable=True)
            began = time.perf_counter()
            try:
                for _ in range(MILLION):
                    channel.basic_publish("", QUEUE, bytes(100))
                filled(channel, MILLION)
                end = "held"
            except pika.exceptions.ConnectionBlockedTimeout:
                end = "the publisher was blocked"
            took, size = time.perf_counter() - began, process.memory_info().rss / 2**20
            with contextlib.closing(connect()) as other:
                count = waiting(other.channel())
            limit_mb = limit / 2**20
            print(
                f"a million of 100 B, limit {limit_mb:,.0f} MiB: {end}; {count:,} waited, {took:.0f} s, {size:,.0f} MiB"
            )


def crowd() -> None:
    """Serve many connections at once: each publishes, confirms and takes 50 messages."""

    def one(connect: Connect, start: threading.Barrier, done: list[int]) -> None:
        with contextlib.closing(connect()) as connection:
            channel = connection.channel()
            queue = channel.queue_declare("", exclusive=True).method.queue
            channel.confirm_delivery()
            start.wait(LIMIT)
            for _ in range(50):
                channel.basic_publish("", queue, BODY)
            taken = sum(channel.basic_get(queue, auto_ack=True)[0] is not None for _ in range(50))
            done.append(taken)

    with embedded() as (connect, process):
        start, done = threading.Barrier(CLIENTS + 1), list[int]()
        threads = [threading.Thread(target=one, args=(connect, start, done), daemon=True) for _ in range(CLIENTS)]
        for thread in threads:
            thread.start()
        start.wait(LIMIT)
        began = time.perf_counter()
        for thread in threads:
            thread.join(LIMIT)
        took = time.perf_counter() - began
        size = process.memory_info().rss / 2**20
        back = f"{sum(done):,} of {50 * CLIENTS:,} messages back"
        print(f"{CLIENTS} connections at once: {back}, {took:.1f} s, {size:.0f} MiB")


def main() -> None:
    """Measure all of it."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as home:
        os.environ |= {"MQLAB_HOME": home}
        os.environ.setdefault("MQLAB_OWNER", str(os.getpid()))
        for part in (side_by_side, memory, million, crowd):
            part()
        broker.release()


if __name__ == "__main__":
    main()
