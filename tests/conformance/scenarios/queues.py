"""Queues: declaring, arguments, deleting, exclusiveness, limits of length and time."""

import struct
import time

from pamqp import commands
from wire import METHOD
from world import World, scenario

Queue, Basic = commands.Queue, commands.Basic


def declared(w: World, **arguments: object) -> None:
    """Declare a durable queue with these arguments."""
    w.channel().declare(arguments=arguments)


@scenario
def declare_and_declare_again(w: World) -> None:
    channel = w.channel()
    channel.declare()
    channel.declare()
    w.fill("q", "a", "b")
    channel.declare()


@scenario
def passive_found_and_not(w: World) -> None:
    channel = w.channel()
    channel.queue()
    w.fill("q", "a")
    channel.count()
    channel.count("nowhere")


@scenario
def passive_takes_no_heed_of_the_rest(w: World) -> None:
    channel = w.channel()
    channel.queue("q", max_length=5)
    channel.ask(Queue.Declare(queue="q", passive=True, exclusive=True, arguments={"x-max-length": 7}))


@scenario
def counts_of_messages_and_consumers(w: World) -> None:
    channel = w.channel()
    channel.queue()
    channel.qos(1)
    channel.consume(quiet=True)
    channel.consume(tag="d", quiet=True)
    w.fill("q", "a", "b", "c")
    channel.see(2)
    channel.count()


@scenario(differs="3.10 makes them")
def neither_durable_nor_exclusive(w: World) -> None:
    w.channel().declare(durable=False)


@scenario(differs="3.10 makes them")
def neither_durable_nor_exclusive_auto_delete(w: World) -> None:
    w.channel().declare(durable=False, auto_delete=True)


@scenario
def a_transient_exclusive_queue(w: World) -> None:
    w.channel().declare(durable=False, exclusive=True)


@scenario
def a_name_made_by_the_broker(w: World) -> None:
    channel = w.channel()
    channel.declare("", exclusive=True)
    channel.declare("", exclusive=True)
    channel.publish("", "", "to nobody")
    channel.ask(Basic.Get(queue="", no_ack=True))


@scenario
def a_name_of_the_brokers_own(w: World) -> None:
    w.channel().declare("amq.mine")


@scenario
def passive_with_a_name_of_the_brokers_own(w: World) -> None:
    w.channel().count("amq.mine")


@scenario
def again_exclusive(w: World) -> None:
    channel = w.channel()
    channel.queue()
    channel.declare(exclusive=True)


@scenario
def again_auto_delete(w: World) -> None:
    channel = w.channel()
    channel.queue()
    channel.declare(auto_delete=True)


@scenario
def again_not_durable(w: World) -> None:
    channel = w.channel()
    channel.declare(durable=True, exclusive=True)
    channel.declare(durable=False, exclusive=True)


@scenario
def again_with_another_length(w: World) -> None:
    channel = w.channel()
    channel.queue(max_length=5)
    channel.declare(arguments={"x-max-length": 6})


@scenario
def again_without_its_length(w: World) -> None:
    channel = w.channel()
    channel.queue(max_length=5)
    channel.declare()


@scenario
def again_with_a_ttl(w: World) -> None:
    channel = w.channel()
    channel.queue()
    channel.declare(arguments={"x-message-ttl": 500})


@scenario
def again_with_another_dead_letter_exchange(w: World) -> None:
    channel = w.channel()
    channel.queue(dead_letter_exchange="x")
    channel.declare(arguments={"x-dead-letter-exchange": "y"})


@scenario
def again_with_a_number_of_another_size(w: World) -> None:
    channel = w.channel()
    channel.queue(max_length=5)
    channel.declare(arguments={"x-max-length": 5 + (1 << 40)})


@scenario(differs="3.10 has another text")
def again_of_another_type(w: World) -> None:
    channel = w.channel()
    channel.queue()
    channel.declare(arguments={"x-queue-type": "quorum"})


@scenario
def classic_said_or_unsaid(w: World) -> None:
    channel = w.channel()
    channel.queue()
    channel.declare(arguments={"x-queue-type": "classic"})


@scenario
def an_unknown_type(w: World) -> None:
    declared(w, **{"x-queue-type": "round"})


@scenario
def a_type_that_is_no_text(w: World) -> None:
    declared(w, **{"x-queue-type": 5})


@scenario
def unknown_arguments_are_taken(w: World) -> None:
    channel = w.channel()
    channel.declare(arguments={"colour": "red", "x-colour": 7})
    channel.declare(arguments={"colour": "blue"})


@scenario
def a_ttl_that_is_no_number(w: World) -> None:
    declared(w, **{"x-message-ttl": "100"})


