"""Each notebook's own space, on real brokers: empty at each start, closed to others, with and without rights."""

import os
import re
import secrets
from collections.abc import Iterator
from typing import Any

import pika
import pytest
from brokers import Connect, Start, node_of

from mqlab import broker
from mqlab.broker import space
from mqlab.broker.node import Node, in_path


def publish(channel: Any, queue: str, *bodies: bytes) -> None:
    channel.queue_declare(queue, durable=True)
    channel.confirm_delivery()
    for body in bodies:
        channel.basic_publish("", queue, body)


def waiting(channel: Any, queue: str) -> int:
    return int(channel.queue_declare(queue, durable=True).method.message_count)


def test_the_line_says_what_and_why_and_no_password(
    start: Start, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    rabbit = start()
    line = capsys.readouterr().out.rpartition("\r")[2]
    version = r"RabbitMQ \d+\.\d+\.\d+"
    place = {
        "docker": f"{version} in Docker",
        "local": f"{version} installed on this machine",
        "embedded": rf"The small broker of this course, for learning \(it answers as {version}\)",
    }[kind]
    why = rf"{place}, because MQLAB_BROKER asks for it"
    assert re.fullmatch(rf"{why}.*\. Your space on it: test-\d+-a \(empty\)\.", str(rabbit))
    assert line == f"{rabbit}\n"
    password = pika.URLParameters(rabbit.url).credentials.password
    assert password not in repr(rabbit) and password not in repr(node_of(kind)) and password not in str(broker.status())


def test_a_space_is_empty_at_each_start(start: Start, connect: Connect) -> None:
    first = connect(start())
    channel = first.channel()
    publish(channel, "sign-ups", b"Ana", b"Ben")
    channel.exchange_declare("campus", "topic", durable=True)
    again = connect(start()).channel()
    # With other settings: nothing of the first run is in the way.
    again.exchange_declare("campus", "fanout", durable=True)
    assert waiting(again, "sign-ups") == 0
    with pytest.raises(pika.exceptions.AMQPError):  # the earlier run is cut off, it cannot interfere
        first.channel()


def test_two_notebooks_never_see_each_others_messages(start: Start, connect: Connect) -> None:
    one, two = start("one"), start("two")
    publish(connect(one).channel(), one.name("sign-ups"), b"Ana")
    assert waiting(connect(two).channel(), two.name("sign-ups")) == 0
    assert waiting(connect(one).channel(), one.name("sign-ups")) == 1


@pytest.fixture
def learner(start: Start, kind: str) -> Iterator[tuple[Node, str, str]]:
    """A user of a class's broker who may work in the virtual host `class` and make none."""
    if kind == "embedded":
        pytest.skip("the small broker has one user, who may do everything")
    start()
    node = node_of(kind)
    user, password, vhost = f"ana-{os.getpid()}", secrets.token_urlsafe(8) + "@/ü", f"class {os.getpid()}/ö"
    node.api("PUT", f"vhosts/{in_path(vhost)}", {})
    node.api("PUT", f"users/{user}", {"password": password, "tags": "management"})
    everything = {"configure": ".*", "write": ".*", "read": ".*"}
    node.api("PUT", f"permissions/{in_path(vhost)}/{user}", everything)
    yield node, f"amqp://{user}:{in_path(password)}@127.0.0.1:{node.port}/{in_path(vhost)}", vhost
    node.api("DELETE", f"vhosts/{in_path(vhost)}")
    node.api("DELETE", f"users/{user}")


@pytest.fixture(params=["refused", "none"])
def no_rights(request: pytest.FixtureRequest, learner: tuple[Node, str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """The management API refuses that user, or there is none."""
    node, address, _ = learner
    monkeypatch.setenv("MQLAB_BROKER", address)
    monkeypatch.setenv("MQLAB_MANAGEMENT_URL", node.management if request.param == "refused" else "http://127.0.0.1:9")


def named(name: str, monkeypatch: pytest.MonkeyPatch) -> broker.Broker:
    monkeypatch.setenv("MQLAB_SPACE", name)
    return broker.start()


def test_without_rights_a_space_is_a_prefix(
    no_rights: None, learner: tuple[Node, str, str], connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = named("one", monkeypatch), named("two", monkeypatch)
    assert one.kind == "address" and one.prefix and one.prefix in str(one) and "no virtual host" in str(one)
    assert pika.URLParameters(one.url).virtual_host == learner[2]
    channel = connect(one).channel()
    publish(channel, one.name("sign-ups"), b"Ana")
    assert one.name("sign-ups") == one.prefix + "sign-ups" != two.name("sign-ups")
    assert waiting(connect(two).channel(), two.name("sign-ups")) == 0
    assert waiting(channel, one.name("sign-ups")) == 1, "a name asked for again keeps what is there"
    assert [one.name(text) for text in ("", "amq.topic")] == ["", "amq.topic"]


def test_without_rights_a_second_run_begins_empty_too(
    no_rights: None, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = named("one", monkeypatch)
    channel = connect(first).channel()
    publish(channel, first.name("sign-ups"), b"Ana")
    channel.exchange_declare(first.name("campus"), "topic", durable=True)
    again = named("one", monkeypatch)
    channel = connect(again).channel()
    channel.exchange_declare(again.name("campus"), "fanout", durable=True)
    assert waiting(channel, again.name("sign-ups")) == 0


def test_at_an_address_with_rights_the_space_is_a_virtual_host(
    start: Start, kind: str, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    start()
    node = node_of(kind)
    monkeypatch.setenv("MQLAB_BROKER", f"amqp://{node.user}:{node.password}@localhost:{node.port}")
    monkeypatch.setenv("MQLAB_MANAGEMENT_URL", node.management)
    rabbit = named("labs/05", monkeypatch)
    at = f"RabbitMQ {node.version} at localhost:{node.port}, because MQLAB_BROKER asks for it. "
    assert str(rabbit) == f"{at}Your space on it: labs-05 (empty)."
    vhost = pika.URLParameters(rabbit.url).virtual_host
    assert vhost.startswith("mqlab-") and vhost.endswith("-labs-05"), "a name that nobody else's course folder has"
    publish(connect(rabbit).channel(), rabbit.name("sign-ups"), b"Ana")
    assert waiting(connect(named("labs/05", monkeypatch)).channel(), "sign-ups") == 0
    space.close_own(broker._at(os.environ["MQLAB_BROKER"], ""), "labs-05")
    assert vhost not in [one["name"] for one in node.api("GET", "vhosts")]


def test_a_refused_password_is_said(start: Start, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    start()
    node = node_of(kind)
    monkeypatch.setenv("MQLAB_BROKER", f"amqp://{node.user}:wrong@127.0.0.1:{node.port}/")
    monkeypatch.setenv("MQLAB_MANAGEMENT_URL", node.management)
    with pytest.raises(broker.BrokerError, match="refused the user name or the password") as refusal:
        broker.start()
    assert "wrong" not in str(refusal.value)
