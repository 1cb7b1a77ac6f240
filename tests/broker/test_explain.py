"""Each mistake a learner can make, made on a real broker: a sentence says what is wrong and what to do."""

import re
from collections.abc import Callable
from typing import Any

import pika
import pytest
from brokers import Connect, Start, node_of
from nbclient import NotebookClient
from nbformat.v4 import new_code_cell, new_notebook
from pika.adapters.blocking_connection import BlockingChannel

from mqlab.broker.explain import MEANINGS, explain

Mistake = Callable[[pika.BlockingConnection, BlockingChannel, pika.URLParameters], Any]


def consume_undeclared(connection: Any, channel: Any, address: Any) -> None:
    channel.basic_consume("nowhere", print)


def publish_to_no_exchange(connection: Any, channel: Any, address: Any) -> None:
    channel.confirm_delivery()
    channel.basic_publish("nowhere", "sign-ups", b"Ana")


def publish_to_no_exchange_unconfirmed(connection: Any, channel: Any, address: Any) -> None:
    channel.basic_publish("nowhere", "sign-ups", b"Ana")
    connection.process_data_events(time_limit=1)
    channel.queue_declare("sign-ups", durable=True)


def declare_otherwise(connection: Any, channel: Any, address: Any) -> None:
    channel.queue_declare("sign-ups", durable=True)
    channel.queue_declare("sign-ups", durable=True, arguments={"x-max-length": 3})


def acknowledge_twice(connection: Any, channel: Any, address: Any) -> None:
    channel.queue_declare("sign-ups", durable=True)
    channel.basic_publish("", "sign-ups", b"Ana")
    for method, _, _ in channel.consume("sign-ups"):
        channel.basic_ack(method.delivery_tag)
        channel.basic_ack(method.delivery_tag)


def take_a_reserved_name(connection: Any, channel: Any, address: Any) -> None:
    channel.queue_declare("amq.sign-ups", durable=True)


def use_anothers_exclusive_queue(connection: Any, channel: Any, address: Any) -> None:
    channel.queue_declare("mine", exclusive=True)
    with pika.BlockingConnection(address) as other:
        other.channel().queue_declare("mine", exclusive=True)


def consume_beside_an_exclusive_consumer(connection: Any, channel: Any, address: Any) -> None:
    channel.queue_declare("sign-ups", durable=True)
    channel.basic_consume("sign-ups", print, exclusive=True)
    connection.channel().basic_consume("sign-ups", print)


def misspell_a_type(connection: Any, channel: Any, address: Any) -> None:
    channel.exchange_declare("campus", "funout")


def take_a_word_for_a_type(connection: Any, channel: Any, address: Any) -> None:
    channel.exchange_declare("campus", "broadcast")


def use_a_closed_channel(connection: Any, channel: Any, address: Any) -> None:
    channel.close()
    channel.queue_declare("sign-ups", durable=True)


def use_a_closed_connection(connection: Any, channel: Any, address: Any) -> None:
    connection.close()
    connection.channel()


def publish_for_nobody(connection: Any, channel: Any, address: Any) -> None:
    channel.confirm_delivery()
    channel.basic_publish("", "nowhere", b"Ana", mandatory=True)


def publish_to_a_full_queue(connection: Any, channel: Any, address: Any) -> None:
    channel.confirm_delivery()
    channel.queue_declare("full", durable=True, arguments={"x-max-length": 1, "x-overflow": "reject-publish"})
    for _ in range(5):
        channel.basic_publish("", "full", b"Ana")


def use_one_consumer_tag_twice(connection: Any, channel: Any, address: Any) -> None:
    channel.queue_declare("sign-ups", durable=True)
    for _ in range(2):
        channel.basic_consume("sign-ups", print, consumer_tag="me")


def wait_within_a_callback(connection: Any, channel: Any, address: Any) -> None:
    channel.queue_declare("sign-ups", durable=True)
    channel.basic_publish("", "sign-ups", b"Ana")
    channel.basic_consume("sign-ups", lambda *_: channel.start_consuming())
    connection.process_data_events(time_limit=5)


def use_a_wrong_password(connection: Any, channel: Any, address: Any) -> None:
    address.credentials = pika.PlainCredentials("campus", "wrong")
    pika.BlockingConnection(address)


def use_a_wrong_virtual_host(connection: Any, channel: Any, address: Any) -> None:
    address.virtual_host = "nowhere"
    pika.BlockingConnection(address)


def use_a_wrong_port(connection: Any, channel: Any, address: Any) -> None:
    address.port = 9
    pika.BlockingConnection(address)


