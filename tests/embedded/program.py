"""The embedded broker as a program of its own, for tests."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pika

LIMIT = 30  # seconds for anything of these tests


class Program:
    """`python -m mqlab.broker.embedded` with these arguments; made when it has said that it is ready."""

    def __init__(self, *arguments: object, password: str | None = "secret") -> None:
        words = [str(argument) for argument in ("--port", 0, "--user", "ana", *arguments)]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "mqlab.broker.embedded", *words],
            env=os.environ | ({"MQLAB_EMBEDDED_PASSWORD": password} if password else {}),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),
        )
        assert self.process.stdout
        self.line = self.process.stdout.readline()
        found = re.search(r"127\.0\.0\.1:(\d+)", self.line)
        self.port = int(found[1]) if found else 0
        self.password = password or ""

    def connect(self, vhost: str = "/", **settings: object) -> pika.BlockingConnection:
        """Connect as the broker's user."""
        credentials = pika.PlainCredentials("ana", self.password)
        settings = {"socket_timeout": LIMIT, "blocked_connection_timeout": LIMIT} | settings
        return pika.BlockingConnection(
            pika.ConnectionParameters("127.0.0.1", self.port, vhost, credentials, **settings)  # type: ignore[arg-type]
        )

    def end(self, how: str = "SIGTERM") -> tuple[int, str]:
        """Send the signal; return the exit code and what else was said."""
        if self.process.poll() is None:
            self.process.send_signal(getattr(signal, how))
        said = "".join(self.process.communicate(timeout=LIMIT))
        return self.process.returncode, said

    def kill(self) -> None:
        """End it as `kill -9` does."""
        self.process.kill()
        self.process.communicate(timeout=LIMIT)


@contextmanager
def running(*arguments: object, password: str | None = "secret") -> Iterator[Program]:
    """Run the broker; at the end it is killed if it still runs."""
    program = Program(*arguments, password=password)
    try:
        yield program
    finally:
        program.kill()


def waiting(connection: pika.BlockingConnection, queue: str) -> list[bytes]:
    """Return the bodies of the messages that wait in a queue, in order; they stay there."""
    channel = connection.channel()
    found = list(iter(lambda: channel.basic_get(queue)[2], None))
    channel.close()
    return found


def folder(tmp_path: Path) -> Path:
    """Return a folder for data whose name has a space and letters outside ASCII."""
    return tmp_path / "Daten 課"
