"""Harm that is real: a broker that is stopped and starts again, as the tap and the client see it."""

from typing import Any

import pika
import pytest

from mqlab import broker


def test_a_broker_that_is_stopped_keeps_what_is_on_disk(rabbit: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MQLAB_SPACE", "tap-faults")
    tap = broker.start(rabbit.kind).watch()
    if not tap.can_stop_broker:
        pytest.skip("this broker is not ours")
    try:
        connection = pika.BlockingConnection(pika.URLParameters(tap.url_as("Campus")))
        channel = connection.channel()
        channel.queue_declare("kept", durable=True)
        channel.confirm_delivery()
        channel.basic_publish("", "kept", b"Ana", pika.BasicProperties(delivery_mode=2))
        channel.basic_publish("", "kept", b"Ben")
        assert tap.settle().state().ready == 2

        tap.stop_broker()
        with pytest.raises(pika.exceptions.AMQPError):
            for _ in range(100):
                connection.process_data_events(0.1)
        with pytest.raises((pika.exceptions.AMQPError, OSError)):
            pika.BlockingConnection(pika.URLParameters(tap.url))
        state = tap.settle().state()
        assert state.trouble == "The broker was stopped"
        assert not state.connections["Campus"].open
        assert state.connections["Campus"].why

        tap.start_broker()
        state = tap.settle().state()
        assert state.trouble == "The broker is there again"
        assert [state.messages[id].label for id in state.queues["kept"].ready] == ["Ana"], "Ben was transient"
        with pika.BlockingConnection(pika.URLParameters(tap.url_as("Olu"))) as again:
            channel = again.channel()
            assert [channel.basic_get("kept", auto_ack=True)[2] for _ in range(2)] == [b"Ana", None]
        state = tap.settle().state()
        assert (state.ended["acked"], state.ended["dropped"], state.ready) == (1, 1, 0)
        assert tap.problems == []
    finally:
        tap.close()


def test_what_cannot_be_done_is_said(rabbit: Any) -> None:
    tap = rabbit.watch(kind="address") if False else None
    with pytest.raises(broker.BrokerError, match="amqp:// address, not amqps"):
        from mqlab.tap import Tap

        Tap("amqps://guest:guest@localhost/", None)
    assert tap is None
