"""Connections and channels: handshakes, limits, closes, frames in the wrong place."""

import struct
import time

from pamqp import commands, encode, frame, header
from wire import BODY, HEADER, HEARTBEAT, METHOD, PROTOCOL, Wire
from world import World, scenario

Connection, Queue, Basic = commands.Connection, commands.Queue, commands.Basic
OFFER = "Who speaks another protocol is told which one is spoken here: RabbitMQ 4 names AMQP 1.0, who lacks it 0-9-1"


def greeted(w: World) -> Wire:
    wire = w.dial()
    wire.say(PROTOCOL)
    wire.hear(0)
    return wire


def plain(w: World, secret: str) -> Connection.StartOk:
    return Connection.StartOk({"capabilities": {"authentication_failure_close": True}}, "PLAIN", secret, "en_US")


def tuned(w: World, *tune: int) -> Wire:
    """A connection whose client chose these limits: channels, size of a frame, heartbeat."""
    wire = greeted(w)
    wire.tell(plain(w, f"\0{w.node.user}\0{w.node.password}"))
    wire.hear(0)
    wire.tell(Connection.TuneOk(*tune))
    wire.tell(Connection.Open(w.vhost))
    wire.reply()
    return wire


@scenario
def the_greeting(w: World) -> None:
    wire = w.dial()
    wire.say(PROTOCOL)
    name, told = wire.hear(0)
    w.note(name, told["version_major"], told["version_minor"], told["locales"])
    w.note(sorted(word for word in told["mechanisms"].split() if "PLAIN" in word and "ANON" not in word))
    w.note(sorted(told["server_properties"]), sorted(told["server_properties"]["capabilities"].items()))


@scenario
def the_greeting_of_0_9(w: World) -> None:
    wire = w.dial()
    wire.say(b"AMQP\x01\x01\x00\x09")
    w.note(wire.hear(0)[0])


@scenario(differs=OFFER, ours=OFFER)
def a_header_of_another_version(w: World) -> None:
    wire = w.dial()
    wire.say(b"AMQP\x00\x00\x08\x00")
    w.note(*wire.hear(0, lambda entry: True))
    w.note(wire.hear(0))


