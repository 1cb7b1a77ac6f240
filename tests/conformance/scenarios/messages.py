"""Messages: properties, returns, getting, consuming, acknowledging, prefetch, requeueing."""

import time
from datetime import UTC, datetime

from pamqp import commands, header
from wire import METHOD
from world import World, scenario

Queue, Basic, Exchange = commands.Queue, commands.Basic, commands.Exchange


@scenario
def all_properties_come_back(w: World) -> None:
    channel = w.channel()
    channel.queue()
    channel.publish(
        "",
        "q",
        "body",
        content_type="text/plain",
        content_encoding="utf-8",
        headers={
            "text": "é",
            "number": 7,
            "large": 1 << 40,
            "below": -3,
            "flag": True,
            "none": None,
            "list": [1, "two", [3]],
            "table": {"deep": {"deeper": 1.5}},
            "time": datetime(2026, 1, 2, tzinfo=UTC),
            "bytes": bytearray(b"\x00\xff"),
        },
        delivery_mode=2,
        priority=4,
        correlation_id="c1",
        reply_to="r",
        expiration="60000",
        message_id="m1",
        timestamp=datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
        message_type="type",
        user_id=w.node.user,
        app_id="app",
    )
    channel.tell(Basic.Get(queue="q", no_ack=True))
    heard = channel.wire.hear(1)
    heard[2]["user_id"] = "the user" if heard[2].get("user_id") == w.node.user else heard[2].get("user_id")
    w.note(*heard)


@scenario
def no_properties_and_no_body(w: World) -> None:
    channel = w.channel()
    channel.queue()
    w.fill("q", "")
    channel.get()


@scenario
def a_large_body(w: World) -> None:
    channel = w.channel()
    channel.queue()
    channel.publish("", "q", b"x" * 400_000)
    channel.get()
    w.note(channel.wire.sizes)


@scenario(differs="3.10 looks at the size when all has come")
def a_body_over_the_limit(w: World) -> None:
    channel = w.channel()
    channel.tell(Basic.Publish(exchange="", routing_key="q"))
    channel.tell(header.ContentHeader(0, 1 << 30, Basic.Properties()))
    channel.wire.reply(1)


@scenario
def a_user_id_of_somebody_else(w: World) -> None:
    channel = w.channel()
    channel.queue()
    channel.publish("", "q", user_id="somebody")
    w.note(channel.wire.hear(1)[0:1])
    w.channel().count()


@scenario
def mandatory_and_unroutable(w: World) -> None:
    channel = w.channel()
    channel.publish("amq.direct", "nowhere", "a", mandatory=True, message_id="m1", headers={"x": 1})
    channel.see()
    channel.publish("", "nowhere", "b", mandatory=True)
    channel.see()


@scenario
def mandatory_and_routable(w: World) -> None:
    channel = w.channel()
    channel.queue()
    channel.publish("", "q", "a", mandatory=True)
    channel.alive()
    channel.drain()


@scenario
def unroutable_and_not_mandatory(w: World) -> None:
    channel = w.channel()
    channel.publish("", "nowhere", "a")
    channel.nothing()


@scenario
def immediate(w: World) -> None:
    channel = w.channel()
    channel.tell(Basic.Publish(exchange="", routing_key="q", immediate=True))
    channel.tell(header.ContentHeader(0, 0, Basic.Properties()))
    channel.alive()


@scenario
def get_from_no_queue(w: World) -> None:
    w.channel().get("nowhere")


@scenario
def get_with_and_without_ack(w: World) -> None:
    channel = w.channel()
    channel.queue()
    w.fill("q", "a", "b", "c")
    channel.get(no_ack=False)
    channel.get(no_ack=True)
    channel.get(no_ack=False)
    channel.get()
    channel.ack(1)
    channel.ack(3)
    channel.alive()
    channel.close()
    w.channel().count()


@scenario
def an_ack_for_a_get_that_needs_none(w: World) -> None:
    channel = w.channel()
    channel.queue()
    w.fill("q", "a")
    channel.get(no_ack=True)
    channel.ack(1)
    channel.alive()


@scenario
def ack_twice(w: World) -> None:
    channel = w.channel()
    channel.queue()
    w.fill("q", "a")
    channel.get(no_ack=False)
    channel.ack(1)
    channel.ack(1)
    channel.alive()


@scenario
def ack_of_an_unknown_tag(w: World) -> None:
    channel = w.channel()
    channel.ack(99)
    channel.alive()


