"""Quorum queues, on one node."""

import time

from pamqp import commands
from wire import Channel
from world import BOTH, OTHER_COUNTS, World, scenario

Queue, Basic = commands.Queue, commands.Basic


def quorum(w: World, queue: str = "q", **arguments: object) -> Channel:
    channel = w.channel()
    channel.queue(queue, queue_type="quorum", **arguments)
    return channel


def refused(w: World, *, durable: bool = True, exclusive: bool = False, auto_delete: bool = False, **more: object):
    w.channel().declare(
        durable=durable,
        exclusive=exclusive,
        auto_delete=auto_delete,
        arguments={"x-queue-type": "quorum"} | {f"x-{name.replace('_', '-')}": value for name, value in more.items()},
    )


@scenario(differs=OTHER_COUNTS)
def declare_publish_get(w: World) -> None:
    channel = w.channel()
    channel.declare(arguments={"x-queue-type": "quorum"})
    channel.declare(arguments={"x-queue-type": "quorum"})
    w.fill("q", "a", "b")
    channel.wait_for("q", 2)
    channel.drain()


@scenario(differs="3.10 refuses the quorum queue with 406; 4.3 any transient queue, with 541")
def not_durable(w: World) -> None:
    refused(w, durable=False)


@scenario
def exclusive(w: World) -> None:
    refused(w, exclusive=True)


@scenario
def auto_delete(w: World) -> None:
    channel = w.channel()
    channel.declare(auto_delete=True, arguments={"x-queue-type": "quorum"})


@scenario
def server_named(w: World) -> None:
    w.channel().declare("", arguments={"x-queue-type": "quorum"})


@scenario
def with_a_greatest_priority(w: World) -> None:
    refused(w, max_priority=3)


@scenario
def with_reject_publish_dlx(w: World) -> None:
    refused(w, overflow="reject-publish-dlx")


@scenario
def with_a_delivery_limit_below_zero(w: World) -> None:
    refused(w, delivery_limit=-5)


@scenario
def again_with_another_limit(w: World) -> None:
    channel = quorum(w, delivery_limit=3)
    channel.declare(arguments={"x-queue-type": "quorum", "x-delivery-limit": 4})


@scenario(differs="3.10 has another text")
def again_classic(w: World) -> None:
    channel = quorum(w)
    channel.declare()


@scenario
def an_exclusive_consumer(w: World) -> None:
    channel = quorum(w)
    channel.consume(exclusive=True)
    w.channel().consume()


@scenario(differs="3.10 refuses it with 540; 4.3 takes it as each consumer's own")
def global_prefetch(w: World) -> None:
    channel = quorum(w)
    channel.ask(Basic.Qos(prefetch_count=5, global_=True))
    channel.consume()


@scenario(differs=OTHER_COUNTS)
def a_rejected_one_counts_its_deliveries(w: World) -> None:
    channel = quorum(w, delivery_limit=5)
    w.fill("q", "a")
    channel.consume()
    for tag in (1, 2, 3):
        channel.see()
        channel.reject(tag)
    channel.see()


@scenario(differs="nack counts as reject does in 3.10")
def a_nacked_one_does_not_count(w: World) -> None:
    channel = quorum(w, delivery_limit=1)
    w.fill("q", "a")
    channel.consume()
    for tag in (1, 2, 3, 4):
        channel.see()
        channel.nack(tag)
    channel.see()


@scenario(differs=OTHER_COUNTS)
def the_delivery_limit_drops(w: World) -> None:
    channel = quorum(w, delivery_limit=2)
    w.fill("q", "a")
    channel.consume()
    for tag in (1, 2, 3):
        channel.see()
        channel.reject(tag)
    channel.nothing()
    channel.count()


@scenario(differs=BOTH)
def the_delivery_limit_makes_dead_letters(w: World) -> None:
    channel = quorum(w, delivery_limit=1, dead_letter_exchange="", dead_letter_routing_key="dead")
    channel.queue("dead")
    w.fill("q", "a")
    channel.consume()
    for tag in (1, 2):
        channel.see()
        channel.reject(tag)
    channel.wait_for("dead", 1)
    channel.get("dead")


@scenario(differs="3.10 has no limit unless one is set")
def the_limit_that_nobody_set(w: World) -> None:
    channel = quorum(w)
    w.fill("q", "a")
    channel.consume()
    for tag in range(1, 22):
        channel.wire.hear(1, lambda entry: entry[0] == "Basic.Deliver")
        channel.reject(tag)
    channel.nothing(0.2)


