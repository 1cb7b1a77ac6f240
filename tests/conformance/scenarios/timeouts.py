"""Deliveries that are not acknowledged in time: RabbitMQ 4.3 takes them back where the queue is a quorum queue."""

from functools import partial

from pamqp import commands
from wire import Channel
from world import OTHER_COUNTS, World
from world import scenario as any_scenario

Basic = commands.Basic
scenario = partial(any_scenario, chance="the machine may pause for longer than such a time")
LATER = "3.10 has one time for all consumers, 30 minutes"


def slow(w: World, timeout: int = 300, **options: object) -> Channel:
    """A channel, a quorum queue of which deliveries have to be acknowledged within so many milliseconds."""
    channel = w.connect(**options).channel()
    channel.queue(queue_type="quorum", consumer_timeout=timeout)
    return channel


@scenario(differs=LATER)
def a_delivery_comes_back(w: World) -> None:
    channel = slow(w)
    w.fill("q", "a", "b", "c")
    channel.consume(quiet=True)
    channel.see(4)  # the last is the cancel
    channel.count()
    other = w.channel()
    other.drain()


@scenario(absent=LATER)
def by_the_consumer(w: World) -> None:
    channel = w.channel()
    channel.queue(queue_type="quorum", consumer_timeout=60_000)
    w.fill("q", "a")
    channel.consume(quiet=True, arguments={"x-consumer-timeout": 300})
    channel.see(2)
    w.channel().drain()


@scenario(absent=LATER)
def a_client_that_cannot_be_told(w: World) -> None:
    channel = slow(w, capabilities={"basic.nack": True})
    w.fill("q", "a", "b")
    channel.consume(quiet=True)
    channel.see(3)  # the last is the channel's close
    w.channel().drain()


@scenario(absent=LATER)
def what_was_asked_for(w: World) -> None:
    channel = slow(w)
    w.fill("q", "a")
    channel.get(no_ack=False)
    channel.see()
    w.channel().drain()


@scenario(absent=LATER)
def what_a_cancelled_consumer_holds(w: World) -> None:
    channel = slow(w)
    w.fill("q", "a")
    channel.consume(quiet=True)
    channel.see()
    channel.cancel()
    channel.see()
    w.channel().drain()


@scenario(absent=LATER)
def only_the_late_ones(w: World) -> None:
    channel = slow(w, 500)
    channel.qos(2)
    w.fill("q", "a")
    channel.consume(quiet=True)
    channel.see()
    channel.nothing(0.3)
    w.fill("q", "b")
    channel.see(2)
    channel.ack(2)
    channel.alive()
    channel.count()
    channel.get()


@scenario(absent=LATER)
def acknowledged_too_late(w: World) -> None:
    channel = slow(w)
    w.fill("q", "a", "b")
    channel.consume(quiet=True)
    channel.see(3)
    channel.ack(1)
    channel.alive()
    channel.nothing(0.2)  # not before the last of them is settled
    channel.ack(2)
    channel.see(3)  # then it gets them again, and is late again
    channel.ack(4, multiple=True)
    channel.see(3)
    channel.ack(6, multiple=True)


@scenario(absent=LATER)
def given_back_too_late(w: World) -> None:
    channel = slow(w)
    w.fill("q", "a", "b")
    channel.consume(quiet=True)
    channel.see(3)
    channel.nack(1, requeue=True)
    channel.reject(2, requeue=True)
    channel.alive()
    channel.nothing(0.2)  # to give back does not count as settled here
    channel.count()
    channel.get(no_ack=False)
    channel.ack(3)
    channel.alive()
    channel.nothing(0.2)


@scenario(absent=LATER)
def given_back_and_acknowledged_too_late(w: World) -> None:
    channel = slow(w)
    w.fill("q", "a", "b")
    channel.consume(quiet=True)
    channel.see(3)
    channel.nack(1, requeue=True)
    channel.alive()
    channel.ack(2)
    channel.see(2)
    channel.ack(4, multiple=True)
    channel.alive()


@scenario(absent=LATER)
def acknowledged_and_given_back_too_late(w: World) -> None:
    channel = slow(w)
    w.fill("q", "a", "b")
    channel.consume(quiet=True)
    channel.see(3)
    channel.ack(1)
    channel.nack(2, requeue=True)
    channel.alive()
    channel.nothing(0.2)


@scenario(absent=LATER)
def a_higher_consumer_that_is_late(w: World) -> None:
    channel = slow(w, 500)
    channel.consume(quiet=True, arguments={"x-priority": 5})
    w.fill("q", "a")
    channel.see()
    other = w.channel()
    other.consume(quiet=True, tag="d")
    channel.see()
    other.see()
    other.ack(1)
    channel.ack(1)
    channel.alive()
    w.fill("q", "b")
    channel.see()
    channel.ack(2)


