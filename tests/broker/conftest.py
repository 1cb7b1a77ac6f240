"""Real brokers for the tests: the installed RabbitMQ as a private node, RabbitMQ in Docker, the course's small one."""

import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pika
import pytest
from brokers import Connect, need, node_of

from mqlab import broker
from mqlab.broker import embedded, local, space, watch
from mqlab.broker.node import Node


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A learner's folder of these tests' own, with a space and letters that Erlang does not like in its name."""
    place = tmp_path_factory.mktemp("home") / "Schüler 課"
    with pytest.MonkeyPatch.context() as own:
        own.setenv("MQLAB_HOME", str(place))
        yield place
        broker.release()
        local.stop()
        embedded.stop()
    watch.off()


@pytest.fixture(params=["local", "docker", "embedded"])
def kind(request: pytest.FixtureRequest, home: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Each kind of broker in turn; `broker.start()` gives it."""
    need(request.param)
    monkeypatch.setenv("MQLAB_HOME", str(home))
    monkeypatch.setenv("MQLAB_BROKER", request.param)
    monkeypatch.setenv("MQLAB_OWNER", str(os.getpid()))  # so that what these tests start ends with them
    return str(request.param)


@pytest.fixture
def start(kind: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., broker.Broker]]:
    """Start the broker as the notebook of that name does; its space goes after the test."""
    spaces: dict[str, Node] = {}

    def as_notebook(name: str = "a") -> broker.Broker:
        full = f"test-{os.getpid()}-{name}"
        monkeypatch.setenv("MQLAB_SPACE", full)
        rabbit = broker.start()
        spaces[full] = node_of(kind)
        return rabbit

    yield as_notebook
    for name, node in spaces.items():
        space.close_own(node, name)


@pytest.fixture
def connect() -> Iterator[Connect]:
    """Open connections that are closed after the test."""
    opened: list[pika.BlockingConnection] = []

    def to(rabbit: broker.Broker) -> pika.BlockingConnection:
        opened.append(pika.BlockingConnection(pika.URLParameters(rabbit.url)))
        return opened[-1]

    yield to
    for connection in opened:
        with suppress(pika.exceptions.AMQPError):
            connection.close()
