"""Random programs of clients on two channels: the embedded broker and RabbitMQ give the same answers."""

import os
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

from hypothesis import HealthCheck, event, given, reject, settings
from hypothesis import strategies as st
from pamqp import commands
from wire import Channel, Entry, dashes
from world import Scenario, World, run

from mqlab.broker.node import Node

Queue, Basic, Exchange = commands.Queue, commands.Basic, commands.Exchange
EXAMPLES = int(os.environ.get("MQLAB_PROGRAMS", "25"))
QUIET = 0.012  # seconds in which nothing comes and no count changes: the broker has done what was asked
LIMIT = 5.0  # seconds until it must be quiet
played: Counter[str] = Counter()  # programs, by what came of them
CLOSED = ("Channel.Close", "Connection.Close", "end", "silence")

which = st.integers(0, 1)
queues = st.sampled_from(["a", "b"])
sources = st.sampled_from(["amq.topic", "x"])
keys = st.sampled_from(["a", "b", "a.b", "#", "a.*"])
flags = st.booleans()
# Times are 0, as what a longer one does depends on chance.
dead = {"dead_letter_exchange": "", "dead_letter_routing_key": "b"}
KINDS = [
    {},
    {"max_length": 2},
    {"max_length": 2, "overflow": "reject-publish"},
    {"max_length_bytes": 5},
    {"message_ttl": 0},
    {"max_priority": 3},
    {"single_active_consumer": True},
    {"auto_delete": True},
    {"exclusive": True},
]
# 3.10 answers otherwise where these are: see the scenarios on dead letters and quorum queues.
NEW_KINDS = [
    dead,
    {"max_length": 1} | dead,
    {"message_ttl": 0} | dead,
    {"queue_type": "quorum"},
    {"queue_type": "quorum", "delivery_limit": 1} | dead,
    {"queue_type": "quorum", "max_length": 2},
    {"queue_type": "quorum", "single_active_consumer": True},
]
messages = st.sampled_from(
    [
        {},
        {},
        {},
        {"priority": 1},
        {"priority": 9},
        {"expiration": "0"},
        {"headers": {"CC": ["b"]}},
        {"headers": {"BCC": ["a", "b"]}},
        {"headers": {"k": 1}},
    ]
)
roles = st.sampled_from([{}, {}, {}, {"exclusive": True}, {"arguments": {"x-priority": 1}}])


def programs(version: str) -> st.SearchStrategy[list[tuple[Any, ...]]]:
    """Programs that all the RabbitMQs of this version answer alike."""
    old = version.startswith("3.")
    kinds = st.sampled_from(KINDS if old else KINDS + NEW_KINDS)
    limit = [] if old else [st.tuples(st.just("limit"), which, st.sampled_from([0, 1, 2]))]
    names = st.sampled_from(["c", "d"])
    steps = st.one_of(
        st.tuples(st.just("declare"), which, queues, kinds),
        st.tuples(st.just("delete"), which, queues, flags, flags),
        st.tuples(st.just("purge"), which, queues),
        st.tuples(st.just("exchange"), which, st.sampled_from(["fanout", "direct", "topic", "headers"]), flags),
        st.tuples(st.just("no_exchange"), which, flags),
        st.tuples(st.just("bind"), which, queues, sources, keys),
        st.tuples(st.just("unbind"), which, queues, sources, keys),
        st.tuples(st.just("join"), which, keys),
        *[st.tuples(st.just("publish"), which, st.sampled_from(["", "", "amq.topic", "x"]), keys, flags, messages)] * 3,
        st.tuples(st.just("get"), which, queues, flags),
        st.tuples(st.just("consume"), which, queues, names, flags, st.sampled_from([0, 1, 2]), roles),
        st.tuples(st.just("cancel"), which, names),
        *[st.tuples(st.just("ack"), which, st.integers(0, 5), flags)] * 2,
        *[st.tuples(st.just("nack"), which, st.integers(0, 5), flags, flags)] * 2,
        st.tuples(st.just("reject"), which, st.integers(0, 5), flags),
        st.tuples(st.just("recover"), which),
        *limit,
        st.tuples(st.just("confirm"), which),
        st.tuples(st.just("tx"), which, st.sampled_from(["Select", "Commit", "Rollback"])),
        st.tuples(st.just("close"), which),
        st.tuples(st.just("stranger"), which, queues),
    )
    # Without queues there is little to see: most programs begin with both.
    return st.tuples(kinds, kinds, st.lists(steps, max_size=40)).map(
        lambda drawn: [("declare", 0, "a", drawn[0]), ("declare", 1, "b", drawn[1]), *drawn[2]]
    )


