"""RabbitMQ in Docker: its .env, its ports, its password; who stops it; dead and frozen ones."""

import os
import re
import secrets
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pika
import pytest
from brokers import frozen_or_dead, need, stopped_and_started

from mqlab import broker, paths
from mqlab.broker import docker, owners, watch
from mqlab.broker.explain import explain
from mqlab.broker.node import Unavailable


@pytest.fixture
def engine() -> None:
    need("docker")


@pytest.fixture
def course(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A course folder with a home of its own, both fresh; its name has a space and a letter outside ASCII."""
    folder = tmp_path / "Kurs für alle"
    folder.mkdir()
    monkeypatch.setattr(paths, "ROOT", folder)
    monkeypatch.setenv("MQLAB_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("MQLAB_BROKER", "docker")
    monkeypatch.setenv("MQLAB_SPACE", "a")
    monkeypatch.delenv("MQLAB_OWNER", raising=False)
    for name in ("COMPOSE_PROJECT_NAME", "MQLAB_RABBITMQ_PASSWORD", *docker.PORTS):
        monkeypatch.delenv(name, raising=False)
    return folder


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


@pytest.fixture
def compose(engine: None, course: Path) -> Iterator[Path]:
    """The course's own compose file in that folder, on ports of its own; all that it makes goes after the test."""
    real = Path(docker.__file__).parents[2]
    text = (real / "docker-compose.yml").read_text(encoding="utf-8")
    # Asked each second, a container is known to be healthy sooner: the test is shorter, and the same.
    quick, places = re.subn(r"interval: \d+s", "interval: 1s", text)
    assert places == 1
    (course / "docker-compose.yml").write_text(quick, encoding="utf-8")
    shutil.copytree(real / "docker", course / "docker")
    ports = "".join(f"{key}={free_port()}\n" for key in docker.PORTS)
    (course / ".env").write_text(f"# the teacher's own\nTEACHER=yes # keep\n{ports}OTHER='a b'", encoding="utf-8")
    yield course
    watch.off()
    docker.stop(erase=True)


def containers(state: str = "running") -> list[str]:
    project = docker.read_env()["COMPOSE_PROJECT_NAME"]
    words = ["docker", "ps", "--all", "--quiet", "--filter", f"label=com.docker.compose.project={project}"]
    return subprocess.check_output([*words, "--filter", f"status={state}"], text=True).split()


def test_the_env_file_gets_what_it_lacks_and_keeps_what_it_has(course: Path) -> None:
    file = course / ".env"
    first = docker.complete_env()
    assert file.stat().st_mode & 0o077 == 0 or os.name == "nt"
    assert len(first["MQLAB_RABBITMQ_PASSWORD"]) >= 24 and first["COMPOSE_PROJECT_NAME"].startswith("mqlab-")
    text = file.read_text(encoding="utf-8")
    assert docker.complete_env() == docker.read_env() == first and file.read_text(encoding="utf-8") == text
    file.write_text("# mine\n\nMQLAB_AMQP_PORT=7\nMQLAB_RABBITMQ_PASSWORD='own'\nODD LINE", encoding="utf-8")
    again = docker.complete_env({"MQLAB_AMQP_PORT": "8"})
    assert (again["MQLAB_AMQP_PORT"], again["MQLAB_RABBITMQ_PASSWORD"]) == ("7", "own")
    assert file.read_text(encoding="utf-8").startswith(
        "# mine\n\nMQLAB_AMQP_PORT=7\nMQLAB_RABBITMQ_PASSWORD='own'\nODD LINE\nCOMPOSE_PROJECT_NAME=mqlab-"
    )


def test_two_course_folders_have_two_projects(course: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = docker.complete_env()["COMPOSE_PROJECT_NAME"]
    (tmp_path / "other").mkdir()
    monkeypatch.setattr(paths, "ROOT", tmp_path / "other")
    assert docker.complete_env()["COMPOSE_PROJECT_NAME"] != first


def test_from_first_start_to_release(compose: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MQLAB_OWNER", str(os.getpid()))
    usual = int(docker.read_env()["MQLAB_AMQP_PORT"])
    with socket.create_server(("127.0.0.1", usual)):
        said: list[str] = []
        node = docker.start(said.append)
    assert node.port != usual and f"(on port {node.port}, for {usual} is taken)" in str(node)
    assert said and all(len(text) < 79 for text in said), "short enough to be printed over"
    text = (compose / ".env").read_text(encoding="utf-8")
    assert text.startswith(f"# the teacher's own\nTEACHER=yes # keep\nMQLAB_AMQP_PORT={usual}\n")
    # Found again, by a notebook that does not know of the port.
    rabbit = broker.start()
    assert rabbit.kind == "docker" and pika.URLParameters(rabbit.url).port == node.port
    # A second session, and this one's end: the container stays for the other.
    other = subprocess.Popen(["docker", "events"], stdout=subprocess.DEVNULL)
    (docker.folder() / "owners" / owners.ident(other.pid)).touch()
    assert broker.release() == [] and containers()
    other.kill()
    other.wait(10)
    assert broker.release() == ["Stopped RabbitMQ in Docker."]
    assert not containers() and containers("exited")
    assert broker.stop() == ["No broker of this course was running."]


def test_started_by_hand_it_is_not_stopped_by_a_session(compose: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broker.start_shared(say=print)
    monkeypatch.setenv("MQLAB_OWNER", str(os.getpid()))
    rabbit = broker.start()
    assert broker.release() == [] and containers()
    # Short of memory, it takes no messages: that too must not hang.
    subprocess.run(
        ["docker", "exec", *containers(), "rabbitmqctl", "set_vm_memory_high_watermark", "0.0001"], check=True
    )
    parameters = pika.URLParameters(rabbit.url)
    parameters.blocked_connection_timeout = 1  # instead of 20 seconds
    channel = pika.BlockingConnection(parameters).channel()
    channel.confirm_delivery()
    end = time.monotonic() + 30
    with pytest.raises(pika.exceptions.ConnectionBlockedTimeout) as blocked:
        while time.monotonic() < end:  # some may pass before RabbitMQ measures its memory
            channel.basic_publish("", "sign-ups", b"Ana")
    assert "short of memory" in (explain(blocked.value) or "")
    # What is known of the password is lost, but RabbitMQ's data are kept: it refuses the new one.
    old = (compose / ".env").read_text(encoding="utf-8")
    (compose / ".env").write_text(
        old.replace(docker.read_env()["MQLAB_RABBITMQ_PASSWORD"], secrets.token_urlsafe(24)), encoding="utf-8"
    )
    with pytest.raises(broker.BrokerError, match=r"refused the password.*broker stop --erase") as refusal:
        broker.start()
    assert docker.read_env()["MQLAB_RABBITMQ_PASSWORD"] not in str(refusal.value)
    assert broker.stop(erase=True) == ["Stopped RabbitMQ in Docker and deleted what it kept."]
    assert not containers() and not containers("exited")
    again = broker.start()
    assert again.url != rabbit.url
    pika.BlockingConnection(pika.URLParameters(again.url)).close()


@pytest.mark.parametrize("how", ["pause", "kill"])
def test_a_broker_that_dies_or_freezes_hangs_no_cell(compose: Path, how: str) -> None:
    rabbit = broker.start()
    frozen_or_dead(rabbit, lambda: subprocess.run(["docker", how, *containers()], check=True, capture_output=True))
    pika.BlockingConnection(pika.URLParameters(broker.start().url)).close()


def test_an_image_that_cannot_be_had(compose: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = compose / "docker-compose.yml"
    text = file.read_text(encoding="utf-8").replace("image: rabbitmq:", "image: 127.0.0.1:9/none/rabbitmq:")
    file.write_text(text, encoding="utf-8")
    with pytest.raises(broker.BrokerError, match=r"could not fetch the image 127\.0\.0\.1:9/none/rabbitmq:"):
        broker.start()


def test_an_engine_that_does_not_answer(course: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if not shutil.which("docker"):
        pytest.skip("there is no docker command")
    monkeypatch.setenv("DOCKER_HOST", "tcp://127.0.0.1:9")
    with pytest.raises(Unavailable, match="its engine does not answer"):
        docker.start(print)
    assert broker.stop() == ["No broker of this course was running."]


def test_one_that_is_halted_comes_back_with_what_is_on_disk(compose: Path) -> None:
    stopped_and_started(broker.start())