MISTAKES: list[tuple[Mistake, type[Exception], str]] = [
    (consume_undeclared, pika.exceptions.ChannelClosedByBroker, "no queue of that name"),
    (publish_to_no_exchange, pika.exceptions.ChannelClosedByBroker, "no exchange of that name"),
    (publish_to_no_exchange_unconfirmed, pika.exceptions.ChannelWrongStateError, "an exchange that is not there"),
    (declare_otherwise, pika.exceptions.ChannelClosedByBroker, "with other settings"),
    (acknowledge_twice, pika.exceptions.ChannelClosedByBroker, "acknowledged twice"),
    (take_a_reserved_name, pika.exceptions.ChannelClosedByBroker, "begin with amq."),
    (use_anothers_exclusive_queue, pika.exceptions.ChannelClosedByBroker, "exclusive to another connection"),
    (consume_beside_an_exclusive_consumer, pika.exceptions.ChannelClosedByBroker, "has this queue to itself"),
    (misspell_a_type, pika.exceptions.AMQPError, "direct, fanout, topic or headers"),
    (take_a_word_for_a_type, pika.exceptions.AMQPError, "direct, fanout, topic or headers"),
    (use_a_closed_channel, pika.exceptions.ChannelWrongStateError, "channel is closed"),
    (use_a_closed_connection, pika.exceptions.ConnectionWrongStateError, "connection is closed"),
    (publish_for_nobody, pika.exceptions.UnroutableError, "no queue takes it"),
    (publish_to_a_full_queue, pika.exceptions.NackError, "the queue is full"),
    (use_one_consumer_tag_twice, pika.exceptions.DuplicateConsumerTag, "consumer_tag"),
    (wait_within_a_callback, pika.exceptions.ReentrancyError, "inside a callback"),
    (use_a_wrong_password, pika.exceptions.ProbableAuthenticationError, "refused the user name or the password"),
    (use_a_wrong_virtual_host, pika.exceptions.ProbableAccessDeniedError, "no such virtual host"),
    (use_a_wrong_port, pika.exceptions.AMQPConnectionError, "No RabbitMQ answers"),
]


@pytest.mark.parametrize(("mistake", "kind_of_error", "words"), MISTAKES)
def test_a_mistake_is_explained(
    mistake: Mistake, kind_of_error: type[Exception], words: str, start: Start, connect: Connect
) -> None:
    rabbit = start()
    connection = connect(rabbit)
    with pytest.raises(kind_of_error) as caught:
        mistake(connection, connection.channel(), pika.URLParameters(rabbit.url))
    assert words in (explain(caught.value) or "")


def test_a_queue_neither_durable_nor_exclusive(start: Start, kind: str, connect: Connect) -> None:
    channel = connect(start()).channel()
    if int(node_of(kind).version.partition(".")[0]) < 4:
        channel.queue_declare("hello")
        return
    with pytest.raises(pika.exceptions.ConnectionClosedByBroker) as caught:
        channel.queue_declare("hello")
    assert caught.value.reply_code == 541
    assert "durable=True" in (explain(caught.value) or "")


def test_a_connection_that_an_administrator_closes(start: Start, kind: str, connect: Connect) -> None:
    rabbit = start()
    connection = connect(rabbit)
    node = node_of(kind)
    vhost = pika.URLParameters(rabbit.url).virtual_host
    node.api("DELETE", f"vhosts/{vhost}")
    with pytest.raises(pika.exceptions.AMQPConnectionError) as caught:
        connection.process_data_events(time_limit=10)
        connection.channel()
    assert "broker.start() again" in (explain(caught.value) or "")


def test_one_connection_in_two_threads() -> None:
    # What pika 1.4 says when it notices, which is luck: two threads took the same bytes to send.
    seen = pika.exceptions.StreamLostError("Stream connection lost: IndexError('pop from an empty deque')")
    assert "Two threads" in (explain(seen) or "")


def test_what_is_not_of_pika_is_not_explained() -> None:
    assert explain(ValueError("x")) is None


def test_the_particular_is_explained_before_the_general() -> None:
    for n, (kind, words, _) in enumerate(MEANINGS):
        for earlier, earlier_words, _ in MEANINGS[:n]:
            assert not (issubclass(kind, earlier) and earlier_words in words), (
                f"{kind.__name__} {words!r} is never reached"
            )


def test_in_a_notebook_the_sentence_stands_in_the_error_itself(start: Start) -> None:
    start()
    cells = [
        "import pika\nfrom mqlab import broker\nrabbit = broker.start()",
        "rabbit = broker.start()",  # once more: the sentence still comes once
        "pika.BlockingConnection(pika.URLParameters(rabbit.url)).channel().basic_consume('nowhere', print)",
        "1 / 0",
        "broker.start('carrier pigeon')",
    ]
    notebook = new_notebook(cells=[new_code_cell(source) for source in cells])
    NotebookClient(notebook, timeout=60, allow_errors=True, kernel_name="python3").execute()
    outputs = [cell.outputs for cell in notebook.cells]
    assert all(len(output) == 1 for output in outputs), "the error and nothing beside it"
    for n in (0, 1):
        assert outputs[n][0].name == "stdout"
        assert re.fullmatch(r"[^\r\n]*RabbitMQ .* \(empty\)\.\n", outputs[n][0].text), "one line, nothing else"
    error, other, ours = (output[0] for output in outputs[2:])
    assert (error.ename, error.evalue[:5]) == ("ChannelClosedByBroker", "(404,")
    assert error.traceback[0].startswith("There is no queue of that name.")
    assert sum("There is no queue" in line for line in error.traceback) == 1
    assert any("basic_consume" in line for line in error.traceback), "the traceback comes after it"
    assert other.ename == "ZeroDivisionError" and not any("RabbitMQ" in line for line in other.traceback)
    assert ours.traceback == [f"BrokerError: {ours.evalue}"], "no traceback at all"
