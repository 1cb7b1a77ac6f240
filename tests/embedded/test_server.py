"""The embedded broker's sockets: heartbeats, memory, limits and the end of connections, with real clients."""

import asyncio
import contextlib
import socket
import threading
import time

import pika
import pika.exceptions
import pytest
from pamqp import commands, frame

from mqlab.broker.embedded import management
from mqlab.broker.embedded.model import Broker
from mqlab.broker.embedded.server import Server
from mqlab.broker.embedded.session import Limits
from mqlab.broker.node import Node

WAIT = 10  # seconds, at most, for what should happen at once


class Running:
    """A server in a thread of its own."""

    def __init__(self, **limits):
        self.broker = Broker(memory_limit=limits.pop("memory_limit", 100_000_000))
        self.server = Server(self.broker, "guest", "guest", Limits(**limits))
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self.thread.start()
        self.port = self.do(self.server.start())

    def do(self, task):
        return asyncio.run_coroutine_threadsafe(task, self.loop).result(WAIT)

    def call(self, function, *arguments):
        async def called():
            return function(*arguments)

        return self.do(called())

    def connect(self, **how):
        how = {"heartbeat": 0, "blocked_connection_timeout": WAIT, **how}
        return pika.BlockingConnection(pika.ConnectionParameters("127.0.0.1", self.port, **how))

    def raw(self, heartbeat):
        """A client that can be silent: its socket, with the connection open."""
        client = socket.create_connection(("127.0.0.1", self.port), timeout=WAIT)
        client.sendall(b"AMQP\0\0\x09\x01")
        response = "\0guest\0guest"
        for method in (
            commands.Connection.StartOk({}, "PLAIN", response, "en_US"),
            commands.Connection.TuneOk(2047, 131072, heartbeat),
            commands.Connection.Open("/"),
        ):
            client.sendall(frame.marshal(method, 0))
        return client

    def close(self):
        with contextlib.suppress(Exception):
            self.do(self.server.close())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(WAIT)
        self.loop.close()


@pytest.fixture
def running():
    started = []

    def start(**limits):
        started.append(Running(**limits))
        return started[-1]

    yield start
    for one in started:
        one.close()


def until(condition):
    end = time.monotonic() + WAIT
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.01)


def test_it_listens_on_this_machine_only(running):
    server = running().server
    assert [listening.getsockname()[0] for listening in server.listener.sockets] == ["127.0.0.1"]


def test_a_silent_client_hears_heartbeats_and_then_loses_its_connection(running):
    client = running().raw(heartbeat=1)
    heard, begun = b"", time.monotonic()
    with contextlib.suppress(ConnectionError):
        while data := client.recv(65536):
            heard += data
    assert heard.count(b"\x08\0\0\0\0\0\0\xce") >= 2
    assert 2 <= time.monotonic() - begun < WAIT
    client.close()


def test_a_client_that_beats_keeps_its_connection(running):
    with running().connect(heartbeat=1) as connection:
        end = time.monotonic() + 3.5
        while time.monotonic() < end:
            connection.process_data_events(0.2)
        assert connection.channel().queue_declare("", exclusive=True).method.message_count == 0


def test_publishers_wait_while_messages_take_too_much_memory(running):
    broker = running(memory_limit=200_000)
    told = []
    with broker.connect() as publishing, broker.connect() as consuming:
        publishing.add_on_connection_blocked_callback(lambda _, method: told.append(method.method.reason))
        publishing.add_on_connection_unblocked_callback(lambda *_: told.append("unblocked"))
        publisher, consumer = publishing.channel(), consuming.channel()
        publisher.queue_declare("q", durable=True)
        for _ in range(200):
            publisher.basic_publish("", "q", bytes(1000))
        end = time.monotonic() + WAIT
        while not told:
            publishing.process_data_events(0.05)
            assert time.monotonic() < end
        assert told == ["low on memory"]
        assert broker.broker.memory < 400_000
        for _ in consumer.consume("q", auto_ack=True, inactivity_timeout=0.5):
            publishing.process_data_events(0)
            if "unblocked" in told:
                break
        consumer.cancel()
        assert told == ["low on memory", "unblocked"]
        publisher.confirm_delivery()
        publisher.basic_publish("", "q", b"goes on")


def test_one_connection_too_many_is_refused(running):
    broker = running(connections=1)
    with broker.connect() as first:
        with pytest.raises(pika.exceptions.AMQPConnectionError):
            broker.connect()
        assert first.is_open


def test_closing_tells_every_client_why(running):
    broker = running()
    connection = broker.connect()
    closing = asyncio.run_coroutine_threadsafe(broker.server.close(), broker.loop)
    with pytest.raises(pika.exceptions.ConnectionClosedByBroker) as closed:
        while True:
            connection.process_data_events(0.1)
    assert closed.value.reply_code == 320
    assert closed.value.reply_text == "CONNECTION_FORCED - broker forced connection closure with reason 'shutdown'"
    closing.result(WAIT)