@scenario(differs=OFFER, ours=OFFER)
def a_header_of_http(w: World) -> None:
    wire = w.dial()
    wire.say(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    w.note(*wire.hear(0, lambda entry: True))
    w.note(wire.hear(0))


@scenario(differs=OFFER, ours=OFFER)
def the_header_of_amqp_1_0(w: World) -> None:
    wire = w.dial()
    wire.say(b"AMQP\x00\x01\x00\x00")
    w.note(*wire.hear(0, lambda entry: True))


@scenario
def a_header_in_pieces(w: World) -> None:
    wire = w.dial()
    wire.say(PROTOCOL[:3])
    time.sleep(0.02)
    wire.say(PROTOCOL[3:])
    w.note(wire.hear(0)[0])


@scenario
def tune_and_open(w: World) -> None:
    wire = greeted(w)
    wire.ask(plain(w, f"\0{w.node.user}\0{w.node.password}"))
    wire.tell(Connection.TuneOk(10, 8192, 30))
    wire.ask(Connection.Open(w.vhost))


@scenario
def a_wrong_password(w: World) -> None:
    greeted(w).ask(plain(w, f"\0{w.node.user}\0wrong"))


@scenario
def a_wrong_user(w: World) -> None:
    greeted(w).ask(plain(w, f"\0nobody\0{w.node.password}"))


@scenario
def a_wrong_password_without_the_capability(w: World) -> None:
    greeted(w).ask(Connection.StartOk({}, "PLAIN", f"\0{w.node.user}\0wrong", "en_US"))


@scenario
def a_malformed_plain_response(w: World) -> None:
    greeted(w).ask(plain(w, "no zeros here"))


@scenario
def amqplain(w: World) -> None:
    table = encode.field_table({"LOGIN": w.node.user, "PASSWORD": w.node.password})[4:]
    wire = greeted(w)
    wire.ask(Connection.StartOk({}, "AMQPLAIN", table.decode("latin-1"), "en_US"))


@scenario
def amqplain_with_a_wrong_password(w: World) -> None:
    table = encode.field_table({"LOGIN": w.node.user, "PASSWORD": "wrong"})[4:]
    properties = {"capabilities": {"authentication_failure_close": True}}
    greeted(w).ask(Connection.StartOk(properties, "AMQPLAIN", table.decode("latin-1"), "en_US"))


@scenario
def an_unknown_mechanism(w: World) -> None:
    properties = {"capabilities": {"authentication_failure_close": True}}
    greeted(w).ask(Connection.StartOk(properties, "CRAM-MD5", "x", "en_US"))


@scenario
def an_unknown_virtual_host(w: World) -> None:
    wire = w.dial()
    w.note(*wire.log_in(w.node, "no such place"))


@scenario
def open_without_logging_in(w: World) -> None:
    greeted(w).ask(Connection.Open(w.vhost))


@scenario
def a_channel_before_logging_in(w: World) -> None:
    wire = greeted(w)
    wire.ask(commands.Channel.Open(), 1)


@scenario
def tune_to_a_larger_frame(w: World) -> None:
    tuned(w, 10, 1 << 20, 0)


@scenario
def tune_to_any_frame(w: World) -> None:
    tuned(w, 10, 0, 0)


@scenario
def tune_to_the_smallest_frame(w: World) -> None:
    tuned(w, 10, 8192, 0)


@scenario(differs="3.10 takes frames of 4,096 bytes, the least of the protocol")
def tune_to_too_small_a_frame(w: World) -> None:
    tuned(w, 10, 8191, 0)


@scenario
def tune_to_a_frame_smaller_than_the_protocol_allows(w: World) -> None:
    tuned(w, 10, 4095, 0)


@scenario
def tune_to_more_channels(w: World) -> None:
    tuned(w, 60000, 131072, 0)


@scenario
def tune_to_any_number_of_channels(w: World) -> None:
    tuned(w, 0, 131072, 0)


@scenario
def a_small_frame_cuts_deliveries(w: World) -> None:
    wire = w.connect(frame_max=8192)
    channel = wire.channel()
    channel.queue()
    w.fill("q", "x" * 20_000)
    channel.get()
    w.note(wire.sizes)


@scenario
def a_frame_larger_than_agreed(w: World) -> None:
    wire = w.connect(frame_max=8192)
    channel = wire.channel()
    channel.publish("", "q", b"x" * 9000)
    wire.reply(1)


@scenario
def more_channels_than_agreed(w: World) -> None:
    wire = w.connect(channel_max=2)
    wire.ask(commands.Channel.Open(), 1)
    wire.ask(commands.Channel.Open(), 2)
    wire.ask(commands.Channel.Open(), 3)


@scenario
def a_channel_number_above_the_agreed_ones(w: World) -> None:
    wire = w.connect(channel_max=2)
    wire.ask(commands.Channel.Open(), 7)


@scenario
def heartbeats_come(w: World) -> None:
    wire = w.connect(heartbeat=1)
    until = time.monotonic() + 1.6
    while not wire.pulses and wire.pump(until):
        pass
    w.note("a pulse" if wire.pulses else "no pulse")


@scenario
def a_silent_client_is_cut_off(w: World) -> None:
    wire = w.connect(heartbeat=1)
    until = time.monotonic() + 6
    while not wire.ended and wire.pump(until):
        pass
    w.note("ended" if wire.ended else "still open", wire.inbox[0])


@scenario
def pulses_keep_a_client(w: World) -> None:
    wire = w.connect(heartbeat=1)
    for _ in range(7):
        wire.raw(HEARTBEAT, 0, b"")
        wire.pump(time.monotonic() + 0.45)
        time.sleep(0.25)
    wire.ask(commands.Channel.Open(), 1)


@scenario
def a_client_closes(w: World) -> None:
    wire = w.connect()
    wire.ask(Connection.Close(200, "bye", 0, 0))


@scenario
def a_channel_closes_and_opens_again(w: World) -> None:
    channel = w.channel()
    channel.close()
    channel.ask(commands.Channel.Open())
    channel.alive()


@scenario
def a_channel_opens_twice(w: World) -> None:
    channel = w.channel()
    channel.ask(commands.Channel.Open())


@scenario
def a_method_before_the_channel_is_open(w: World) -> None:
    w.connect().ask(Queue.Declare(queue="q", durable=True), 5)


@scenario
def a_close_of_a_channel_that_is_not_open(w: World) -> None:
    w.connect().ask(commands.Channel.Close(200, "bye", 0, 0), 5)


@scenario
def an_answer_nobody_asked_for_on_a_closed_channel(w: World) -> None:
    wire = w.connect()
    wire.tell(commands.Channel.CloseOk(), 5)
    wire.ask(commands.Channel.Open(), 1)


@scenario
def a_method_only_brokers_say(w: World) -> None:
    channel = w.channel()
    channel.ask(Queue.DeclareOk("q", 0, 0))


@scenario
def a_delivery_from_the_client(w: World) -> None:
    channel = w.channel()
    channel.tell(Basic.Deliver("c", 1, False, "", "q"))
    channel.nothing()


@scenario
def a_method_of_a_channel_on_channel_0(w: World) -> None:
    w.connect().ask(Queue.Declare(queue="q", durable=True), 0)


@scenario
def a_method_of_the_connection_on_a_channel(w: World) -> None:
    channel = w.channel()
    channel.ask(Connection.Close(200, "bye", 0, 0))


@scenario
def open_twice(w: World) -> None:
    w.connect().ask(Connection.Open(w.vhost))


@scenario
def tune_ok_late(w: World) -> None:
    w.connect().ask(Connection.TuneOk(10, 131072, 0))


@scenario
def an_unknown_method(w: World) -> None:
    wire = w.connect()
    wire.channel()
    wire.raw(METHOD, 1, struct.pack(">HH", 50, 99))
    wire.reply(1)


@scenario
def an_unknown_class(w: World) -> None:
    wire = w.connect()
    wire.channel()
    wire.raw(METHOD, 1, struct.pack(">HH", 77, 10))
    wire.reply(1)


@scenario
def a_method_cut_short(w: World) -> None:
    wire = w.connect()
    wire.channel()
    wire.raw(METHOD, 1, struct.pack(">HHH", 50, 10, 0) + b"\x05ab")
    wire.reply(1)


@scenario
def a_table_cut_short(w: World) -> None:
    wire = w.connect()
    wire.channel()
    wire.raw(METHOD, 1, struct.pack(">HHH", 50, 10, 0) + b"\x01q\x02" + struct.pack(">I", 50) + b"\x01x")
    wire.reply(1)


@scenario
def an_unknown_type_in_a_table(w: World) -> None:
    wire = w.connect()
    wire.channel()
    wire.raw(METHOD, 1, struct.pack(">HHH", 50, 10, 0) + b"\x01q\x02" + struct.pack(">I", 4) + b"\x01xQ\x00")
    wire.reply(1)


@scenario
def a_name_that_is_no_utf_8(w: World) -> None:
    wire = w.connect()
    wire.channel()
    wire.raw(METHOD, 1, struct.pack(">HHH", 50, 10, 0) + b"\x02\xff\xfe\x02" + struct.pack(">I", 0))
    wire.reply(1)


@scenario
def a_method_too_short_to_have_a_number(w: World) -> None:
    wire = w.connect()
    wire.channel()
    wire.raw(METHOD, 1, b"\x00\x32")
    wire.reply(1)


@scenario
def a_frame_without_its_end(w: World) -> None:
    wire = w.connect()
    wire.channel()
    wire.raw(METHOD, 1, struct.pack(">HHIHB", 60, 10, 0, 5, 0), end=b"\x00")
    wire.reply(1)


@scenario
def a_frame_of_an_unknown_type(w: World) -> None:
    wire = w.connect()
    wire.channel()
    wire.raw(7, 1, b"what?")
    wire.reply(1)


@scenario
def a_heartbeat_on_a_channel(w: World) -> None:
    wire = w.connect()
    wire.channel()
    wire.raw(HEARTBEAT, 1, b"")
    wire.reply(1)


@scenario
def a_heartbeat_with_a_body(w: World) -> None:
    wire = w.connect()
    wire.raw(HEARTBEAT, 0, b"beat")
    wire.reply()


@scenario
def a_body_without_a_header(w: World) -> None:
    wire = w.connect()
    wire.channel()
    wire.raw(BODY, 1, b"hello")
    wire.reply(1)


@scenario
def a_header_without_a_method(w: World) -> None:
    wire = w.connect()
    wire.channel()
    wire.say(frame.marshal(header.ContentHeader(0, 1, Basic.Properties()), 1))
    wire.reply(1)


@scenario
def a_body_right_after_a_publish(w: World) -> None:
    wire = w.connect()
    channel = wire.channel()
    channel.tell(Basic.Publish(exchange="", routing_key="q"))
    wire.raw(BODY, 1, b"hello")
    wire.reply(1)


@scenario
def a_method_right_after_a_publish(w: World) -> None:
    channel = w.channel()
    channel.tell(Basic.Publish(exchange="", routing_key="q"))
    channel.ask(Basic.Get(queue="q"))


@scenario
def a_method_in_the_midst_of_a_body(w: World) -> None:
    wire = w.connect()
    channel = wire.channel()
    channel.tell(Basic.Publish(exchange="", routing_key="q"))
    channel.tell(header.ContentHeader(0, 10, Basic.Properties()))
    wire.raw(BODY, 1, b"hello")
    channel.ask(Basic.Get(queue="q"))


@scenario
def a_header_of_another_class(w: World) -> None:
    wire = w.connect()
    channel = wire.channel()
    channel.tell(Basic.Publish(exchange="", routing_key="q"))
    wire.raw(HEADER, 1, struct.pack(">HHQH", 50, 0, 0, 0))
    wire.reply(1)


@scenario(differs="3.10 takes no heed of it")
def a_body_longer_than_announced(w: World) -> None:
    wire = w.connect()
    channel = wire.channel()
    channel.queue()
    channel.tell(Basic.Publish(exchange="", routing_key="q"))
    channel.tell(header.ContentHeader(0, 3, Basic.Properties()))
    wire.raw(BODY, 1, b"hello")
    wire.reply(1)


@scenario
def a_body_in_many_frames(w: World) -> None:
    wire = w.connect()
    channel = wire.channel()
    channel.queue()
    channel.tell(Basic.Publish(exchange="", routing_key="q"))
    channel.tell(header.ContentHeader(0, 5, Basic.Properties()))
    for letter in (b"h", b"", b"el", b"lo"):
        wire.raw(BODY, 1, letter)
    channel.get()


@scenario
def frames_of_two_channels_mixed(w: World) -> None:
    wire = w.connect()
    one, two = wire.channel(), wire.channel()
    one.queue()
    for channel in (one, two):
        channel.tell(Basic.Publish(exchange="", routing_key="q"))
    for channel in (two, one):
        channel.tell(header.ContentHeader(0, 2, Basic.Properties()))
    wire.raw(BODY, 1, b"on")
    one.get()
    wire.raw(BODY, 2, b"tw")
    two.get()


@scenario
def two_channels_a_mistake_on_one(w: World) -> None:
    wire = w.connect()
    one, two = wire.channel(), wire.channel()
    one.count("nowhere")
    two.alive()
    one.ask(commands.Channel.Open())
    one.alive()


@scenario
def a_closed_channel_hears_nothing_until_it_agrees(w: World) -> None:
    wire = w.connect(polite=False)
    channel = wire.channel()
    channel.count("nowhere")
    channel.tell(Queue.Declare(queue="late", durable=True))
    channel.tell(commands.Channel.CloseOk())
    channel.ask(commands.Channel.Open())
    channel.count("late")


@scenario
def a_close_crosses_a_close(w: World) -> None:
    wire = w.connect(polite=False)
    channel = wire.channel()
    channel.tell(Queue.Declare(queue="nowhere", passive=True))
    channel.tell(commands.Channel.Close(200, "bye", 0, 0))
    wire.reply(1)
    wire.reply(1)


@scenario
def update_secret(w: World) -> None:
    wire = w.connect()
    wire.ask(Connection.UpdateSecret("another", "it grew old"))
    wire.channel().alive()


@scenario
def flow_on(w: World) -> None:
    w.channel().ask(commands.Channel.Flow(True))


@scenario
def flow_off(w: World) -> None:
    w.channel().ask(commands.Channel.Flow(False))


@scenario
def access_is_asked_for_as_in_0_8(w: World) -> None:
    wire = w.connect()
    wire.channel()
    wire.raw(METHOD, 1, struct.pack(">HH", 30, 10) + b"\x05/data\x1f")
    wire.reply(1)


@scenario
def a_cut_connection_returns_what_was_unacknowledged(w: World) -> None:
    wire = w.connect()
    channel = wire.channel()
    channel.queue()
    w.fill("q", "a", "b")
    channel.get(no_ack=False)
    wire.close()
    other = w.channel()
    other.wait_for("q", 2)
    other.drain()


@scenario(either=(("is down", "is deleted"),))  # 4.3 closes for both reasons, and tells the first to come
def a_deleted_virtual_host(w: World) -> None:
    wire = w.connect()
    w.node.api("DELETE", f"vhosts/{w.vhost}")
    wire.reply()


@scenario
def bytes_after_a_method(w: World) -> None:
    """Methods without a table; of those with one, bytes behind it are in `a_table_with_more_behind_it`."""
    for method in (
        commands.Channel.Flow(True),
        commands.Channel.Close(200, "bye", 0, 0),
        commands.Exchange.Delete(exchange="x"),
        Queue.Purge(queue="q"),
        Queue.Delete(queue="q"),
        Basic.Qos(prefetch_count=1),
        Basic.Cancel("c"),
        Basic.Publish(exchange="", routing_key="q"),
        Basic.Get(queue="q"),
        Basic.Ack(1),
        Basic.Reject(1),
        Basic.Nack(1),
        Basic.Recover(),
        commands.Confirm.Select(),
        commands.Tx.Select(),
    ):
        wire = w.connect()
        wire.channel()
        wire.raw(METHOD, 1, frame.marshal(method, 1)[7:-1] + b"\0")
        w.note(method.name)
        wire.reply(1)


@scenario
def a_table_with_more_behind_it(w: World) -> None:
    for method in (
        commands.Exchange.Declare(exchange="x"),
        Queue.Declare(queue="q", durable=True),
        Queue.Bind(queue="q", exchange="amq.fanout"),
        Queue.Unbind(queue="q", exchange="amq.fanout"),
        Basic.Consume(queue="q"),
    ):
        wire = w.connect()
        wire.channel()
        wire.raw(METHOD, 1, frame.marshal(method, 1)[7:-1] + b"more")
        w.note(method.name)
        wire.reply(1)


@scenario
def a_method_with_bytes_too_few(w: World) -> None:
    for method in (
        Queue.Purge(queue="q"),
        Queue.Declare(queue="q", durable=True),
        Basic.Qos(prefetch_count=1),
        Basic.Publish(exchange="", routing_key="q"),
        Basic.Ack(1),
        Basic.Nack(1),
        commands.Confirm.Select(),
    ):
        wire = w.connect()
        wire.channel()
        wire.raw(METHOD, 1, frame.marshal(method, 1)[7:-2])
        w.note(method.name)
        wire.reply(1)


@scenario
def a_method_of_the_connection_with_other_bytes(w: World) -> None:
    for method in (Connection.UpdateSecret("new", "because"), Connection.Close(200, "bye", 0, 0)):
        for change in (lambda data: data + b"\0", lambda data: data[:-1]):
            wire = w.connect()
            wire.raw(METHOD, 0, change(frame.marshal(method, 0)[7:-1]))
            w.note(method.name)
            wire.reply()


@scenario
def a_handshake_with_other_bytes(w: World) -> None:
    methods = (
        plain(w, f"\0{w.node.user}\0{w.node.password}"),
        Connection.TuneOk(2047, 131072, 0),
        Connection.Open(w.vhost),
    )
    for place in range(3):
        for change in (lambda data: data + b"\0", lambda data: data[:-1]):
            wire = greeted(w)
            for number, method in enumerate(methods[: place + 1]):
                data = frame.marshal(method, 0)[7:-1]
                wire.raw(METHOD, 0, change(data) if number == place else data)
                if number != 1 or number == place:
                    w.note(number, *wire.hear(0))
