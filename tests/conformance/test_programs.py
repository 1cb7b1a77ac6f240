"""Random programs of clients on two channels: the embedded broker and RabbitMQ give the same answers."""

import os
import time
from collections.abc import Callable
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pamqp import commands
from wire import Channel, Entry
from world import Scenario, World, run

from mqlab.broker.node import Node

Queue, Basic, Exchange = commands.Queue, commands.Basic, commands.Exchange
EXAMPLES = int(os.environ.get("MQLAB_PROGRAMS", "25"))
PATIENCE = 1.0  # seconds
CLOSED = ("Channel.Close", "Connection.Close", "end", "silence")

which = st.integers(0, 1)
queues = st.sampled_from(["a", "b"])
sources = st.sampled_from(["amq.topic", "x"])
keys = st.sampled_from(["a", "b", "a.b", "#", "a.*"])
flags = st.booleans()
lengths = st.sampled_from([None, None, 2])
steps = st.one_of(
    st.tuples(st.just("declare"), which, queues, lengths),
    st.tuples(st.just("delete"), which, queues, flags, flags),
    st.tuples(st.just("purge"), which, queues),
    st.tuples(st.just("exchange"), which, st.sampled_from(["fanout", "direct", "topic"])),
    st.tuples(st.just("no_exchange"), which, flags),
    st.tuples(st.just("bind"), which, queues, sources, keys),
    st.tuples(st.just("unbind"), which, queues, sources, keys),
    st.tuples(st.just("join"), which, keys),
    *[st.tuples(st.just("publish"), which, st.sampled_from(["", "", "amq.topic", "x"]), keys, flags)] * 3,
    st.tuples(st.just("get"), which, queues, flags),
    st.tuples(st.just("consume"), which, queues, st.sampled_from(["c", "d"]), flags, st.sampled_from([0, 1, 2])),
    st.tuples(st.just("cancel"), which, st.sampled_from(["c", "d"])),
    *[st.tuples(st.just("ack"), which, st.integers(0, 5), flags)] * 2,
    *[st.tuples(st.just("nack"), which, st.integers(0, 5), flags, flags)] * 2,
    st.tuples(st.just("recover"), which),
    st.tuples(st.just("close"), which),
)
# Without queues there is little to see: most programs begin with both.
begin = [("declare", 0, "a", None), ("declare", 1, "b", None)]
programs = st.lists(steps, max_size=40).map(lambda program: begin + program)