@scenario
def a_ttl_below_zero(w: World) -> None:
    declared(w, **{"x-message-ttl": -1})


@scenario
def a_ttl_too_large(w: World) -> None:
    declared(w, **{"x-message-ttl": 1 << 40})


@scenario
def a_ttl_with_a_point(w: World) -> None:
    declared(w, **{"x-message-ttl": 1.5})


@scenario
def expires_of_zero(w: World) -> None:
    declared(w, **{"x-expires": 0})


@scenario
def expires_that_is_no_number(w: World) -> None:
    declared(w, **{"x-expires": "soon"})


@scenario
def a_length_below_zero(w: World) -> None:
    declared(w, **{"x-max-length": -1})


@scenario
def a_length_that_is_no_number(w: World) -> None:
    declared(w, **{"x-max-length": True})


@scenario
def bytes_below_zero(w: World) -> None:
    declared(w, **{"x-max-length-bytes": -5})


@scenario
def an_unknown_overflow(w: World) -> None:
    declared(w, **{"x-overflow": "flood"})


@scenario
def a_priority_above_255(w: World) -> None:
    declared(w, **{"x-max-priority": 256})


@scenario
def a_priority_below_zero(w: World) -> None:
    declared(w, **{"x-max-priority": -1})


@scenario
def a_dead_letter_key_without_exchange(w: World) -> None:
    declared(w, **{"x-dead-letter-routing-key": "k"})


@scenario
def a_dead_letter_exchange_that_is_no_text(w: World) -> None:
    declared(w, **{"x-dead-letter-exchange": 5})


@scenario
def a_single_active_consumer_that_is_no_flag(w: World) -> None:
    declared(w, **{"x-single-active-consumer": "yes"})


@scenario
def a_delivery_limit_on_a_classic_queue(w: World) -> None:
    declared(w, **{"x-delivery-limit": 3})


@scenario
def a_lazy_queue(w: World) -> None:
    declared(w, **{"x-queue-mode": "lazy"})


@scenario
def delete_counts_and_deletes_nothing_too(w: World) -> None:
    channel = w.channel()
    channel.queue()
    w.fill("q", "a", "b")
    channel.ask(Queue.Delete(queue="q"))
    channel.ask(Queue.Delete(queue="q"))
    channel.count()


@scenario
def delete_if_empty(w: World) -> None:
    channel = w.channel()
    channel.queue()
    w.fill("q", "a")
    channel.wire.channel().ask(Queue.Delete(queue="q", if_empty=True))
    channel.ask(Queue.Purge(queue="q"))
    channel.ask(Queue.Delete(queue="q", if_empty=True))


@scenario
def delete_if_unused(w: World) -> None:
    channel = w.channel()
    channel.queue()
    channel.consume(quiet=True)
    channel.wire.channel().ask(Queue.Delete(queue="q", if_unused=True))
    channel.cancel()
    channel.ask(Queue.Delete(queue="q", if_unused=True))


@scenario
def purge_leaves_the_unacknowledged(w: World) -> None:
    channel = w.channel()
    channel.queue()
    w.fill("q", "a", "b", "c")
    channel.get(no_ack=False)
    channel.ask(Queue.Purge(queue="q"))
    channel.ask(Queue.Purge(queue="q"))
    channel.nack(1)
    channel.wait_for("q", 1)
    channel.drain()


@scenario
def purge_no_queue(w: World) -> None:
    w.channel().ask(Queue.Purge(queue="nowhere"))


@scenario
def exclusive_is_locked_for_others(w: World) -> None:
    owner = w.channel()
    owner.declare(exclusive=True)
    for method in (
        Queue.Declare(queue="q", durable=True, exclusive=True),
        Queue.Declare(queue="q", passive=True),
        Queue.Declare(queue="q", durable=True),
        Queue.Bind(queue="q", exchange="amq.topic", routing_key="k"),
        Queue.Unbind(queue="q", exchange="amq.topic", routing_key="k"),
        Queue.Purge(queue="q"),
        Queue.Delete(queue="q"),
        Basic.Get(queue="q"),
        Basic.Consume(queue="q"),
    ):
        w.channel().ask(method)
    owner.wire.channel().count()


@scenario
def exclusive_takes_messages_from_others(w: World) -> None:
    owner = w.channel()
    owner.declare(exclusive=True)
    w.fill("q", "a")
    owner.drain()


@scenario
def exclusive_ends_with_its_connection(w: World) -> None:
    owner = w.channel()
    owner.declare(exclusive=True)
    owner.close()
    other = owner.wire.channel()
    other.count()
    owner.wire.ask(commands.Connection.Close(200, "bye", 0, 0))
    w.channel().count()