@scenario(absent=LATER)
def rejected_too_late(w: World) -> None:
    channel = slow(w)
    w.fill("q", "a", "b")
    channel.consume(quiet=True)
    channel.see(3)
    channel.reject(1, requeue=False)
    channel.nack(2, requeue=True)
    channel.alive()
    channel.nothing(0.3)  # nor does to reject
    channel.count()


@scenario(absent=LATER)
def the_client_agrees(w: World) -> None:
    channel = slow(w)
    w.fill("q", "a")
    channel.consume(quiet=True)
    channel.see(2)
    channel.tell(Basic.CancelOk("c"))
    channel.alive()
    channel.count()
    channel.ack(1)
    channel.alive()
    channel.consume()
    channel.see()


@scenario(absent=LATER)
def the_client_cancels(w: World) -> None:
    channel = slow(w)
    w.fill("q", "a")
    channel.consume(quiet=True)
    channel.see(2)
    channel.cancel()
    channel.count()
    channel.get()


@scenario(absent=LATER)
def another_consumer_takes_over(w: World) -> None:
    channel = slow(w)
    channel.qos(1)
    channel.consume(quiet=True)
    other = w.channel()
    w.fill("q", "a")
    channel.see()
    other.qos(1)
    other.consume(quiet=True, tag="d")
    channel.see()
    other.see()
    other.ack(1)
    w.fill("q", "b")
    other.see()
    other.ack(2)
    other.count()


@scenario(absent=LATER)
def the_single_active_consumer(w: World) -> None:
    channel = w.channel()
    channel.queue(queue_type="quorum", consumer_timeout=300, single_active_consumer=True)
    channel.consume(quiet=True)
    other = w.channel()
    other.consume(quiet=True, tag="d")
    w.fill("q", "a", "b")
    channel.see(3)
    other.see(2)
    other.ack(2, multiple=True)
    channel.ack(2, multiple=True)
    w.fill("q", "c")
    other.see()
    other.ack(3)
    other.cancel("d")
    w.fill("q", "d")
    channel.see()


@scenario(absent=LATER)
def the_single_active_consumer_alone(w: World) -> None:
    channel = w.channel()
    channel.queue(queue_type="quorum", consumer_timeout=300, single_active_consumer=True)
    channel.consume(quiet=True)
    w.fill("q", "a")
    channel.see(2)
    channel.nothing(0.1)
    channel.ack(1)
    channel.see(2)
    other = w.channel()
    other.consume(quiet=True, tag="d")
    other.see()


@scenario(absent=LATER)
def in_a_transaction(w: World) -> None:
    channel = slow(w)
    w.fill("q", "a", "b")
    channel.silently(commands.Tx.Select())
    channel.consume(quiet=True)
    channel.see(2)
    channel.ack(1)
    channel.see()
    channel.ask(commands.Tx.Commit())
    channel.count()


@scenario(absent=LATER)
def at_once(w: World) -> None:
    channel = slow(w, 0)
    w.fill("q", "a")
    channel.consume(quiet=True)
    channel.see(2)
    channel.count()


@scenario(absent=LATER)
def with_a_delivery_limit(w: World) -> None:
    channel = w.channel()
    channel.queue(queue_type="quorum", consumer_timeout=200, delivery_limit=1)
    w.fill("q", "a")
    channel.consume(quiet=True)
    for tag in (1, 2, 3):
        channel.see(2)
        channel.ack(tag)
    channel.see()
    channel.ack(4)
    channel.alive()
    channel.count()


@scenario(differs="3.10 takes no heed of it")
def not_a_time(w: World) -> None:
    for value in (-1, "soon", 1.5):
        w.channel().declare(arguments={"x-queue-type": "quorum", "x-consumer-timeout": value})
    channel = w.channel()
    channel.queue(queue_type="quorum")
    for value in (-1, "soon"):
        w.channel().consume(arguments={"x-consumer-timeout": value})


@scenario(differs="3.10 takes no heed of it")
def in_a_classic_queue(w: World) -> None:
    w.channel().declare(arguments={"x-consumer-timeout": 100})
    channel = w.channel()
    channel.queue()
    channel.consume(arguments={"x-consumer-timeout": 100})


@scenario(differs=OTHER_COUNTS)
def a_get_counts_as_a_consumer(w: World) -> None:
    channel = w.channel()
    channel.queue(queue_type="quorum")
    w.fill("q", "a", "b")
    channel.get(no_ack=False)
    channel.count()
    channel.ack(1)
    channel.count()


@scenario
def a_cancelled_consumer_counts_while_it_holds_messages(w: World) -> None:
    channel = w.channel()
    channel.queue(queue_type="quorum")
    w.fill("q", "a")
    channel.consume(quiet=True)
    channel.see()
    channel.cancel()
    channel.count()
    channel.ack(1)
    channel.count()