class Player:
    """Plays a program. After each step it waits until the broker has done it, and notes all that came.

    RabbitMQ's queues work side by side with its channels, so it is asked again, for a while, until it says what the
    other broker said at this place of its transcript.
    """

    def __init__(self, world: World, other: list[Entry] | None) -> None:
        self.world = world
        self.other = other
        self.wire = world.connect()
        self.channels = [self.wire.channel(), self.wire.channel()]
        self.open: list[list[int]] = [[], []]  # delivery tags to be acknowledged, by channel
        self.free: list[set[str]] = [set(), set()]  # tags of consumers that need no acknowledgement
        self.queues: set[str] = set()
        self.published = 0

    def play(self, program: list[tuple[Any, ...]]) -> None:
        for name, which, *rest in program:
            self.world.note(name, which, *rest)
            heard = getattr(self, name)(which, self.channels[which], *rest)
            if heard is not None and heard[0] in CLOSED and not self.reopen(which, heard):
                return
            for each in (which, 1 - which):
                if not self.settle(each):
                    return

    def reopen(self, which: int, heard: Entry) -> bool:
        """After a mistake: take the channel again; False when the whole connection is closed."""
        if heard[0] != "Channel.Close":
            return False
        self.collect(which)
        self.open[which].clear()
        self.free[which].clear()
        return self.channels[which].silently(commands.Channel.Open())[0] == "Channel.OpenOk"

    def settle(self, which: int) -> bool:
        """Note what waits in each queue, and what has come; False when the connection is closed."""
        channel = self.channels[which]
        for queue in sorted(self.queues):
            until = time.monotonic() + PATIENCE
            while True:
                channel.tell(Queue.Declare(queue=queue, passive=True))
                heard = self.wire.hear(channel.number)
                if heard[0] in CLOSED or self.expected() in (None, heard) or time.monotonic() > until:
                    break
            self.world.note(*heard)
            if heard[0] in CLOSED and not self.reopen(which, heard):
                return False
        heard = channel.ask(Basic.Qos(prefetch_count=0))
        if heard[0] in CLOSED and not self.reopen(which, heard):
            return False
        self.collect(which)
        return True

    def expected(self, ahead: int = 0) -> Entry | None:
        """What the other broker's transcript holds at this place."""
        at = len(self.world.log) + ahead
        return self.other[at] if self.other and at < len(self.other) else None

    def collect(self, which: int) -> None:
        inbox = self.wire.inbox[self.channels[which].number]
        until = time.monotonic() + PATIENCE
        while (self.expected(len(inbox)) or [None])[0] == which and self.wire.pump(until):
            pass
        for entry in inbox:
            self.world.note(which, *entry)
            if entry[0] == "Basic.Deliver" and entry[1]["consumer_tag"] not in self.free[which]:
                self.open[which].append(entry[1]["delivery_tag"])
        inbox.clear()

    # The steps.

    def declare(self, which: int, channel: Channel, queue: str, length: int | None) -> Entry:
        heard = channel.declare(queue, arguments={"x-max-length": length} if length else {})
        if heard[0] == "Queue.DeclareOk":
            self.queues.add(queue)
        return heard

    def delete(self, which: int, channel: Channel, queue: str, if_unused: bool, if_empty: bool) -> Entry:
        heard = channel.ask(Queue.Delete(queue=queue, if_unused=if_unused, if_empty=if_empty))
        if heard[0] == "Queue.DeleteOk":
            self.queues.discard(queue)
        return heard

    def purge(self, which: int, channel: Channel, queue: str) -> Entry:
        return channel.ask(Queue.Purge(queue=queue))

    def exchange(self, which: int, channel: Channel, kind: str) -> Entry:
        return channel.ask(Exchange.Declare(exchange="x", exchange_type=kind, durable=True))

    def no_exchange(self, which: int, channel: Channel, if_unused: bool) -> Entry:
        return channel.ask(Exchange.Delete(exchange="x", if_unused=if_unused))

    def bind(self, which: int, channel: Channel, queue: str, source: str, key: str) -> Entry:
        return channel.ask(Queue.Bind(queue=queue, exchange=source, routing_key=key))

    def unbind(self, which: int, channel: Channel, queue: str, source: str, key: str) -> Entry:
        return channel.ask(Queue.Unbind(queue=queue, exchange=source, routing_key=key))

    def join(self, which: int, channel: Channel, key: str) -> Entry:
        return channel.ask(Exchange.Bind(destination="x", source="amq.topic", routing_key=key))

    def publish(self, which: int, channel: Channel, exchange: str, key: str, mandatory: bool) -> None:
        self.published += 1
        channel.publish(exchange, key, f"m{self.published}", mandatory=mandatory)

    def get(self, which: int, channel: Channel, queue: str, no_ack: bool) -> Entry:
        heard = channel.get(queue, no_ack)
        if heard[0] == "Basic.GetOk" and not no_ack:
            self.open[which].append(heard[1]["delivery_tag"])
        return heard

    def consume(self, which: int, channel: Channel, queue: str, tag: str, no_ack: bool, prefetch: int) -> Entry:
        channel.qos(prefetch)
        heard = channel.consume(queue, tag, no_ack=no_ack)
        if heard[0] == "Basic.ConsumeOk":
            (self.free[which].add if no_ack else self.free[which].discard)(tag)
        return heard

    def cancel(self, which: int, channel: Channel, tag: str) -> Entry:
        return channel.cancel(tag)

    def settled(self, which: int, number: int, multiple: bool, say: Callable[[int], None]) -> None:
        """Settle one of the open deliveries (with `multiple`, all up to it too), or a tag that was never given."""
        tags = sorted(self.open[which])
        if number == 5:
            tag = 99
        elif tags:
            tag = tags[number % len(tags)]
        else:
            return
        self.open[which] = [each for each in tags if each != tag and not (multiple and each < tag)]
        say(tag)

    def ack(self, which: int, channel: Channel, number: int, multiple: bool) -> None:
        self.settled(which, number, multiple, lambda tag: channel.ack(tag, multiple))

    def nack(self, which: int, channel: Channel, number: int, multiple: bool, requeue: bool) -> None:
        self.settled(which, number, multiple, lambda tag: channel.nack(tag, multiple, requeue))

    def recover(self, which: int, channel: Channel) -> Entry:
        self.open[which].clear()
        return channel.ask(Basic.Recover(requeue=True))

    def close(self, which: int, channel: Channel) -> Entry:
        self.open[which].clear()
        self.free[which].clear()
        channel.close()
        return channel.ask(commands.Channel.Open())


@settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize="MQLAB_REQUIRE" in os.environ,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
@given(program=programs)
def test_a_random_program(small_node: Node, real_node: Node, program: list[tuple[Any, ...]]) -> None:
    small = run(Scenario("program", lambda world: Player(world, None).play(program), ""), small_node)
    real = run(Scenario("program", lambda world: Player(world, small).play(program), ""), real_node)
    assert small == real