class Player:
    """Plays a program. After each step it waits until the broker has done it, and notes all that came.

    RabbitMQ's queues work side by side with its channels, so it is asked until it is quiet: no word of its own and the
    same counts twice. What the other broker said is not known here.
    """

    def __init__(self, world: World) -> None:
        self.world = world
        self.wire = world.connect()
        self.channels = [self.wire.channel(), self.wire.channel()]
        self.open: list[list[int]] = [[], []]  # delivery tags to be acknowledged, by channel
        self.free: list[set[str]] = [set(), set()]  # tags of consumers that need no acknowledgement
        self.confirming = [0, 0]
        self.sent = [0, 0]  # messages since confirms were asked for
        self.waiting: list[set[int]] = [set(), set()]  # of them, those without a confirm
        self.confirmed: list[dict[int, str]] = [{}, {}]
        self.queues: set[str] = set()
        self.published = 0

    def play(self, program: list[tuple[Any, ...]]) -> None:
        for name, which, *rest in program:
            self.world.note(name, which, *rest)
            heard = getattr(self, name)(which, self.channels[which], *rest)
            if heard is not None and heard[0] in CLOSED and not self.reopen(which, heard):
                return
            if not self.settle(which):
                return

    def reopen(self, which: int, heard: Entry) -> bool:
        """After a mistake: take the channel again; False when the whole connection is closed."""
        if heard[0] != "Channel.Close":
            return False
        self.collect(which)
        self.forget(which)
        return self.channels[which].silently(commands.Channel.Open())[0] == "Channel.OpenOk"

    def settle(self, which: int) -> bool:
        """Note, once it is quiet, what waits in each queue, and what has come; False when the connection is closed."""
        before, until = None, time.monotonic() + LIMIT
        while True:
            counts = []
            for queue in sorted(self.queues):
                self.channels[which].tell(Queue.Declare(queue=queue, passive=True))
                counts.append(self.wire.hear(which + 1))
                if counts[-1][0] in CLOSED:
                    self.world.note(*counts[-1])
                    return self.reopen(which, counts[-1])
            came = self.wire.pump(time.monotonic() + QUIET)
            if counts == before and not came:
                break
            assert time.monotonic() < until, "it is never quiet"
            before = None if came else counts
        self.world.note("counts", counts)
        for each, channel in enumerate(self.channels):
            heard = channel.ask(Basic.Qos(prefetch_count=0))
            if heard[0] in CLOSED and not self.reopen(each, heard):
                return False
            self.collect(each)
        return True

    def collect(self, which: int) -> None:
        """Note what came on a channel; confirms by themselves, as their place among the rest is left to chance."""
        inbox = self.wire.inbox[self.channels[which].number]
        for entry in inbox:
            if entry[0] in ("Basic.Ack", "Basic.Nack"):
                tag = entry[1]["delivery_tag"]
                first = min(self.waiting[which], default=tag) if entry[1]["multiple"] else tag
                for each in self.waiting[which] & set(range(first, tag + 1)):
                    self.confirmed[which][each] = entry[0]
                self.waiting[which] -= set(range(first, tag + 1))
                continue
            self.world.note(which, *entry)
            if entry[0] == "Basic.Deliver" and entry[1]["consumer_tag"] not in self.free[which]:
                self.open[which].append(entry[1]["delivery_tag"])
        self.world.note(which, "confirms", sorted(self.confirmed[which].items()))
        self.confirmed[which].clear()
        inbox.clear()

    def forget(self, which: int) -> None:
        """A channel has gone, and with it all that was open on it."""
        for each in (self.open, self.free, self.waiting, self.confirmed):
            each[which].clear()
        self.confirming[which] = self.sent[which] = 0

    # The steps.

    def declare(self, which: int, channel: Channel, queue: str, arguments: dict[str, Any]) -> Entry:
        options = {name: True for name in ("auto_delete", "exclusive") if name in arguments}
        rest = {name: value for name, value in arguments.items() if name not in options}
        heard = channel.declare(queue, "exclusive" not in options, arguments=dashes(rest), **options)
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

    def exchange(self, which: int, channel: Channel, kind: str, alternate: bool) -> Entry:
        arguments = {"alternate-exchange": "amq.topic"} if alternate else {}
        return channel.ask(Exchange.Declare(exchange="x", exchange_type=kind, durable=True, arguments=arguments))

    def no_exchange(self, which: int, channel: Channel, if_unused: bool) -> Entry:
        return channel.ask(Exchange.Delete(exchange="x", if_unused=if_unused))

    def bind(self, which: int, channel: Channel, queue: str, source: str, key: str) -> Entry:
        return channel.ask(Queue.Bind(queue=queue, exchange=source, routing_key=key))

    def unbind(self, which: int, channel: Channel, queue: str, source: str, key: str) -> Entry:
        return channel.ask(Queue.Unbind(queue=queue, exchange=source, routing_key=key))

    def join(self, which: int, channel: Channel, key: str) -> Entry:
        return channel.ask(Exchange.Bind(destination="x", source="amq.topic", routing_key=key))

    def publish(
        self, which: int, channel: Channel, exchange: str, key: str, mandatory: bool, message: dict[str, Any]
    ) -> None:
        self.published += 1
        if self.confirming[which]:
            self.sent[which] += 1
            self.waiting[which].add(self.sent[which])
        channel.publish(exchange, key, f"m{self.published}", mandatory=mandatory, **message)

    def get(self, which: int, channel: Channel, queue: str, no_ack: bool) -> Entry:
        heard = channel.get(queue, no_ack)
        if heard[0] == "Basic.GetOk" and not no_ack:
            self.open[which].append(heard[1]["delivery_tag"])
        return heard

    def consume(
        self, which: int, channel: Channel, queue: str, tag: str, no_ack: bool, prefetch: int, role: dict[str, Any]
    ) -> Entry:
        channel.qos(prefetch)
        heard = channel.consume(queue, tag, no_ack=no_ack, **role)
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

    def reject(self, which: int, channel: Channel, number: int, requeue: bool) -> None:
        self.settled(which, number, False, lambda tag: channel.reject(tag, requeue))

    def limit(self, which: int, channel: Channel, count: int) -> Entry:
        return channel.ask(Basic.Qos(prefetch_count=count, global_=True))

    def confirm(self, which: int, channel: Channel) -> Entry:
        heard = channel.ask(commands.Confirm.Select())
        self.confirming[which] |= heard[0] == "Confirm.SelectOk"
        return heard

    def tx(self, which: int, channel: Channel, method: str) -> Entry:
        return channel.ask(getattr(commands.Tx, method)())

    def recover(self, which: int, channel: Channel) -> Entry:
        self.open[which].clear()
        return channel.ask(Basic.Recover(requeue=True))

    def stranger(self, which: int, channel: Channel, queue: str) -> None:
        """Another connection takes a message, and ends without having acknowledged it."""
        wire = self.world.connect()
        wire.channel().get(queue, no_ack=False)
        wire.ask(commands.Connection.Close(200, "bye", 0, 0))

    def close(self, which: int, channel: Channel) -> Entry:
        channel.close()
        self.collect(which)
        self.forget(which)
        return channel.ask(commands.Channel.Open())


@settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize="MQLAB_REQUIRE" in os.environ,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
@given(data=st.data())
def test_a_random_program(small_node: Node, real_node: Node, data: st.DataObject) -> None:
    program = data.draw(programs(real_node.asked_version()), "program")
    scenario = Scenario("program", lambda world: Player(world).play(program))
    small, real = run(scenario, small_node), run(scenario, real_node)
    if small == real:
        outcome = "the same"
    elif all(run(scenario, real_node) == real for _ in range(2)):
        outcome = "another answer"
    else:
        outcome = "left to chance: RabbitMQ differs from itself"
    played[outcome] += 1
    event(outcome)
    if outcome.startswith("left"):
        reject()
    assert small == real
