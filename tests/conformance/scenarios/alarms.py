"""A broker short of memory: who is told, who has to wait, who goes on."""

from collections.abc import Callable
from typing import Any

from alone import AloneWorld
from pamqp import commands, header
from wire import BODY, CAPABILITIES, Channel
from world import scenario

Basic = commands.Basic
TELL_ME = {"capabilities": {**CAPABILITIES, "connection.blocked": True}}
alarming: Callable[..., Any] = scenario(alone="alarms", absent="only 4.3 is asked: in a container")


def told(channel: Channel, limit: float = 8.0) -> None:
    """Note what the connection is told next."""
    channel.wire.note(*channel.wire.hear(0, lambda entry: True, limit))


@alarming
def a_publisher_is_told_and_waits(w: AloneWorld) -> None:
    channel = w.connect(**TELL_ME).channel()
    channel.queue()
    channel.confirms()
    w.place.alarm(True)
    told(channel, 0.2)  # nothing, as long as it does not publish
    channel.publish("", "q", "a")
    told(channel)
    channel.publish("", "q", "b")
    channel.tell(Basic.Qos(prefetch_count=0))
    channel.nothing(0.3)  # nothing more is read from it
    w.channel().count()
    w.place.alarm(False)
    told(channel)
    channel.confirmed()
    w.note(*channel.wire.hear(1))
    channel.wait_for("q", 2)


@alarming
def who_does_not_want_to_be_told_waits_too(w: AloneWorld) -> None:
    channel = w.connect(capabilities={}).channel()
    channel.queue()
    w.place.alarm(True)
    channel.publish("", "q", "a")
    channel.tell(Basic.Qos(prefetch_count=0))
    channel.nothing(0.3)
    w.place.alarm(False)
    w.note(*channel.wire.hear(1))
    told(channel, 0.2)


@alarming
def consumers_go_on(w: AloneWorld) -> None:
    channel = w.connect(**TELL_ME).channel()
    channel.queue()
    w.fill("q", "a", "b", "c")
    w.place.alarm(True)
    channel.qos(1)
    channel.consume()
    channel.see()
    channel.ack(1)
    channel.see()
    channel.ack(2)
    channel.see()
    told(channel, 0.1)
    w.place.alarm(False)
    told(channel, 0.2)


@alarming
def a_connection_made_meanwhile(w: AloneWorld) -> None:
    w.channel().queue()
    w.place.alarm(True)
    wire = w.connect(**TELL_ME)
    channel = wire.channel()
    channel.declare("another")
    told(channel, 0.2)
    channel.publish("", "q", "a")
    told(channel)
    w.place.alarm(False)
    told(channel)
    channel.wait_for("q", 1)


@alarming
def a_publisher_that_consumes_too(w: AloneWorld) -> None:
    channel = w.connect(**TELL_ME).channel()
    channel.queue()
    channel.consume(quiet=True, no_ack=True)
    w.place.alarm(True)
    channel.publish("", "q", "a")
    told(channel)
    other = w.channel()  # of those who wait, too, deliveries come
    other.count()
    w.place.alarm(False)
    told(channel)
    channel.see()


@alarming
def who_published_before(w: AloneWorld) -> None:
    """Only who publishes while it is short of memory is told."""
    channel = w.connect(**TELL_ME).channel()
    channel.queue()
    channel.confirms()
    channel.publish("", "q", "a")
    channel.confirmed()
    w.place.alarm(True)
    told(channel, 0.3)
    channel.count()
    w.place.alarm(False)
    told(channel, 0.3)


@alarming
def in_the_middle_of_a_message(w: AloneWorld) -> None:
    channel = w.connect(**TELL_ME).channel()
    channel.queue()
    w.place.alarm(True)
    channel.tell(Basic.Publish(exchange="", routing_key="q"))
    told(channel, 0.3)
    channel.tell(header.ContentHeader(0, 1, Basic.Properties()))
    told(channel)
    channel.wire.raw(BODY, 1, b"x")
    w.channel().count()
    w.place.alarm(False)
    told(channel)
    channel.wait_for("q", 1)


@alarming
def an_empty_message(w: AloneWorld) -> None:
    """It has no body that could wait."""
    channel = w.connect(**TELL_ME).channel()
    channel.queue()
    w.place.alarm(True)
    channel.publish("", "q", "")
    told(channel)
    w.channel().wait_for("q", 1)
    channel.publish("", "q", "")
    w.place.alarm(False)
    told(channel)
    channel.wait_for("q", 2)


@alarming
def a_blocked_connection_is_closed(w: AloneWorld) -> None:
    wire = w.connect(**TELL_ME)
    channel = wire.channel()
    channel.queue()
    w.place.alarm(True)
    channel.publish("", "q", "a")
    told(channel)
    wire.tell(commands.Connection.Close(200, "bye", 0, 0))
    told(channel, 0.3)
    w.place.alarm(False)
    told(channel)
    told(channel)


@alarming
def a_heartbeat_while_blocked(w: AloneWorld) -> None:
    wire = w.connect(heartbeat=1, **TELL_ME)
    channel = wire.channel()
    channel.queue()
    w.place.alarm(True)
    channel.publish("", "q", "a")
    told(channel)
    before = wire.pulses
    told(channel, 3)  # silent for more than two heartbeats, it is not taken for dead
    w.note(wire.pulses > before)
    w.place.alarm(False)
    told(channel)
