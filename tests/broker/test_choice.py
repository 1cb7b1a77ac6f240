"""Which broker is chosen, and what is said when there is none."""

from collections.abc import Callable
from pathlib import Path

import pytest

from mqlab import broker
from mqlab.broker import docker, embedded, local
from mqlab.broker.node import Node, Unavailable


@pytest.fixture
def available(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Say which kinds there are; no broker is started, for only the choice is tested here."""
    monkeypatch.delenv("MQLAB_BROKER", raising=False)

    def are(*kinds: str) -> None:
        for module, trouble in (
            (
                docker,
                "Docker is installed but its engine does not answer (start Docker Desktop, or the docker service)",
            ),
            (local, "rabbitmq-server is not installed"),
        ):
            kind = module.__name__.rpartition(".")[2]

            def start(say: object, kept: bool = False, kind: str = kind, trouble: str = trouble) -> Node:
                if kind not in kinds:
                    raise Unavailable(trouble)
                return Node(kind, "127.0.0.1", 5672, "campus", "secret", version="4.3.5")

            monkeypatch.setattr(module, "start", start)

    return are


def test_docker_goes_first(available: Callable[..., None]) -> None:
    available("docker", "local")
    assert str(broker.start_shared()) == "RabbitMQ 4.3.5 in Docker, because its engine answers."


def test_then_an_installed_one_and_it_says_why(available: Callable[..., None]) -> None:
    available("local")
    line = "RabbitMQ 4.3.5 installed on this machine, because Docker is installed but its engine does not answer."
    assert str(broker.start_shared()) == line


def test_without_any_it_takes_the_small_one_and_says_why(
    available: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    available()
    small = Node("embedded", "127.0.0.1", 5672, "campus", "secret", version="4.3.6")
    monkeypatch.setattr(embedded, "start", lambda kept: small)
    assert str(broker.start_shared()) == (
        "The small broker of this course, for learning (it answers as RabbitMQ 4.3.6), because Docker is installed but "
        "its engine does not answer, and rabbitmq-server is not installed."
    )


@pytest.mark.parametrize("kind", ["docker", "local"])
def test_what_is_asked_for_is_not_replaced(
    kind: str, available: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    available("docker", "local")
    assert str(broker.start_shared(kind)).endswith("because you asked for it.")
    monkeypatch.setenv("MQLAB_BROKER", kind)
    assert broker.start_shared().kind == kind
    assert str(broker.start_shared()).endswith("because MQLAB_BROKER asks for it.")
    available("local" if kind == "docker" else "docker")
    with pytest.raises(broker.BrokerError, match="Do one of these") as problem:
        broker.start()
    for words in ("Docker Desktop", "MQLAB_BROKER", "embedded"):
        assert words in str(problem.value)


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ("rabbit", "no broker of the kind 'rabbit'"),
        ("amqp://ana:pw@host:port/", "not an AMQP address"),
        ("amqp://ana:pw@127.0.0.1:9/", "The broker at 127.0.0.1:9 does not answer"),
    ],
)
def test_what_cannot_be_is_said(asked: str, words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MQLAB_BROKER", asked)
    monkeypatch.setenv("MQLAB_SPACE", "a")
    monkeypatch.setenv("MQLAB_MANAGEMENT_URL", "http://127.0.0.1:9")
    with pytest.raises(broker.BrokerError, match=words) as problem:
        broker.start()
    assert "pw" not in str(problem.value)


def test_the_real_start_script_goes_before_the_one_on_the_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wrapper = tmp_path / "rabbitmq-server"
    wrapper.write_text("#!/bin/sh\n", encoding="utf-8")
    wrapper.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    found = local.find()
    assert found == wrapper or (found and found.parent.name in ("bin", "sbin"))