@scenario
def nack_of_an_unknown_tag(w: World) -> None:
    channel = w.channel()
    channel.nack(99)
    channel.alive()


@scenario
def reject_of_an_unknown_tag(w: World) -> None:
    channel = w.channel()
    channel.reject(99)
    channel.alive()


@scenario
def ack_on_another_channel(w: World) -> None:
    wire = w.connect()
    one, two = wire.channel(), wire.channel()
    one.queue()
    w.fill("q", "a")
    one.consume()
    one.see()
    two.ack(1)
    two.alive()
    one.count()


@scenario
def ack_of_all_with_nothing_open(w: World) -> None:
    channel = w.channel()
    channel.ack(0, multiple=True)
    channel.alive()


@scenario
def ack_of_tag_0(w: World) -> None:
    channel = w.channel()
    channel.queue()
    w.fill("q", "a")
    channel.get(no_ack=False)
    channel.ack(0)
    channel.alive()


@scenario
def ack_multiple(w: World) -> None:
    channel = w.channel()
    channel.queue()
    w.fill("q", "a", "b", "c", "d")
    channel.consume()
    channel.see(4)
    channel.ack(2)
    channel.ack(3, multiple=True)
    channel.ack(1)
    channel.alive()
    other = w.channel()
    other.wait_for("q", 1)
    other.drain()


@scenario
def ack_of_all(w: World) -> None:
    channel = w.channel()
    channel.queue()
    w.fill("q", "a", "b")
    channel.consume()
    channel.see(2)
    channel.ack(0, multiple=True)
    channel.close()
    w.channel().drain()


@scenario
def nack_multiple_to_the_original_places(w: World) -> None:
    channel = w.channel()
    channel.queue()
    w.fill("q", "a", "b", "c", "d")
    for _ in range(3):
        channel.get(no_ack=False)
    channel.nack(2, multiple=True)
    channel.wait_for("q", 3)
    channel.drain()
    channel.nack(3)
    channel.wait_for("q", 1)
    channel.drain()


@scenario
def nack_of_all(w: World) -> None:
    channel = w.channel()
    channel.queue()
    w.fill("q", "a", "b")
    channel.get(no_ack=False)
    channel.get(no_ack=False)
    channel.nack(0, multiple=True)
    channel.wait_for("q", 2)
    channel.drain()


@scenario
def reject_and_drop(w: World) -> None:
    channel = w.channel()
    channel.queue()
    w.fill("q", "a", "b")
    channel.get(no_ack=False)
    channel.reject(1, requeue=False)
    channel.drain()


@scenario
def a_requeue_loop(w: World) -> None:
    channel = w.channel()
    channel.queue()
    channel.qos(1)
    w.fill("q", "a", "b")
    channel.consume()
    for tag in range(1, 6):
        channel.see()
        channel.reject(tag)


@scenario
def requeued_goes_to_the_next_consumer(w: World) -> None:
    channel = w.channel()
    channel.queue()
    w.fill("q", "a")
    channel.consume(tag="one")
    channel.see()
    other = w.channel()
    other.consume(tag="two")
    channel.cancel("one")
    channel.nack(1)
    other.see()


@scenario
def closing_a_channel_requeues(w: World) -> None:
    channel = w.channel()
    channel.queue()
    w.fill("q", "a", "b", "c")
    channel.consume()
    channel.see(3)
    channel.ack(2)
    channel.close()
    other = w.channel()
    other.wait_for("q", 2)
    other.drain()


@scenario
def cancelling_does_not_requeue(w: World) -> None:
    channel = w.channel()
    channel.queue()
    w.fill("q", "a")
    channel.consume()
    channel.see()
    channel.cancel()
    channel.count()
    channel.ack(1)
    channel.alive()


@scenario
def auto_ack_loses_work(w: World) -> None:
    channel = w.channel()
    channel.queue()
    w.fill("q", "a", "b")
    channel.consume(no_ack=True)
    channel.see(2)
    channel.wire.close()
    w.channel().count()


@scenario
def consume_no_queue(w: World) -> None:
    w.channel().consume("nowhere")


@scenario
def consume_with_a_tag_made_by_the_broker(w: World) -> None:
    channel = w.channel()
    channel.queue()
    channel.consume(tag="")
    w.fill("q", "a")
    channel.see()


@scenario
def consume_twice_with_one_tag(w: World) -> None:
    channel = w.channel()
    channel.queue()
    channel.consume()
    channel.consume()


