"""What is there after the broker was stopped, or killed, and started again."""

import time
from collections.abc import Callable, Iterator
from typing import Any

from alone import AloneWorld
from pamqp import commands
from wire import Channel
from world import scenario

Queue, Basic, Exchange = commands.Queue, commands.Basic, commands.Exchange
Story = Callable[[AloneWorld], Iterator[None]]
KINDS = ("classic", "quorum")


def restarted(*ways: str) -> Callable[[Story], Story]:
    """A scenario whose broker restarts at its `yield`: stopped (stop), killed (kill), or each of them once."""

    def collect(play: Story) -> Story:
        for how in ways or ("stop", "kill"):
            scenario(play, suffix=f"-{how}", alone=how, absent="only 4.3 is asked: it restarts in a container")
        return play

    return collect


def kept(w: AloneWorld, queue: str, kind: str, *bodies: str, **properties: Any) -> Channel:
    """A durable queue of this kind with confirmed persistent messages."""
    channel = w.channel()
    channel.queue(queue, queue_type=kind)
    w.fill(queue, *bodies, delivery_mode=2, **properties)
    channel.wait_for(queue, len(bodies))
    return channel


def left(w: AloneWorld, queue: str, messages: int) -> None:
    """Take all that is there; a quorum queue needs a moment until it is itself again."""
    channel = w.channel()
    channel.wait_for(queue, messages)
    channel.drain(queue)


@restarted()
def definitions(w: AloneWorld) -> Iterator[None]:
    channel = w.channel()
    for name, durable, options in (
        ("durable", True, {}),
        ("transient", False, {}),
        ("auto", True, {"auto_delete": True}),
        ("internal", True, {"internal": True}),
        ("alternate", True, {"arguments": {"alternate-exchange": "amq.fanout"}}),
    ):
        channel.silently(Exchange.Declare(exchange=name, exchange_type="topic", durable=durable, **options))
    channel.exchange("by-headers", "headers")
    for queue in ("a", "b", "c"):
        channel.queue(queue)
    channel.declare("mine", durable=False, exclusive=True, quiet=True)
    channel.declare("auto-a", auto_delete=True, quiet=True)
    channel.bind("a", "durable", "user.*")
    channel.bind("b", "transient", "user.*")
    channel.bind("b", "amq.fanout")
    channel.bind("c", "by-headers", "", **{"x-match": "any", "kind": "new", "n": 1})
    channel.silently(Exchange.Bind(destination="by-headers", source="durable", routing_key="#"))
    yield
    for name in ("durable", "transient", "auto", "internal", "alternate", "by-headers"):
        w.channel().ask(Exchange.Declare(exchange=name, passive=True))
    for queue in ("a", "b", "c", "mine", "auto-a"):
        w.channel().count(queue)
    channel = w.channel()
    channel.ask(Exchange.Declare(exchange="internal", exchange_type="topic", durable=True))
    channel = w.channel()
    channel.confirms()
    channel.publish("durable", "user.new", "1", headers={"kind": "new"})
    channel.publish("alternate", "nowhere", "2")
    channel.publish("transient", "user.gone", "3")
    channel.confirmed()
    for queue in ("a", "b", "c"):
        channel.drain(queue)


@restarted()
def arguments_of_queues(w: AloneWorld) -> Iterator[None]:
    channel = w.channel()
    arguments = {"x-max-length": 2, "x-message-ttl": 60_000, "x-dead-letter-exchange": "", "x-max-priority": 3}
    channel.declare("q", quiet=True, arguments=arguments)
    channel.declare("sac", quiet=True, arguments={"x-single-active-consumer": True, "x-queue-type": "quorum"})
    yield
    w.channel().declare("q", arguments=arguments)
    w.channel().declare("q", arguments={**arguments, "x-max-length": 3})
    w.channel().declare("q", arguments={**arguments, "x-message-ttl": "60000"})
    w.channel().get("sac")
    w.fill("q", "a", "b", "c")
    left(w, "q", 2)


@restarted()
def persistent_and_transient_messages(w: AloneWorld) -> Iterator[None]:
    channel = w.channel()
    for kind in KINDS:
        channel.queue(kind, queue_type=kind)
        for number in range(6):
            w.fill(kind, f"m{number}", delivery_mode=1 + number % 2, message_id=str(number), headers={"n": number})
        channel.wait_for(kind, 6)
    yield
    for kind, messages in zip(KINDS, (3, 6), strict=True):
        left(w, kind, messages)


@restarted()
def large_and_empty_messages(w: AloneWorld) -> Iterator[None]:
    for kind in KINDS:
        kept(w, kind, kind, "", "x" * 300_000, "y")
    yield
    for kind in KINDS:
        left(w, kind, 3)


