"""The other protocols of each broker: who speaks what, in which space; what is replayed where nobody does."""

import asyncio
import json
import os
import re
from pathlib import Path
from queue import Queue
from typing import Any

import nbformat
import paho.mqtt.client as mqtt
import pytest
import rstream
import stomp
from brokers import Connect, Start, until
from pika.adapters.blocking_connection import BlockingChannel

from mqlab import broker, paths
from mqlab.broker import protocols
from mqlab.broker.protocols import Protocols
from mqlab.trace import load
from mqlab.views import topology

LIMIT = 20  # seconds
BODY = b'{"name":"Amina"}'
NOTEBOOK = paths.NOTEBOOKS / "10-many-protocols.ipynb"


def by_mqtt(spoken: Protocols, password: str = "") -> bool:
    door = spoken.mqtt
    assert door
    client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, "box", protocol=door.version)
    client.username_pw_set(f"{door.vhost}:{door.user}", password or door.password)
    answers: Queue[bool] = Queue()
    client.on_connect = lambda client, data, flags, reason, properties: answers.put(not reason.is_failure)
    client.connect(door.host, door.port)
    client.loop_start()
    try:
        if answers.get(timeout=LIMIT):
            client.publish("sign-up/x", BODY, qos=1).wait_for_publish(LIMIT)
            return True
        return False
    finally:
        client.disconnect()
        client.loop_stop()


def by_stomp(spoken: Protocols) -> None:
    door = spoken.stomp
    assert door
    line = stomp.Connection12([(door.host, door.port)], vhost=door.vhost)
    line.connect(door.user, door.password, wait=True)
    line.send("/topic/sign-up.x", BODY)
    line.disconnect()


def by_amqp10(spoken: Protocols) -> None:
    from proton import Message
    from proton.utils import BlockingConnection

    door = spoken.amqp10
    assert door
    who = {"user": door.user, "password": door.password, "virtual_host": f"vhost:{door.vhost}"}
    line = BlockingConnection(f"{door.host}:{door.port}", timeout=LIMIT, allowed_mechs="PLAIN", **who)
    line.create_sender("/exchanges/amq.topic/sign-up.x").send(Message(BODY, inferred=True))
    line.close()


async def by_stream(spoken: Protocols) -> list[bytes]:
    """Send over the stream protocol, and read from the first offset until that has come back."""
    door = spoken.stream
    assert door
    where = {"host": door.host, "port": door.port, "username": door.user, "password": door.password}
    heard: list[bytes] = []
    done = asyncio.Event()

    def on_message(message: Any, context: Any) -> None:
        heard.append(message.body)
        if message.body == b"last":
            done.set()

    async with rstream.Producer(vhost=door.vhost, **where) as producer:
        await producer.send_wait("history", rstream.AMQPMessage(body=b"last"))
    async with rstream.Consumer(vhost=door.vhost, **where) as reader:
        start = rstream.ConsumerOffsetSpecification(rstream.OffsetType.FIRST, None)
        await reader.subscribe("history", on_message, decoder=rstream.amqp_decoder, offset_specification=start)
        await asyncio.wait_for(done.wait(), LIMIT)
    return heard


def require(spoken: Protocols, name: str) -> None:
    """Skip where that is not spoken; in CI RabbitMQ 4 must speak it."""
    if not spoken.speaks(name):
        if os.environ.get("MQLAB_REQUIRE") and protocols.NO_CLIENT in spoken.why:
            pytest.fail(spoken.why)
        pytest.skip(spoken.why)


@pytest.fixture
def own(start: Start) -> broker.Broker:
    """The broker, with an empty space."""
    return start()


@pytest.fixture
def spoken(own: broker.Broker) -> Protocols:
    return own.protocols()


@pytest.fixture
def channel(own: broker.Broker, connect: Connect) -> BlockingChannel:
    """A channel in that space; the queue mails is bound to amq.topic."""
    channel = connect(own).channel()
    channel.queue_declare("mails", durable=True)
    channel.queue_bind("mails", "amq.topic", "sign-up.#")
    return channel


def test_the_small_broker_says_that_it_speaks_one(spoken: Protocols, kind: str) -> None:
    doors = [spoken.mqtt, spoken.stomp, spoken.amqp10, spoken.stream]
    if kind == "embedded":
        assert not any(doors) and not spoken.speaks("mqtt")
        assert "speaks AMQP 0-9-1 alone" in repr(spoken) and "recorded on RabbitMQ 4.3" in repr(spoken)
    else:
        assert all(door.host == "127.0.0.1" and door.password not in repr(door) for door in doors if door)
        assert spoken.mqtt and spoken.stomp and spoken.stream and "live: AMQP 0-9-1, MQTT " in repr(spoken)


