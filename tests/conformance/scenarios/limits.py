"""The limits of a broker, as `alone.LIMITS` has them: connections, channels, queues, size of messages."""

from collections.abc import Callable
from typing import Any

from alone import LIMITS, AloneWorld
from pamqp import commands, header
from wire import BODY
from world import scenario

Queue, Basic, Channel = commands.Queue, commands.Basic, commands.Channel
limited: Callable[..., Any] = scenario(alone="limits", absent="only 4.3 is asked: in a container with these limits")


@limited
def channels(w: AloneWorld) -> None:
    wire = w.connect()
    for number in range(1, LIMITS["channel_max"] + 1):
        wire.tell(Channel.Open(), number)
        w.note(wire.hear(number)[0])
    wire.ask(Channel.Close(200, "bye", 0, 0), 3)
    wire.tell(Channel.Open(), 3)
    w.note(wire.hear(3)[0])
    wire.tell(Channel.Open(), LIMITS["channel_max"] + 1)
    wire.reply()


@limited
def channels_of_a_client_that_wants_fewer(w: AloneWorld) -> None:
    wire = w.connect(channel_max=2)
    wire.channel()
    wire.channel()
    wire.tell(Channel.Open(), 3)
    wire.reply()


@limited
def a_channel_number_over_the_limit(w: AloneWorld) -> None:
    wire = w.connect()
    wire.tell(Channel.Open(), 500)
    wire.reply(500)


@limited
def connections(w: AloneWorld) -> None:
    wires = []
    while len(wires) <= LIMITS["connection_max"]:
        wires.append(w.dial())
        heard = wires[-1].log_in(w.node, w.vhost)
        if heard[0] != "Connection.OpenOk":
            break
    w.note(*heard)
    w.note(len(wires))
    for wire in wires:
        wire.close()


@limited
def queues(w: AloneWorld) -> None:
    channel = w.channel()
    for number in range(LIMITS["cluster_queue_limit"]):
        heard = channel.silently(Queue.Declare(queue=f"q{number}", durable=True))
        assert heard[0] == "Queue.DeclareOk"
    channel.declare("q0")  # it is there
    w.channel().declare("one-more")
    w.channel().declare("", durable=False, exclusive=True)
    w.channel().declare("one-more", arguments={"x-queue-type": "quorum"})
    w.channel().ask(Queue.Delete(queue="q0"))
    w.channel().declare("one-more")


@limited
def the_size_of_a_message(w: AloneWorld) -> None:
    size = LIMITS["max_message_size"]
    channel = w.channel()
    channel.queue()
    channel.confirms()
    channel.publish("", "q", b"x" * size)
    channel.confirmed()
    for more in (1, 200_000):
        channel = w.channel()
        channel.publish("", "q", b"x" * (size + more))
        channel.wire.reply(channel.number)
        channel.wire.channel()  # the connection is still there
    w.channel().count()


@limited
def a_large_message_is_not_refused_before_it_has_come(w: AloneWorld) -> None:
    channel = w.channel()
    channel.queue()
    channel.tell(Basic.Publish(exchange="", routing_key="q"))
    channel.tell(header.ContentHeader(0, 50_000_000, Basic.Properties()))
    channel.nothing(0.3)
    channel.wire.raw(BODY, channel.number, b"x" * 1000)
    channel.wire.channel().count()
