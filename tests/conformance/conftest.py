"""The embedded broker in a process of its own, and the RabbitMQ of this test run."""

import os
from collections.abc import Iterator

import pytest

from mqlab import broker
from mqlab.broker import embedded
from mqlab.broker.node import Node


@pytest.fixture(scope="session")
def small_node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    home = str(tmp_path_factory.mktemp("conformance"))
    with pytest.MonkeyPatch.context() as own:
        own.setenv("MQLAB_HOME", home)
        own.setenv("MQLAB_OWNER", str(os.getpid()))
        node = embedded.start()
    yield node
    with pytest.MonkeyPatch.context() as own:
        own.setenv("MQLAB_HOME", home)
        embedded.stop()


@pytest.fixture(scope="session")
def real_node(rabbit: broker.Broker) -> Node:
    if rabbit.kind not in ("docker", "local"):
        pytest.skip("no RabbitMQ of our own: the record stands for it")
    return broker.start_shared(rabbit.kind, kept=False)


@pytest.fixture(scope="session")
def tapped_node(rabbit: broker.Broker, request: pytest.FixtureRequest) -> Node:
    """The broker of this test run, whichever kind it is."""
    if rabbit.kind in ("docker", "local"):
        return request.getfixturevalue("real_node")
    return request.getfixturevalue("small_node")