def test_a_deleted_virtual_host_loses_its_connections(running):
    broker = running()
    broker.call(broker.broker.add_vhost, "gone")
    with broker.connect() as other:
        connection = broker.connect(virtual_host="gone")
        broker.call(broker.broker.delete_vhost, "gone")
        broker.call(broker.server.cut, "gone")
        with pytest.raises(pika.exceptions.ConnectionClosedByBroker, match="vhost 'gone' is deleted"):
            while True:
                connection.process_data_events(0.1)
        other.process_data_events(0)
        assert other.is_open


def test_it_knows_how_long_nobody_was_there(running):
    server = running()
    with server.connect():
        until(lambda: server.call(server.server.idle) == 0)
    until(lambda: server.call(server.server.idle) > 0)


def test_a_connection_that_breaks_gives_its_messages_back(running):
    broker = running()
    with broker.connect() as watching:
        channel = watching.channel()
        channel.queue_declare("q", durable=True)
        channel.basic_publish("", "q", b"again")
        broken = broker.raw(heartbeat=0)
        for method in (commands.Channel.Open(), commands.Basic.Get(0, "q")):
            broken.sendall(frame.marshal(method, 1))
        until(lambda: channel.queue_declare("q", passive=True).method.message_count == 0)
        broken.close()  # as when the process dies
        until(lambda: channel.queue_declare("q", passive=True).method.message_count == 1)
        assert channel.basic_get("q", auto_ack=True)[0].redelivered


def test_a_client_that_asks_and_does_not_read_is_not_read_either(running):
    broker = running()
    with broker.connect() as connection:
        channel = connection.channel()
        channel.queue_declare("q", durable=True)
        for _ in range(40):
            channel.basic_publish("", "q", bytes(1 << 20))
        greedy = broker.raw(heartbeat=0)
        greedy.sendall(frame.marshal(commands.Channel.Open(), 1))
        for _ in range(40):
            greedy.sendall(frame.marshal(commands.Basic.Get(0, "q", True), 1))
            waiting = channel.queue_declare("q", passive=True).method.message_count
        assert waiting > 10
        heard = 0
        while heard < 40 << 20:
            heard += len(greedy.recv(1 << 20))
        assert channel.queue_declare("q", passive=True).method.message_count == 0
        greedy.close()


def test_what_is_due_happens_without_anybody_asking(running):
    broker = running()
    with broker.connect() as connection:
        channel = connection.channel()
        channel.queue_declare("dead", durable=True)
        to_dead = {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": "dead"}
        channel.queue_declare("q", durable=True, arguments={"x-message-ttl": 50, **to_dead})
        channel.basic_publish("", "q", b"late")
        got = next(channel.consume("dead", auto_ack=True, inactivity_timeout=WAIT))
        assert got[2] == b"late"


def test_what_is_rejected_without_an_answer_comes_back_in_time(running):
    with running().connect() as connection, connection.channel() as channel:
        for name, to in (("work", "retry"), ("retry", "work")):
            dead = {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": to}
            pause = {"x-message-ttl": 50} if name == "retry" else {}
            channel.queue_declare(name, durable=True, arguments=dead | pause)
        channel.basic_publish("", "work", b"poison")
        for tries, (method, _, _) in enumerate(channel.consume("work", inactivity_timeout=2), 1):
            assert method is not None, "nobody looked at the time"
            if tries == 4:
                break
            time.sleep(0.05)
            channel.basic_reject(method.delivery_tag, requeue=False)


def test_tracing_is_switched_for_channels_that_are_open(running):
    broker = running()
    port = broker.call(management.start, 0, "guest", "guest", management.pages(broker.server, "guest"))
    node = Node("embedded", "127.0.0.1", broker.port, "guest", "guest", f"http://127.0.0.1:{port}")
    node.api("PUT", "vhosts/new", {"tracing": True})
    assert node.api("GET", "vhosts/new") == {"name": "new", "tracing": True}
    with broker.connect() as connection:
        channel = connection.channel()
        channel.queue_declare("records", exclusive=True)
        channel.queue_bind("records", "amq.rabbitmq.trace", "publish.#")
        for tracing in (False, True, False):
            node.api("PUT", "vhosts/%2F", {"tracing": tracing})
            node.api("PUT", "vhosts/%2F", {})  # says nothing of it
            assert node.api("GET", "vhosts/%2F") == {"name": "/", "tracing": tracing}
            channel.basic_publish("", "nobody", str(tracing).encode())
            channel.queue_declare("records", passive=True)
        method, properties, body = channel.basic_get("records", auto_ack=True)
        assert (method.routing_key, method.message_count, body) == ("publish.", 0, b"True")
        client = connection._impl._transport._sock.getsockname()[1]
        assert properties.headers["connection"] == f"127.0.0.1:{client} -> 127.0.0.1:{broker.port}"
    node.api("DELETE", "vhosts/new")
    node.api("PUT", "vhosts/new")
    assert node.api("GET", "vhosts/new") == {"name": "new", "tracing": False}
