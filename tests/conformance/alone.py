"""A broker that a test may stop, kill and fill: RabbitMQ in a container of its own, or the embedded one, a process."""

import os
import secrets
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Protocol

from wire import LIMIT
from world import SCENARIOS, World, empty

from mqlab import paths
from mqlab.broker.docker import PORTS
from mqlab.broker.node import Node
from mqlab.broker.private import free_ports

# What both are told; RabbitMQ's names for it.
LIMITS = {"connection_max": 60, "channel_max": 8, "max_message_size": 1_000_000, "cluster_queue_limit": 80}
READY = 120  # seconds
USER = "campus"


class Place(Protocol):
    """Where the broker runs, and what can be done to it."""

    node: Node

    def restart(self, how: str) -> None:
        """End it (`stop`: as its operator does; `kill`: as kill -9 does) and start it again."""

    def alarm(self, raised: bool) -> None:
        """Make it short of memory, or end that."""


class Container:
    """RabbitMQ in a container of its own, by the course's docker-compose.yml."""

    def __init__(self, folder: Path) -> None:
        ports = free_ports(len(PORTS))
        amqp, management = ports[:2]
        password = secrets.token_urlsafe(16)
        self.environment = (
            os.environ
            | {
                "COMPOSE_PROJECT_NAME": f"mqlab-alone-{secrets.token_hex(4)}",
                "MQLAB_RABBITMQ_PASSWORD": password,
            }
            | dict(zip(PORTS, map(str, ports), strict=True))
        )
        usual = (paths.ROOT / "docker" / "rabbitmq.conf").read_text(encoding="utf-8")
        settings = folder / "rabbitmq.conf"
        # The MQTT plugin starts only if its own limit lies below.
        limits = LIMITS | {"mqtt.max_packet_size_authenticated": LIMITS["max_message_size"]}
        settings.write_text(usual + "".join(f"{name} = {value}\n" for name, value in limits.items()), encoding="utf-8")
        more = folder / "alone.yml"
        mount = f"{settings.as_posix()}:/etc/rabbitmq/rabbitmq.conf:ro"
        more.write_text(f"services:\n  rabbitmq:\n    volumes: ['{mount}']\n", encoding="utf-8")
        files = ["--file", str(paths.ROOT / "docker-compose.yml"), "--file", str(more)]
        self.compose = ["docker", "compose", "--project-directory", str(paths.ROOT), *files]
        self.node = Node("docker", "127.0.0.1", amqp, USER, password, f"http://127.0.0.1:{management}")
        self.start()

    def run(self, *words: str) -> None:
        done = subprocess.run(
            [*self.compose, *words],
            check=False,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=READY + 60,
        )
        assert not done.returncode, f"{words}: {done.stdout[-1000:]}{done.stderr[-2000:]}"

    def start(self) -> None:
        self.run("up", "--wait", "--wait-timeout", str(READY), "rabbitmq")
        self.node.asked_version(limit=LIMIT)

    def restart(self, how: str) -> None:
        if how == "kill":
            time.sleep(2)  # RabbitMQ itself loses a quorum queue that is killed in its first half second
        self.run(how, "rabbitmq")
        self.start()

    def alarm(self, raised: bool) -> None:
        limit = "1" if raised else "600MB"
        self.run("exec", "-T", "rabbitmq", "rabbitmqctl", "set_vm_memory_high_watermark", "absolute", limit)

    def end(self) -> None:
        self.run("down", "--volumes", "--timeout", "20")