@pytest.mark.parametrize("name", ["mqtt", "stomp", "amqp10"])
def test_what_is_said_in_it_arrives_in_this_space(name: str, spoken: Protocols, channel: BlockingChannel) -> None:
    require(spoken, name)
    {"mqtt": by_mqtt, "stomp": by_stomp, "amqp10": by_amqp10}[name](spoken)
    method, _, body = next(channel.consume("mails", inactivity_timeout=LIMIT))
    assert (method.exchange, method.routing_key, body) == ("amq.topic", "sign-up.x", BODY)


def test_a_stream_is_read_from_its_beginning(spoken: Protocols, channel: BlockingChannel) -> None:
    require(spoken, "stream")
    channel.queue_declare("history", durable=True, arguments={"x-queue-type": "stream"})
    channel.confirm_delivery()
    channel.basic_publish("", "history", b"first")
    assert asyncio.run(by_stream(spoken)) == [b"first", b"last"]


def test_a_wrong_password_is_refused(spoken: Protocols) -> None:
    require(spoken, "mqtt")
    assert not by_mqtt(spoken, password="guest")


def test_the_picture_tells_them_apart(own: broker.Broker, spoken: Protocols, channel: BlockingChannel) -> None:
    require(spoken, "mqtt")
    tap = own.watch()
    try:
        by_mqtt(spoken)
        by_stomp(spoken)
        expected = ["MQTT", "STOMP"]
        if spoken.speaks("amqp10"):
            by_amqp10(spoken)
            expected.append("AMQP 1.0")
        until(lambda: tap.settle().state().ready == len(expected), LIMIT)
        state = tap.trace.state()
        assert [state.messages[id].producer for id in state.queues["mails"].ready] == expected
        assert state.exchanges["amq.topic"].type == "topic"
        picture = topology.draw(state, faults=True)
        assert all(f">{name}<" in picture for name in expected)
        assert "cut:" not in picture, "the tap has no hand on those"
        assert tap.problems == []
    finally:
        tap.close()


# ---- steps that are done or replayed: no broker


def nobody() -> Protocols:
    return Protocols("RabbitMQ 4.3.6", None, "amqp://127.0.0.1/a")


def test_of_an_address_given_by_hand_nothing_is_known() -> None:
    assert "given by hand" in nobody().why and not nobody().speaks("stream")
    with pytest.raises(broker.BrokerError, match=r"no protocol 'smtp' here\. There is mqtt, "):
        nobody().needs("smtp")


def test_a_step_is_replayed_and_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    spoken = nobody()

    @spoken.needs("mqtt")
    def late_phone() -> None:
        raise AssertionError("it is not done")

    @spoken.needs("stream")
    async def replay(first: int) -> None:
        raise AssertionError("nor this")

    assert late_phone() == ["open", True]
    assert asyncio.run(replay(2)) == [[2, "Chidi"], [3, "Diego"]]
    assert re.fullmatch(r"(\(recorded on RabbitMQ 4\.3\.\d+\)\n){2}", capsys.readouterr().out)
    with pytest.raises(broker.BrokerError, match=r"replay\(7\) was not recorded, and cannot be done here: which"):
        asyncio.run(replay(7))


def test_a_step_that_is_done_is_noted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spoken = nobody()
    monkeypatch.setenv(protocols.RECORD, str(tmp_path))

    @spoken.needs()
    def pair(n: int) -> Any:
        return (n, "two")

    @spoken.needs()
    def bytes_() -> bytes:
        return b"x"

    assert pair(1) == [1, "two"], "as it will be replayed"
    assert pair(n=2) == [2, "two"]
    noted = json.loads((tmp_path / "protocols.json").read_text(encoding="utf-8"))
    assert noted == {"on": "RabbitMQ 4.3.6", "answers": {"pair(1)": [1, "two"], "pair(n=2)": [2, "two"]}}
    with pytest.raises(broker.BrokerError, match=r"bytes_\(\) must return what JSON can hold"):
        bytes_()


def test_each_step_of_the_notebook_is_recorded() -> None:
    code = "\n".join(cell.source for cell in nbformat.read(NOTEBOOK, as_version=4).cells if cell.cell_type == "code")
    steps = set(re.findall(r"@speaks\.needs\(.*\)\n(?:async )?def (\w+)", code))
    record = json.loads(protocols.ANSWERS.read_text(encoding="utf-8"))
    assert steps == {key.partition("(")[0] for key in record["answers"]}
    assert record["on"].startswith("RabbitMQ 4.3.")
    state = load(protocols.FILM).state()
    assert {who for _, who in state.senders} == {"AMQP 0-9-1", "MQTT", "STOMP", "AMQP 1.0"}
    assert (len(state.queues["history"].ready), len(state.queues["mails"].ready)) == (4, 0)


def test_what_docker_publishes_stays_on_this_machine() -> None:
    ports = re.findall(r"^ +- (\S+):(\d+)$", (paths.ROOT / "docker-compose.yml").read_text(encoding="utf-8"), re.M)
    assert {inside for _, inside in ports} >= {"5672", "15672", "1883", "61613", "5552"}
    assert all(outside.startswith("127.0.0.1:") for outside, _ in ports)