@scenario
def one_tag_on_two_channels(w: World) -> None:
    wire = w.connect()
    one, two = wire.channel(), wire.channel()
    one.queue()
    one.consume()
    two.consume()


@scenario
def consume_exclusively(w: World) -> None:
    channel = w.channel()
    channel.queue()
    channel.consume(exclusive=True)
    w.channel().consume()
    w.channel().consume(exclusive=True)
    w.fill("q", "a")
    channel.see()


@scenario
def consume_exclusively_what_is_consumed(w: World) -> None:
    channel = w.channel()
    channel.queue()
    channel.consume()
    w.channel().consume(exclusive=True)


@scenario
def cancel_an_unknown_tag(w: World) -> None:
    w.channel().cancel("nobody")


@scenario
def consume_without_waiting_for_the_answer(w: World) -> None:
    channel = w.channel()
    channel.queue()
    channel.tell(Basic.Consume(queue="q", consumer_tag="c", nowait=True))
    w.fill("q", "a")
    channel.see()
    channel.tell(Basic.Cancel(consumer_tag="c", nowait=True))
    channel.alive()
    channel.count()


@scenario
def the_broker_cancels_when_the_queue_goes(w: World) -> None:
    channel = w.channel()
    channel.queue()
    channel.consume()
    w.channel().ask(Queue.Delete(queue="q"))
    channel.see()
    channel.cancel()


@scenario
def no_cancel_notice_without_the_capability(w: World) -> None:
    channel = w.connect(capabilities={}).channel()
    channel.queue()
    channel.consume()
    w.channel().ask(Queue.Delete(queue="q"))
    channel.nothing()


@scenario
def the_own_delete_cancels_too(w: World) -> None:
    channel = w.channel()
    channel.queue()
    channel.consume()
    channel.tell(Queue.Delete(queue="q"))
    heard = [channel.wire.hear(1, lambda entry: True) for _ in range(2)]
    w.note(sorted(heard, key=str))


@scenario
def acks_after_the_queue_is_gone(w: World) -> None:
    channel = w.channel()
    channel.queue()
    w.fill("q", "a")
    channel.get(no_ack=False)
    w.channel().ask(Queue.Delete(queue="q"))
    channel.ack(1)
    channel.alive()


@scenario
def prefetch_1(w: World) -> None:
    channel = w.channel()
    channel.queue()
    channel.qos(1)
    w.fill("q", "a", "b", "c")
    channel.consume()
    channel.see()
    channel.nothing()
    channel.ack(1)
    channel.see()
    channel.nothing()


@scenario
def prefetch_2_and_an_ack_of_both(w: World) -> None:
    channel = w.channel()
    channel.queue()
    channel.qos(2)
    w.fill("q", "a", "b", "c", "d", "e")
    channel.consume()
    channel.see(2)
    channel.nothing()
    channel.ack(2, multiple=True)
    channel.see(2)
    channel.nothing()


@scenario
def prefetch_is_each_consumers_own(w: World) -> None:
    channel = w.channel()
    channel.queue("p")
    channel.queue("q")
    channel.qos(1)
    w.fill("p", "a", "b")
    w.fill("q", "c", "d")
    channel.consume("p", "p")
    channel.see()
    channel.consume("q", "q")
    channel.see()
    channel.nothing()


@scenario
def prefetch_of_later_consumers_only(w: World) -> None:
    channel = w.channel()
    channel.queue()
    channel.qos(1)
    channel.consume(tag="one")
    channel.qos(2)
    w.fill("q", "a", "b", "c")
    channel.see()
    channel.nothing()
    channel.consume(tag="two")
    channel.see(2)


@scenario
def prefetch_takes_no_heed_of_auto_ack(w: World) -> None:
    channel = w.channel()
    channel.queue()
    channel.qos(1)
    w.fill("q", "a", "b", "c")
    channel.consume(no_ack=True)
    channel.see(3)


@scenario
def prefetch_takes_no_heed_of_get(w: World) -> None:
    channel = w.channel()
    channel.queue()
    channel.qos(1)
    w.fill("q", "a", "b", "c")
    channel.consume()
    channel.see()
    channel.get(no_ack=False)
    channel.nothing()


@scenario
def prefetch_by_bytes(w: World) -> None:
    w.channel().ask(Basic.Qos(prefetch_size=1000, prefetch_count=1))