@scenario
def auto_delete_ends_with_its_last_consumer(w: World) -> None:
    channel = w.channel()
    channel.declare(auto_delete=True)
    channel.consume(tag="c")
    channel.consume(tag="d")
    channel.cancel("c")
    channel.count()
    channel.cancel("d")
    channel.count()


@scenario
def auto_delete_stays_without_a_consumer_ever(w: World) -> None:
    channel = w.channel()
    channel.declare(auto_delete=True)
    w.fill("q", "a")
    channel.drain()
    channel.count()


@scenario
def auto_delete_ends_with_its_consumers_channel(w: World) -> None:
    wire = w.connect()
    one, two = wire.channel(), wire.channel()
    one.declare(auto_delete=True)
    one.consume()
    one.close()
    two.count()


@scenario
def expires_when_unused(w: World) -> None:
    channel = w.channel()
    channel.queue(expires=100)
    until = time.monotonic() + 5
    heard = ["Queue.DeclareOk"]
    while heard[0] == "Queue.DeclareOk" and time.monotonic() < until:
        time.sleep(0.3)  # to ask is to use
        channel.tell(Queue.Declare(queue="q", passive=True))
        heard = channel.wire.hear(1)
    w.note(*heard)


@scenario
def expires_not_while_consumed(w: World) -> None:
    channel = w.channel()
    channel.declare(arguments={"x-expires": 60})
    channel.consume()
    time.sleep(0.25)
    channel.count()


@scenario
def ttl_of_a_queue(w: World) -> None:
    channel = w.channel()
    channel.queue(message_ttl=60)
    w.fill("q", "a", "b")
    channel.wait_for("q", 0)
    channel.get()


@scenario
def ttl_of_a_message(w: World) -> None:
    channel = w.channel()
    channel.queue()
    w.fill("q", "a", expiration="40")
    w.fill("q", "b")
    channel.wait_for("q", 1)
    channel.drain()


@scenario
def ttl_of_a_message_behind_another(w: World) -> None:
    channel = w.channel()
    channel.queue()
    w.fill("q", "stays")
    w.fill("q", "goes", expiration="20")
    time.sleep(0.1)
    channel.count()
    channel.drain()


@scenario
def the_shorter_ttl_wins(w: World) -> None:
    channel = w.channel()
    channel.queue("short", message_ttl=40)
    channel.queue("long", message_ttl=60_000)
    w.fill("short", "a", expiration="60000")
    w.fill("long", "b", expiration="40")
    channel.wait_for("short", 0)
    channel.wait_for("long", 0)
    channel.get("short")
    channel.get("long")


@scenario
def ttl_of_zero_without_a_consumer(w: World) -> None:
    channel = w.channel()
    channel.queue(message_ttl=0)
    w.fill("q", "a")
    channel.wait_for("q", 0)
    channel.get()


@scenario
def ttl_of_zero_with_a_consumer(w: World) -> None:
    channel = w.channel()
    channel.queue(message_ttl=0)
    channel.consume()
    w.fill("q", "a")
    channel.see()


@scenario
def an_expiration_that_is_no_number(w: World) -> None:
    channel = w.channel()
    channel.queue()
    channel.publish("", "q", expiration="soon")
    channel.alive()


@scenario
def an_expiration_below_zero(w: World) -> None:
    channel = w.channel()
    channel.queue()
    channel.publish("", "q", expiration="-1")
    channel.alive()


@scenario
def an_expiration_too_large(w: World) -> None:
    channel = w.channel()
    channel.queue()
    channel.publish("", "q", expiration="99999999999")
    channel.alive()


@scenario
def an_unacknowledged_message_does_not_expire(w: World) -> None:
    channel = w.channel()
    channel.queue(message_ttl=80)
    w.fill("q", "a")
    channel.get(no_ack=False)
    time.sleep(0.15)
    channel.ack(1)
    channel.alive()


@scenario
def a_full_queue_drops_its_head(w: World) -> None:
    channel = w.channel()
    channel.queue(max_length=2)
    w.fill("q", "a", "b", "c", "d")
    channel.drain()


@scenario
def a_full_queue_by_bytes(w: World) -> None:
    channel = w.channel()
    channel.queue(max_length_bytes=10)
    w.fill("q", "12345", "1234", "123", "12")
    channel.drain()


@scenario
def a_message_larger_than_the_queue(w: World) -> None:
    channel = w.channel()
    channel.queue(max_length_bytes=3)
    w.fill("q", "12345")
    channel.drain()