class Small:
    """The embedded broker as a process of its own."""

    def __init__(self, folder: Path) -> None:
        amqp, management = free_ports(2)
        password = secrets.token_urlsafe(16)
        self.words = [sys.executable, __file__, str(amqp), str(management), str(folder / "data"), password]
        self.node = Node("embedded", "127.0.0.1", amqp, USER, password, f"http://127.0.0.1:{management}")
        self.start()

    def start(self) -> None:
        self.process = subprocess.Popen(self.words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self.process.stdin is not None and self.process.stdout is not None
        assert self.process.stdout.readline() == "ready\n"

    def restart(self, how: str) -> None:
        self.end("SIGTERM" if how == "stop" else "SIGKILL")
        self.start()

    def alarm(self, raised: bool) -> None:
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.write(f"{int(raised)}\n")
        self.process.stdin.flush()
        assert self.process.stdout.readline() == "done\n"

    def end(self, how: str = "SIGKILL") -> None:
        self.process.send_signal(getattr(signal, how, signal.SIGTERM))
        self.process.communicate(timeout=LIMIT)


@contextmanager
def on(made: Callable[[Path], Any], folder: Path) -> Iterator[Place]:
    """A place that ends with the block."""
    place = made(folder)
    try:
        yield place
    finally:
        place.end()


def serve(amqp: int, management: int, data: str, password: str) -> None:
    """Run the embedded broker with the limits above until it is ended; a line with 1 or 0 raises and ends the alarm."""
    import asyncio

    from mqlab.broker.embedded import management as api
    from mqlab.broker.embedded.journal import Journal
    from mqlab.broker.embedded.model import Broker
    from mqlab.broker.embedded.server import Server
    from mqlab.broker.embedded.session import Limits

    Path(data).mkdir(exist_ok=True)

    async def run() -> None:
        journal = Journal(Path(data, "journal.db"))
        broker = Broker(journal, queue_limit=LIMITS["cluster_queue_limit"])
        limits = Limits(
            connections=LIMITS["connection_max"],
            channels=LIMITS["channel_max"],
            message_size=LIMITS["max_message_size"],
        )
        server = Server(broker, USER, password, limits)
        await server.start(amqp)
        api.start(management, USER, password, api.pages(server, USER))
        loop, over, usual = asyncio.get_running_loop(), asyncio.Event(), broker.memory_limit
        signal.signal(signal.SIGTERM, lambda *_: loop.call_soon_threadsafe(over.set))

        def told(limit: int) -> None:
            broker.memory_limit = limit
            server.flush()
            print("done", flush=True)

        def listen() -> None:
            for line in sys.stdin:
                loop.call_soon_threadsafe(told, 0 if line == "1\n" else usual)

        threading.Thread(target=listen, daemon=True).start()
        print("ready", flush=True)
        await over.wait()
        await server.close()
        journal.close()

    asyncio.run(run())


class AloneWorld(World):
    """An empty virtual host on a broker of its own."""

    place: Place


def run_alone(names: list[str], place: Place) -> dict[str, list[Any] | Exception]:
    """Play scenarios that want a broker to themselves. Their transcripts.

    Those that restart it are all played up to there, then it restarts once, then each goes on.
    """
    heard: dict[str, list[Any] | Exception] = {}
    for name in names:
        if SCENARIOS[name].alone in ("limits", "alarms"):
            with empty(place.node, AloneWorld) as world:
                world.place = place
                heard[name] = outcome(world, SCENARIOS[name].play, world)
    for how in ("stop", "kill"):
        restarting = [name for name in names if SCENARIOS[name].alone == how]
        with ExitStack() as open_worlds:
            worlds = {name: open_worlds.enter_context(empty(place.node, AloneWorld)) for name in restarting}
            going = {name: SCENARIOS[name].play(world) for name, world in worlds.items()}
            heard |= {name: outcome(world, next, going[name]) for name, world in worlds.items()}
            if restarting:
                place.restart(how)
            for name, world in worlds.items():
                if not isinstance(heard[name], Exception):
                    heard[name] = outcome(world, next, going[name], None)
    return heard


def outcome(world: World, play: Callable[..., Any], *arguments: Any) -> list[Any] | Exception:
    try:
        play(*arguments)
    except Exception as mistake:
        return mistake
    return world.transcript()


if __name__ == "__main__":
    serve(int(sys.argv[1]), int(sys.argv[2]), *sys.argv[3:])
