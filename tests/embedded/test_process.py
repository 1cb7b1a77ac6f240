"""The broker as a program: its line, its end, its refusals, its management API, and what it keeps on disk."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
from collections.abc import Callable
from pathlib import Path

import pika
import psutil
import pytest
from program import LIMIT, Program, folder, running, waiting

from mqlab.broker.node import Node, in_path

PERSISTENT = pika.BasicProperties(delivery_mode=2)
KEPT = "what is durable is in "


@pytest.mark.parametrize("how", ["SIGTERM", "SIGINT"])
@pytest.mark.skipif(os.name == "nt", reason="Windows has no such signals")
def test_it_says_one_line_and_ends_cleanly(how: str) -> None:
    with running() as program:
        assert program.line == (
            f"The small broker of this course (it answers as RabbitMQ 4.3.6) is ready at 127.0.0.1:{program.port} "
            "for user ana; it keeps nothing on disk.\n"
        )
        connection = program.connect()
        program.process.send_signal(getattr(signal, how))
        with pytest.raises(pika.exceptions.ConnectionClosedByBroker, match="CONNECTION_FORCED"):
            connection.process_data_events(time_limit=LIMIT)
        assert program.end(how) == (0, "")


def test_it_listens_on_this_machine_only_and_lets_in_its_user_only() -> None:
    with running() as program:
        connections = psutil.Process(program.process.pid).net_connections()
        listening = [one.laddr for one in connections if one.status == psutil.CONN_LISTEN]
        assert [(address.ip, address.port) for address in listening] == [("127.0.0.1", program.port)]
        program.password = "wrong"
        with pytest.raises(pika.exceptions.ProbableAuthenticationError):
            program.connect()


def test_without_a_password_it_makes_one_and_says_it() -> None:
    with running(password=None) as first, running(password=None) as second:
        passwords = [one.line.partition("The password: ")[2].strip() for one in (first, second)]
        assert len(set(passwords)) == 2 and min(map(len, passwords)) > 30
        first.password = passwords[0]
        first.connect().close()


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--port", "five"], 2, "a port is a number from 0 to 65535"),
        (["--memory-limit", "0"], 2, "a number of bytes"),
        (["--data", __file__], 1, "The broker has ended: "),
    ],
)
def test_what_cannot_be_is_said(arguments: list[str], code: int, words: str) -> None:
    with running(*arguments) as program:
        ended, said = program.end()
        assert program.line == "" and ended == code and words in said and "Traceback" not in said


def test_a_taken_port_and_a_folder_in_use_are_said(tmp_path: Path) -> None:
    data = folder(tmp_path)
    with running("--data", data) as first:
        assert KEPT + str(data) in first.line
        for arguments, words in (
            (["--port", first.port], "already in use"),
            (["--management-port", first.port], "already in use"),
            (["--data", data], "Another broker uses"),
        ):
            with running(*arguments) as second:
                code, said = second.end()
                assert code == 1 and words in said and "Traceback" not in said, said


def test_the_help_says_all() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "mqlab.broker.embedded", "--help"],
        capture_output=True,
        text=True,
        timeout=LIMIT,
        check=True,
    )
    for word in ("--port", "--user", "--password", "--data", "--memory-limit", "kill -9", "SIGTERM", "RabbitMQ"):
        assert word in done.stdout


def campus(program: Program) -> None:
    """Declare a bit of everything, and publish to it."""
    with program.connect() as connection:
        channel = connection.channel()
        channel.confirm_delivery()
        channel.exchange_declare("campus", "topic", durable=True, arguments={"alternate-exchange": "amq.fanout"})
        channel.exchange_declare("late", "fanout", durable=True)
        channel.exchange_declare("passing", "fanout")
        channel.exchange_bind("late", "campus", "late.#")
        for queue, arguments in (
            ("sign-ups", {}),
            ("urgent", {"x-max-priority": 5}),
            ("safe", {"x-queue-type": "quorum"}),
        ):
            channel.queue_declare(queue, durable=True, arguments=arguments)
            channel.queue_bind(queue, "campus", "sign-up.*")
        channel.queue_bind("sign-ups", "late")
        channel.queue_bind("sign-ups", "passing")
        channel.queue_declare("mine", exclusive=True)
        channel.queue_declare("short", durable=True)
        channel.queue_delete("short")
        for n in range(6):
            properties = pika.BasicProperties(delivery_mode=2, priority=n % 2, headers={"n": n}, message_id=f"m{n}")
            channel.basic_publish("campus", "sign-up.new", b"%d" % n, properties)
        channel.basic_publish("campus", "sign-up.new", b"transient", pika.BasicProperties(delivery_mode=1))
        channel.basic_publish("campus", "late.one", b"late", PERSISTENT)


@pytest.mark.parametrize("end", [Program.end, Program.kill], ids=["SIGTERM", "SIGKILL"])
def test_what_is_durable_is_there_again(tmp_path: Path, end: Callable[[Program], object]) -> None:
    data = folder(tmp_path)
    with running("--data", data) as program:
        campus(program)
        with program.connect() as connection:
            channel = connection.channel()
            method, _, body = channel.basic_get("sign-ups")
            channel.basic_ack(method.delivery_tag)
            channel.queue_declare("sign-ups", passive=True)  # its answer comes after the ack was taken
            assert body == b"0"
        end(program)
    for _ in range(2):  # a second time, for what was read back is kept as well
        with running("--data", data) as program, program.connect() as connection:
            assert waiting(connection, "sign-ups") == [b"1", b"2", b"3", b"4", b"5", b"late"]
            assert waiting(connection, "urgent") == [b"1", b"3", b"5", b"0", b"2", b"4"]
            everything = {b"%d" % n for n in range(6)} | {b"transient"}
            assert set(waiting(connection, "safe")) == everything, "a quorum queue keeps transient messages too"
            channel = connection.channel()
            _, properties, _ = channel.basic_get("sign-ups")
            assert (properties.headers, properties.message_id, properties.delivery_mode) == ({"n": 1}, "m1", 2)
            channel.exchange_declare(
                "campus", "topic", durable=True, arguments={"alternate-exchange": "amq.fanout"}
            )  # as it was, else 406
            channel.queue_declare("urgent", durable=True, arguments={"x-max-priority": 5})
            channel.exchange_declare("passing", passive=True)  # RabbitMQ 4.3 keeps transient exchanges
            for name in ("mine", "short"):
                channel = connection.channel()
                with pytest.raises(pika.exceptions.ChannelClosedByBroker, match="NOT_FOUND"):
                    channel.queue_declare(name, passive=True)
            channel = connection.channel()
            channel.confirm_delivery()
            channel.basic_publish("campus", "late.two", b"x", pika.BasicProperties(delivery_mode=1), mandatory=True)
        assert program.end()[0] in (0, -9)


def test_a_message_does_not_live_longer_for_a_restart(tmp_path: Path) -> None:
    data = folder(tmp_path)
    with running("--data", data) as program, program.connect() as connection:
        channel = connection.channel()
        channel.confirm_delivery()
        channel.queue_declare("old", durable=True)
        channel.queue_declare("late", durable=True, arguments={"x-message-ttl": 600_000})
        channel.queue_declare(
            "short", durable=True, arguments={"x-dead-letter-exchange": "", "x-dead-letter-routing-key": "old"}
        )
        channel.basic_publish("", "late", b"there", PERSISTENT)
        channel.basic_publish("", "short", b"gone", pika.BasicProperties(delivery_mode=2, expiration="500"))
        end = time.monotonic() + 0.6
    with running("--data", data) as program, program.connect() as connection:
        while not (found := waiting(connection, "old")) and time.monotonic() < end + LIMIT:
            assert waiting(connection, "late") == [b"there"]
        assert found == [b"gone"] and waiting(connection, "short") == []


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux limits the files of a program that runs")
def test_when_the_disk_is_full_it_confirms_no_more_and_says_so(tmp_path: Path) -> None:
    data, confirmed = folder(tmp_path), 0
    with running("--data", data) as program:
        psutil.Process(program.process.pid).rlimit(psutil.RLIMIT_FSIZE, (2**20, 2**20))
        with pytest.raises(pika.exceptions.AMQPError), program.connect() as connection:
            channel = connection.channel()
            channel.confirm_delivery()
            channel.queue_declare("sign-ups", durable=True)
            while True:
                channel.basic_publish("", "sign-ups", b"x" * 10_000, PERSISTENT)
                confirmed += 1
        assert program.process.wait(LIMIT) == 1
        assert "Is there room on the disk" in program.end()[1]
    assert confirmed > 10
    with running("--data", data) as program, program.connect() as connection:
        assert len(waiting(connection, "sign-ups")) == confirmed


def test_what_was_deleted_stays_deleted(tmp_path: Path) -> None:
    data = folder(tmp_path)
    with running("--data", data) as program:
        campus(program)
        with program.connect() as connection:
            channel = connection.channel()
            channel.queue_unbind("safe", "campus", "sign-up.*")
            channel.queue_purge("urgent")
            channel.queue_delete("sign-ups")
            channel.exchange_delete("late")
        program.kill()
    with running("--data", data) as program, program.connect() as connection:
        channel = connection.channel()
        channel.queue_declare("sign-ups", durable=True)
        channel.confirm_delivery()
        channel.basic_publish("campus", "sign-up.new", b"again", PERSISTENT)
        assert waiting(connection, "sign-ups") == [], "neither its messages nor its bindings come back"
        assert waiting(connection, "urgent") == [b"again"]
        assert b"again" not in waiting(connection, "safe")
        with pytest.raises(pika.exceptions.ChannelClosedByBroker, match="NOT_FOUND"):
            channel.exchange_declare("late", passive=True)


@pytest.fixture
def node() -> Node:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return Node("embedded", "127.0.0.1", 0, "ana", "secret", f"http://127.0.0.1:{free.getsockname()[1]}")


def refused(node: Node, *call: object) -> int:
    """Return the status of a call of the management API that is refused; its answer must say why."""
    with pytest.raises(urllib.error.HTTPError) as caught:
        node.api(*call)  # type: ignore[arg-type]
    assert json.loads(caught.value.read())["reason"]
    return caught.value.code


EVERYTHING = {"configure": ".*", "write": ".*", "read": ".*"}


def test_its_management_api_makes_and_removes_virtual_hosts(tmp_path: Path, node: Node) -> None:
    name = "labs/05 ü %"
    arguments = ("--data", folder(tmp_path), "--management-port", node.management.rpartition(":")[2])
    with running(*arguments) as program:
        assert node.asked_version() == "4.3.6"
        for _ in range(2):
            node.api("PUT", f"vhosts/{in_path(name)}", {})
        node.api("PUT", f"permissions/{in_path(name)}/ana", EVERYTHING)
        with program.connect(name) as connection:
            connection.channel().queue_declare("sign-ups", durable=True)
        node.api("PUT", "vhosts/other", {})
        program.kill()
    with running(*arguments) as program:
        assert [one["name"] for one in node.api("GET", "vhosts")] == ["/", name, "other"]
        connection, other = program.connect(name), program.connect("other")
        connection.channel().queue_declare("sign-ups", passive=True)
        node.api("DELETE", f"vhosts/{in_path(name)}")
        with pytest.raises(pika.exceptions.ConnectionClosedByBroker, match="CONNECTION_FORCED"):
            connection.process_data_events(time_limit=LIMIT)
        other.channel().close()
        other.close()
        assert refused(node, "DELETE", f"vhosts/{in_path(name)}") == 404
        program.kill()
    with running(*arguments):
        assert [one["name"] for one in node.api("GET", "vhosts")] == ["/", "other"]


def test_its_management_api_refuses_what_it_does_not_do(node: Node) -> None:
    with running("--management-port", node.management.rpartition(":")[2]):
        for call in (
            ("GET", "queues"),
            ("POST", "definitions", {}),
            ("PUT", "vhosts/a", {"default_queue_type": "quorum"}),
            ("PUT", "vhosts/a", {"tracing": "yes"}),
            ("GET", "queues/no-such-vhost"),
            ("PUT", "permissions/%2F/ana", EVERYTHING | {"write": "^$"}),
            ("PUT", "users/ben", {"password": "x"}),
        ):
            assert refused(node, *call) == 501, call
        assert refused(node, "PUT", "permissions/%2F/ben", EVERYTHING) == 404
        stranger = Node("embedded", "127.0.0.1", 0, "ana", "wrong", node.management)
        assert refused(stranger, "DELETE", "vhosts/%2F") == 401
        for raw, answer in (
            (b"PUT /api/vhosts/a HTTP/1.0\r\nContent-Length: 99999999\r\n\r\n", b" 413 "),
            (b"PUT /api/vhosts/a HTTP/1.0\r\nContent-Length: -1\r\n\r\n", b" 413 "),
            (b"\x00\xff\r\n\r\n", b" 400 "),
        ):
            with socket.create_connection(("127.0.0.1", int(node.management.rpartition(":")[2])), LIMIT) as client:
                client.sendall(raw)
                assert answer in client.makefile("rb").readline() + b" 400 " * (raw[:1] == b"\x00")
        assert [one["name"] for one in node.api("GET", "vhosts")] == ["/"], "it lives, and nothing was changed"