@restarted()
def a_message_in_many_queues(w: AloneWorld) -> Iterator[None]:
    channel = w.channel()
    for queue in ("a", "b", "c"):
        channel.queue(queue)
        channel.bind(queue, "amq.fanout")
    channel.confirms()
    for body in ("1", "2"):
        channel.publish("amq.fanout", "", body, delivery_mode=2)
    channel.confirmed()
    channel.get("b")
    yield
    for queue in ("a", "c"):
        left(w, queue, 2)


@restarted()
def priorities(w: AloneWorld) -> Iterator[None]:
    channel = w.channel()
    channel.queue("classic", max_priority=5)
    channel.queue("quorum", queue_type="quorum")
    for kind in KINDS:
        for number, priority in enumerate((1, 5, 0, 3, 5)):
            w.fill(kind, f"m{number}", delivery_mode=2, priority=priority)
        channel.wait_for(kind, 5)
    yield
    for kind in KINDS:
        left(w, kind, 5)


@restarted()
def unacknowledged_messages(w: AloneWorld) -> Iterator[None]:
    for kind in KINDS:
        channel = kept(w, kind, kind, "a", "b", "c", "d")
        channel.qos(2)
        channel.consume(kind, quiet=True)
        channel.see(2)
    yield
    for kind in KINDS:
        left(w, kind, 4)


@restarted()
def messages_got_and_not_acknowledged(w: AloneWorld) -> Iterator[None]:
    for kind in KINDS:
        channel = kept(w, kind, kind, "a", "b")
        channel.get(kind, no_ack=False)
    yield
    for kind in KINDS:
        left(w, kind, 2)


@restarted()
def messages_that_came_back(w: AloneWorld) -> Iterator[None]:
    for kind in KINDS:
        channel = kept(w, kind, kind, "a", "b", "c", "d")
        for number, back in enumerate((channel.nack, channel.reject, channel.reject)):
            tag = channel.get(kind, no_ack=False)[1]["delivery_tag"]
            back(tag)
            channel.wait_for(kind, 4)
            w.note(number)
    yield
    for kind in KINDS:
        left(w, kind, 4)


@restarted()
def the_delivery_limit(w: AloneWorld) -> Iterator[None]:
    channel = w.channel()
    channel.queue("dead")
    channel.queue("q", queue_type="quorum", delivery_limit=2, dead_letter_exchange="", dead_letter_routing_key="dead")
    w.fill("q", "a", delivery_mode=2)
    for _ in range(2):
        channel.reject(channel.get(no_ack=False)[1]["delivery_tag"])
        channel.wait_for("q", 1)
    yield
    channel = w.channel()
    channel.wait_for("q", 1)
    channel.reject(channel.get(no_ack=False)[1]["delivery_tag"])
    channel.wait_for("dead", 1)
    channel.drain("q")
    channel.drain("dead")


@restarted("stop")
def acknowledged_messages(w: AloneWorld) -> Iterator[None]:
    for kind in KINDS:
        channel = kept(w, kind, kind, "a", "b", "c", "d")
        for _ in range(3):
            channel.get(kind, no_ack=False)
        channel.ack(2, multiple=True)
        channel.alive()
    yield
    for kind in KINDS:
        left(w, kind, 2)


@restarted()
def deleted_and_purged(w: AloneWorld) -> Iterator[None]:
    for kind in KINDS:
        channel = kept(w, f"{kind}-purged", kind, "a", "b")
        channel.ask(Queue.Purge(queue=f"{kind}-purged"))
        w.fill(f"{kind}-purged", "c", delivery_mode=2)
        kept(w, f"{kind}-deleted", kind, "a").ask(Queue.Delete(queue=f"{kind}-deleted"))
        channel.queue(f"{kind}-deleted", queue_type=kind)
    channel.bind("classic-purged", "amq.direct", "k")
    channel.ask(Queue.Unbind(queue="classic-purged", exchange="amq.direct", routing_key="k"))
    channel.exchange("x")
    channel.ask(Exchange.Delete(exchange="x"))
    yield
    for kind in KINDS:
        left(w, f"{kind}-purged", 1)
        left(w, f"{kind}-deleted", 0)
    channel = w.channel()
    channel.publish("amq.direct", "k", "m", mandatory=True)
    channel.see()
    w.channel().ask(Exchange.Declare(exchange="x", passive=True))


@restarted("stop")
def dead_letters(w: AloneWorld) -> Iterator[None]:
    channel = w.channel()
    for kind in KINDS:
        channel.queue(f"{kind}-dead", queue_type=kind)
        channel.queue(kind, queue_type=kind, dead_letter_exchange="", dead_letter_routing_key=f"{kind}-dead")
        w.fill(kind, "a", delivery_mode=2, headers={"own": 1})
        channel.reject(channel.get(kind, no_ack=False)[1]["delivery_tag"], requeue=False)
        channel.wait_for(f"{kind}-dead", 1)
    yield
    for kind in KINDS:
        left(w, f"{kind}-dead", 1)