@scenario(differs="global prefetch is shared by the channel's consumers in 3.10, each consumer's own in 4.3")
def prefetch_global(w: World) -> None:
    channel = w.channel()
    channel.queue("p")
    channel.queue("q")
    channel.ask(Basic.Qos(prefetch_count=1, global_=True))
    w.fill("p", "a", "b")
    w.fill("q", "c")
    channel.consume("p", "p")
    channel.see()
    channel.consume("q", "q")
    channel.nothing()


@scenario
def turns_of_two_consumers(w: World) -> None:
    channel = w.channel()
    channel.queue()
    channel.consume(tag="one")
    channel.consume(tag="two")
    w.fill("q", "a", "b", "c", "d")
    channel.see(4)


@scenario
def turns_pass_over_a_busy_consumer(w: World) -> None:
    channel = w.channel()
    channel.queue()
    channel.qos(1)
    channel.consume(tag="one")
    channel.consume(tag="two")
    w.fill("q", "a", "b", "c")
    channel.see(2)
    channel.ack(2)
    channel.see()


@scenario
def priorities_of_consumers(w: World) -> None:
    channel = w.channel()
    channel.queue()
    channel.qos(1)
    channel.consume(tag="low", arguments={"x-priority": 1})
    channel.consume(tag="high", arguments={"x-priority": 10})
    channel.consume(tag="none")
    w.fill("q", "a", "b", "c")
    channel.see(3)


@scenario
def a_priority_of_a_consumer_that_is_no_number(w: World) -> None:
    channel = w.channel()
    channel.queue()
    channel.consume(arguments={"x-priority": "high"})


@scenario
def a_single_active_consumer(w: World) -> None:
    channel = w.channel()
    channel.queue("q", single_active_consumer=True)
    channel.consume(tag="one")
    channel.consume(tag="two")
    w.fill("q", "a", "b")
    channel.see(2)
    channel.cancel("one")
    w.fill("q", "c")
    channel.see()
    channel.close()
    other = w.channel()
    other.wait_for("q", 3)
    other.drain()


@scenario
def a_single_active_consumer_and_an_exclusive_one(w: World) -> None:
    channel = w.channel()
    channel.queue("q", single_active_consumer=True)
    channel.consume(exclusive=True)


@scenario
def recover_with_requeue(w: World) -> None:
    channel = w.channel()
    channel.queue()
    w.fill("q", "a", "b")
    channel.get(no_ack=False)
    channel.get(no_ack=False)
    channel.ask(Basic.Recover(requeue=True))
    channel.wait_for("q", 2)
    channel.drain()


@scenario
def recover_to_the_same_consumer(w: World) -> None:
    channel = w.channel()
    channel.queue()
    w.fill("q", "a")
    channel.consume()
    channel.see()
    channel.ask(Basic.Recover(requeue=True))
    channel.see()


@scenario
def recover_without_requeue(w: World) -> None:
    w.channel().ask(Basic.Recover(requeue=False))


@scenario
def recover_async(w: World) -> None:
    channel = w.channel()
    channel.queue()
    w.fill("q", "a")
    channel.get(no_ack=False)
    channel.tell(Basic.RecoverAsync(requeue=True))
    channel.wait_for("q", 1)
    channel.drain()


@scenario
def cc_and_bcc(w: World) -> None:
    channel = w.channel()
    for queue in ("q", "copy", "blind"):
        channel.queue(queue)
    w.fill("q", "a", headers={"CC": ["copy", "nowhere"], "BCC": ["blind"], "other": 1})
    for queue in ("q", "copy", "blind"):
        channel.drain(queue)


@scenario
def cc_to_the_same_queue(w: World) -> None:
    channel = w.channel()
    channel.queue()
    w.fill("q", "a", headers={"CC": ["q"]})
    channel.drain()


@scenario
def cc_that_is_no_list(w: World) -> None:
    channel = w.channel()
    channel.queue()
    channel.publish("", "q", headers={"CC": "copy"})
    channel.alive()


@scenario
def cc_routes_through_an_exchange(w: World) -> None:
    channel = w.channel()
    channel.queue()
    channel.bind("q", "amq.topic", "b.*")
    channel.publish("amq.topic", "a.x", "a", mandatory=True, headers={"CC": ["b.x"]})
    channel.alive()
    channel.drain()