@scenario
def unacknowledged_ones_do_not_fill_a_queue(w: World) -> None:
    channel = w.channel()
    channel.queue(max_length=1)
    w.fill("q", "a")
    channel.get(no_ack=False)
    w.fill("q", "b")
    channel.nack(1)
    channel.wait_for("q", 1)
    channel.drain()


@scenario
def a_queue_of_no_length(w: World) -> None:
    channel = w.channel()
    channel.queue(max_length=0)
    w.fill("q", "a")
    channel.drain()
    channel.consume()
    w.fill("q", "b")
    channel.see()


@scenario
def reject_publish_says_nack(w: World) -> None:
    channel = w.channel()
    channel.queue(max_length=2, overflow="reject-publish")
    channel.confirms()
    for body in "abc":
        channel.publish("", "q", body)
        channel.confirmed()
    channel.drain()


@scenario
def reject_publish_without_confirms(w: World) -> None:
    channel = w.channel()
    channel.queue(max_length=1, overflow="reject-publish")
    for body in "ab":
        channel.publish("", "q", body)
    channel.drain()


@scenario
def reject_publish_in_one_of_two_queues(w: World) -> None:
    channel = w.channel()
    channel.queue("full", max_length=0, overflow="reject-publish")
    channel.queue("free")
    for queue in ("full", "free"):
        channel.bind(queue, "amq.fanout")
    channel.confirms()
    channel.publish("amq.fanout", "", "a")
    channel.confirmed()
    channel.drain("full")
    channel.drain("free")


@scenario
def priorities(w: World) -> None:
    channel = w.channel()
    channel.queue(max_priority=5)
    for body, priority in (("low", 1), ("none", None), ("high", 5), ("higher", 9), ("low too", 1)):
        w.fill("q", body, priority=priority)
    channel.drain()


@scenario
def priorities_to_a_consumer(w: World) -> None:
    channel = w.channel()
    channel.queue(max_priority=3)
    channel.qos(1)
    for body, priority in (("a", 1), ("b", 2), ("c", 3)):
        w.fill("q", body, priority=priority)
    channel.consume()
    for tag in (1, 2, 3):
        channel.see()
        channel.ack(tag)


@scenario
def a_full_queue_of_priorities_drops_the_lowest(w: World) -> None:
    channel = w.channel()
    channel.queue(max_priority=3, max_length=2)
    for body, priority in (("high", 3), ("low", 1), ("middle", 2)):
        w.fill("q", body, priority=priority)
    channel.drain()


@scenario
def requeued_among_priorities(w: World) -> None:
    channel = w.channel()
    channel.queue(max_priority=3)
    w.fill("q", "low", priority=1)
    channel.get(no_ack=False)
    w.fill("q", "high", priority=3)
    w.fill("q", "low too", priority=1)
    channel.nack(1)
    channel.wait_for("q", 3)
    channel.drain()


@scenario
def a_priority_on_a_plain_queue(w: World) -> None:
    channel = w.channel()
    channel.queue()
    w.fill("q", "low", priority=1)
    w.fill("q", "high", priority=9)
    channel.drain()


@scenario
def a_queue_with_a_name_of_the_world(w: World) -> None:
    wire = w.connect()
    wire.channel()
    name = "schüler 課".encode()
    wire.raw(1, 1, b"\x00\x32\x00\x0a\x00\x00" + bytes([len(name)]) + name + b"\x02\x00\x00\x00\x00")
    wire.reply(1)
    wire.raw(1, 1, b"\x00\x32\x00\x0a\x00\x00\x04nope\x01\x00\x00\x00\x00")
    wire.reply(1)


@scenario
def a_line_feed_in_a_name(w: World) -> None:
    wire = w.connect()
    wire.channel()
    wire.raw(1, 1, b"\x00\x32\x00\x0a\x00\x00\x03a\nb\x02\x00\x00\x00\x00")
    wire.reply(1)


@scenario
def inequivalent_floats(w: World) -> None:
    w.channel().queue(expires=60_000)
    numbers = [1000.0, 100.0, 0.1, 0.001, 0.0001, 1.5, -0.0, 123456.0, 120000.0, -2500.25, 1e15, 9007199254740993.0]
    for number in [*numbers, 1e16, 1.5e20, 1e22, 1e100, 5e-324, 1.25e-7]:
        for kind, form in (("d", ">d"), ("f", ">f")):
            if kind == "f" and number > 1e38:
                continue
            table = b"\x09x-expires" + kind.encode() + struct.pack(form, number)
            wire = w.connect()
            wire.channel()
            declare = b"\0\x32\0\x0a\0\0\x01q\x02"  # queue.declare of a durable queue q
            wire.raw(METHOD, 1, declare + struct.pack(">I", len(table)) + table)
            wire.reply(1)