@restarted("stop")  # what a killed RabbitMQ dead-lettered lately may be lost: nobody waited for it
def expired_while_it_was_down(w: AloneWorld) -> Iterator[None]:
    channel = w.channel()
    for kind in KINDS:
        channel.queue(f"{kind}-dead", queue_type=kind)
        route = {"dead_letter_exchange": "", "dead_letter_routing_key": f"{kind}-dead"}
        channel.queue(kind, queue_type=kind, **route)
        channel.queue(f"{kind}-ttl", queue_type=kind, message_ttl=300, **route)
        w.fill(kind, "a", delivery_mode=2, expiration="300")
        w.fill(kind, "b", delivery_mode=2, expiration="600000")
        w.fill(f"{kind}-ttl", "c", delivery_mode=2)
    yield
    time.sleep(0.3)
    channel = w.channel()
    for kind in KINDS:
        channel.wait_for(f"{kind}-dead", 2)
        channel.drain(kind)
        channel.drain(f"{kind}-ttl")
        heard = [channel.silently(Basic.Get(queue=f"{kind}-dead", no_ack=True)) for _ in range(2)]
        w.note(sorted(heard, key=lambda entry: entry[3]))


@restarted("stop")
def a_transaction_without_commit(w: AloneWorld) -> Iterator[None]:
    channel = kept(w, "q", "classic", "a", "b")
    channel.silently(commands.Tx.Select())
    channel.get(no_ack=False)
    channel.ack(1)
    channel.publish("", "q", "c", delivery_mode=2)
    channel.alive()
    yield
    left(w, "q", 2)


@restarted()
def who_was_connected(w: AloneWorld) -> Iterator[None]:
    wire = w.connect()
    channel = wire.channel()
    channel.queue()
    channel.consume(quiet=True)
    quiet = w.connect(capabilities={})
    yield
    for each in (wire, quiet):
        w.note(*each.hear(0))
        w.note(*each.hear(0))
    w.channel().count()


@restarted()
def returned_in_another_order(w: AloneWorld) -> Iterator[None]:
    for kind in KINDS:
        channel = kept(w, kind, kind, "a", "b", "c", "d")
        tags = [channel.silently(Basic.Get(queue=kind))[1]["delivery_tag"] for _ in range(3)]
        for number, tag in enumerate((tags[2], tags[0], tags[1])):
            channel.nack(tag)
            channel.wait_for(kind, 2 + number)
    yield
    for kind in KINDS:
        left(w, kind, 4)


@restarted("stop")
def rejected_before_and_after(w: AloneWorld) -> Iterator[None]:
    channel = w.channel()
    channel.queue("dead")
    for kind in KINDS:
        channel.queue(kind, queue_type=kind, dead_letter_exchange="", dead_letter_routing_key="dead")
        w.fill(kind, "a", delivery_mode=2)
        channel.reject(channel.get(kind, no_ack=False)[1]["delivery_tag"])
        channel.wait_for(kind, 1)
    yield
    for kind in KINDS:
        channel = w.channel()
        channel.wait_for(kind, 1)
        channel.reject(channel.get(kind, no_ack=False)[1]["delivery_tag"], requeue=False)
        channel.wait_for("dead", 1)
        channel.drain("dead")


@restarted()
def a_transient_message_that_was_delivered(w: AloneWorld) -> Iterator[None]:
    channel = w.channel()
    channel.queue(queue_type="quorum")
    w.fill("q", "a", "b")
    channel.get(no_ack=False)
    yield
    left(w, "q", 2)


@restarted()
def transient_exchanges(w: AloneWorld) -> Iterator[None]:
    """RabbitMQ 4.3 keeps them."""
    channel = w.channel()
    for name, auto in (("t", False), ("auto", True), ("unbound", True)):
        channel.silently(Exchange.Declare(exchange=name, exchange_type="fanout", auto_delete=auto))
    channel.queue("a")
    channel.declare("mine", durable=False, exclusive=True, quiet=True)
    channel.bind("a", "t")
    channel.bind("mine", "auto")
    channel.silently(Exchange.Bind(destination="t", source="amq.topic", routing_key="k"))
    yield
    for name in ("t", "auto", "unbound"):
        w.channel().ask(Exchange.Declare(exchange=name, passive=True))
    channel = w.channel()
    channel.publish("amq.topic", "k", "1", mandatory=True)
    channel.publish("t", "", "2", mandatory=True)
    channel.get("a")
    channel.get("a")