@scenario(differs="3.10 returns a mandatory answer as unroutable, though it arrives")
def direct_reply_to(w: World) -> None:
    wire = w.connect()
    asking = wire.channel()
    asking.consume("amq.rabbitmq.reply-to", no_ack=True)
    asking.queue()
    asking.publish("", "q", "question", reply_to="amq.rabbitmq.reply-to", correlation_id="7")
    answering = w.channel()
    answering.wait_for("q", 1)
    heard = answering.silently(Basic.Get(queue="q", no_ack=True))
    address = heard[2]["reply_to"]
    w.note(address.startswith("amq.rabbitmq.reply-to."), heard[3])
    answering.publish("", address, "answer", correlation_id="7", mandatory=True)
    entry = wire.hear(1, lambda entry: entry[0] == "Basic.Deliver")
    entry[1]["routing_key"] = entry[1]["routing_key"] == address
    w.note(*entry)
    wire.ask(commands.Connection.Close(200, "bye", 0, 0))
    answering.publish("", address, "too late", mandatory=True)
    answering.nothing(0.3)


@scenario
def direct_reply_to_with_acks(w: World) -> None:
    w.channel().consume("amq.rabbitmq.reply-to")


@scenario
def direct_reply_to_twice(w: World) -> None:
    channel = w.channel()
    channel.consume("amq.rabbitmq.reply-to", no_ack=True)
    channel.consume("amq.rabbitmq.reply-to", tag="d", no_ack=True)


@scenario
def direct_reply_to_without_a_consumer(w: World) -> None:
    channel = w.channel()
    channel.queue()
    channel.publish("", "q", "question", reply_to="amq.rabbitmq.reply-to")
    channel.alive()


@scenario
def a_consumer_sees_what_comes_later(w: World) -> None:
    channel = w.channel()
    channel.queue()
    channel.consume()
    for body in "abc":
        w.fill("q", body)
        channel.see()


@scenario
def the_order_of_one_publisher(w: World) -> None:
    channel = w.channel()
    channel.queue()
    channel.confirms()
    for number in range(200):
        channel.publish("", "q", str(number))
    channel.confirmed()
    got = []
    for _ in range(200):
        got.append(channel.silently(Basic.Get(queue="q", no_ack=True))[3])
    w.note(got == [str(number) for number in range(200)])


@scenario
def delivery_tags_are_each_channels_own(w: World) -> None:
    wire = w.connect()
    one, two = wire.channel(), wire.channel()
    one.queue()
    w.fill("q", "a", "b", "c")
    one.get(no_ack=False)
    two.get(no_ack=False)
    one.get(no_ack=False)


@scenario
def a_message_waits_while_none_may_take_it(w: World) -> None:
    wire = w.connect()
    one, two = wire.channel(), wire.channel()
    one.queue()
    one.qos(1)
    two.qos(1)
    one.consume(tag="one")
    two.consume(tag="two")
    w.fill("q", "a", "b", "c")
    one.see()
    two.see()
    time.sleep(0.02)
    two.ack(1)
    two.see()
    one.nothing()


@scenario(differs="3.10 says 404")
def a_reply_to_queue_that_nobody_made(w: World) -> None:
    for name in ("amq.rabbitmq.reply-to.", "amq.rabbitmq.reply-to.x", "amq.rabbitmq.reply-tox"):
        for passive in (False, True):
            w.channel().declare(name, passive=passive)


@scenario
def a_reply_to_queue_that_has_gone(w: World) -> None:
    asking, other = w.channel(), w.channel()
    other.queue()
    asking.consume("amq.rabbitmq.reply-to", no_ack=True)
    asking.publish("", "q", "question", reply_to="amq.rabbitmq.reply-to")
    other.wait_for("q", 1)
    name = other.silently(Basic.Get(queue="q", no_ack=True))[2]["reply_to"].encode()
    for gone in ("nothing", "consumer", "connection"):
        for passive in (b"\0", b"\1"):
            channel = w.channel()
            method = b"\0\x32\0\x0a\0\0"  # queue.declare; pamqp refuses to write such a name
            channel.wire.raw(METHOD, channel.number, method + bytes([len(name)]) + name + passive + b"\0\0\0\0")
            channel.wire.reply(channel.number)
        if gone == "nothing":
            asking.cancel()
        elif gone == "consumer":
            asking.wire.close()


@scenario
def requeued_one_by_one(w: World) -> None:
    channel = w.channel()
    channel.queue()
    w.fill("q", "a", "b", "c", "d")
    for _ in range(3):
        channel.get(no_ack=False)
    for tag in (1, 2, 3):
        channel.nack(tag)
        channel.wait_for("q", 1 + tag)
    channel.drain()