@scenario(differs=OTHER_COUNTS)
def a_cut_connection_counts(w: World) -> None:
    quorum(w, delivery_limit=1)
    w.fill("q", "a")
    for _ in range(2):
        channel = w.channel()
        channel.consume()
        channel.see()
        channel.wire.close()
    channel = w.channel()
    channel.consume()
    channel.nothing(0.2)


@scenario(differs=OTHER_COUNTS)
def requeued_to_the_original_place(w: World) -> None:
    channel = quorum(w, delivery_limit=10)
    w.fill("q", "a", "b", "c")
    channel.wait_for("q", 3)
    channel.get(no_ack=False)
    channel.get(no_ack=False)
    channel.reject(1)
    channel.wait_for("q", 2)
    channel.get(no_ack=False)
    channel.get(no_ack=False)


@scenario(differs=OTHER_COUNTS)
def redelivered_by_get(w: World) -> None:
    channel = quorum(w)
    w.fill("q", "a")
    channel.wait_for("q", 1)
    for tag in (1, 2, 3):
        channel.get(no_ack=False)
        channel.reject(tag)
        channel.wait_for("q", 1)


@scenario(differs=OTHER_COUNTS)
def recover_in_a_quorum_queue(w: World) -> None:
    channel = quorum(w)
    w.fill("q", "a")
    channel.wait_for("q", 1)
    channel.get(no_ack=False)
    channel.ask(Basic.Recover(requeue=True))
    channel.wait_for("q", 1)
    channel.get()


@scenario(differs=OTHER_COUNTS)
def the_head_is_dropped(w: World) -> None:
    channel = quorum(w, max_length=2)
    w.fill("q", "a", "b", "c")
    channel.wait_for("q", 2)
    channel.drain()


@scenario
def ttl(w: World) -> None:
    channel = quorum(w, message_ttl=40)
    w.fill("q", "a")
    channel.wait_for("q", 0)
    channel.get()


@scenario(differs=BOTH)
def dead_letters(w: World) -> None:
    channel = quorum(w, dead_letter_exchange="", dead_letter_routing_key="dead")
    channel.queue("dead")
    w.fill("q", "a")
    channel.wait_for("q", 1)
    channel.get(no_ack=False)
    channel.reject(1, requeue=False)
    channel.wait_for("dead", 1)
    channel.drain("dead")


@scenario(differs="3.10's quorum queues have no priorities; 4.3 has 32, strictly")
def priorities_of_messages(w: World) -> None:
    channel = quorum(w)
    for body, priority in (("a", 0), ("b", 9), ("c", 4), ("d", None), ("e", 5), ("f", 31), ("g", 200)):
        w.fill("q", body, priority=priority)
    channel.wait_for("q", 7)
    channel.drain()


@scenario
def single_active_consumer(w: World) -> None:
    channel = quorum(w, single_active_consumer=True)
    channel.consume(tag="one")
    other = w.channel()
    other.consume(tag="two")
    w.fill("q", "a")
    channel.see()
    channel.ack(1)
    channel.cancel("one")
    w.fill("q", "b")
    other.see()


@scenario(differs=OTHER_COUNTS)
def reject_publish_in_a_quorum_queue(w: World) -> None:
    channel = quorum(w, max_length=1, overflow="reject-publish")
    channel.confirms()
    channel.publish("", "q", "a")
    channel.confirmed()
    channel.count()
    channel.drain()


@scenario
def prefetch(w: World) -> None:
    channel = quorum(w)
    channel.qos(1)
    w.fill("q", "a", "b")
    channel.consume()
    channel.see()
    channel.nothing()
    channel.ack(1)
    channel.see()


@scenario
def purge_and_delete(w: World) -> None:
    channel = quorum(w)
    w.fill("q", "a", "b")
    channel.wait_for("q", 2)
    channel.ask(Queue.Purge(queue="q"))
    channel.ask(Queue.Delete(queue="q"))


@scenario
def delete_on_a_condition(w: World) -> None:
    channel = quorum(w)
    channel.ask(Queue.Delete(queue="q", if_empty=True))


@scenario
def a_consumer_is_told_when_it_goes(w: World) -> None:
    channel = quorum(w)
    channel.consume()
    w.channel().ask(Queue.Delete(queue="q"))
    channel.see()


@scenario
def expires_when_unused(w: World) -> None:
    channel = quorum(w, expires=80)
    until = time.monotonic() + 12
    heard = ["Queue.DeclareOk"]
    while heard[0] == "Queue.DeclareOk" and time.monotonic() < until:
        time.sleep(1.5)  # to ask is to use; and RabbitMQ looks only now and then
        channel.tell(Queue.Declare(queue="q", passive=True))
        heard = channel.wire.hear(1)
    w.note(*heard)
